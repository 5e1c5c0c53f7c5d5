"""Charges and invoices: each of a type, chosen by any condition, in any order."""

import json
from typing import Any

import pytest
from vastai import VastAI

from tests.control.api.scripted import listed
from tests.control.api.serving import Served
from tests.control.api.test_endpoints import group_of, recruiter, rent
from tests.control.api.test_journey import eventually


@pytest.mark.client
def test_what_a_worker_cost_is_told_from_what_instances_cost(server: Served) -> None:
    vast = VastAI(api_key=server.keys["renter"], server_url=server.url)

    def ids(*kinds: str) -> list[int]:
        found = vast.show_invoices_v1(charges=True, charge_type=list(kinds), limit=100)
        return [row["id"] for row in found["results"]]

    with listed(server):
        endpoint, group = group_of(vast)
        rent(recruiter(server), endpoint, group)
        (worker,) = (one["id"] for one in vast.show_instances())
        offers = eventually(lambda: vast.search_offers(query="num_gpus=1"))
        last = max(offer["id"] for offer in offers)
        plain = vast.create_instance(id=last, image="debian", disk=1)["new_contract"]
        eventually(lambda: set(ids()) == {plain, worker})
        assert ids("serverless") == [worker]
        assert ids("instance") == [plain]
        assert ids("instance", "volume", "serverless") == [worker, plain]
        (row,) = vast.show_invoices_v1(charges=True, charge_type=["serverless"])["results"]
        assert row["type"] == "serverless"
        assert row["metadata"]["endpoint_id"] == endpoint
        assert row["metadata"]["workergroup_id"] == group


def asked(server: Served, path: str, window: str, conditions: Any, **more: Any) -> Any:
    """What a list of money answers the renter."""
    filters = {window: {"gte": 0, "lte": 9_999_999_999}, **conditions}
    query = {"select_filters": json.dumps(filters)}
    query |= {name: json.dumps(value) for name, value in more.items()}
    return server.call("GET", path, "renter", params=query)


def test_invoices_are_chosen_by_any_condition_and_ordered(server: Served) -> None:
    for dollars in (3, 1, 2):
        gift = {"recipient": "other@example.com", "amount": dollars}
        answer = server.call("PUT", "/api/v0/commands/transfer_credit/", "renter", gift)
        assert answer.status_code == 200, answer.text

    def amounts(conditions: Any, **more: Any) -> list[float]:
        answer = asked(server, "/api/v1/invoices/", "when", conditions, **more)
        assert answer.status_code == 200, answer.text
        return [abs(row["amount"]) for row in answer.json()["results"]]

    everything = amounts({})
    transfers = [3, 1, 2]
    others = [one for one in everything if one not in transfers]
    assert len(others) == 1  # the credit that a renter of these tests has
    for conditions, found in (
        ({"service": {"eq": "transfer"}}, transfers),
        ({"service": "transfer"}, transfers),
        ({"service": ["transfer", "stripe_payments"]}, transfers),
        ({"service": {"neq": "transfer"}}, others),
        ({"service": {"notin": ["transfer"]}, "type": "transfer"}, []),
        ({"type": "transfer", "id": {"gt": 2}}, [1, 2]),
    ):
        assert amounts(conditions) == found, conditions
    by_amount = [{"col": "amount_cents", "dir": "desc"}]
    signed = asked(server, "/api/v1/invoices/", "when", {"type": "transfer"}, order_by=by_amount)
    shown = [row["amount"] for row in signed.json()["results"]]
    assert shown == sorted(shown, reverse=True)
    assert amounts({"type": "transfer"}, order_by=[["id", "desc"]]) == [2, 1, 3]
    assert amounts({"type": "transfer"}, order_by=[["id", "desc"]], limit=2) == [2, 1]


def test_cents_are_whole(server: Served) -> None:
    gift = {"recipient": "other@example.com", "amount": 0.29}
    answer = server.call("PUT", "/api/v0/commands/transfer_credit/", "renter", gift)
    assert answer.status_code == 200, answer.text
    found = asked(server, "/api/v1/invoices/", "when", {"amount_cents": {"in": [29, -29]}})
    assert [abs(row["amount"]) for row in found.json()["results"]] == [0.29]


@pytest.mark.parametrize(
    ("conditions", "more"),
    [
        ({"service": {"in": 5}}, {}),
        ({"service": {"in": None}}, {}),
        ({"service": {"like": "transfer"}}, {}),
        ({"colour": {"eq": "red"}}, {}),
        ({}, {"order_by": [["colour", "asc"]]}),
    ],
    ids=str,
)
def test_what_no_list_can_be_asked_is_refused(
    server: Served, conditions: Any, more: dict[str, Any]
) -> None:
    answer = asked(server, "/api/v1/invoices/", "when", conditions, **more)
    assert (answer.status_code, answer.json()["success"]) == (400, False), answer.text
    if "order_by" not in more:
        charges = {name.replace("service", "type"): test for name, test in conditions.items()}
        assert asked(server, "/api/v0/charges/", "day", charges).status_code == 400
