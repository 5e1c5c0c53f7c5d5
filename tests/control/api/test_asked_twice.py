"""A change asked for twice is made once: by the client's own repetition, or under a named key."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served
from tests.control.api.test_quirks import eventually, offers, ok
from tests.control.market import hardware

AT_ONCE = 8


@pytest.fixture
def offer(server: Served) -> Iterator[int]:
    """An offer of one GPU."""
    made = hardware()
    joined = join(server, of=made)
    with ScriptedAgent(server, joined, made).working():
        ok(server, "PUT", "/machines/create_asks/", {"machine": joined.machine, "price_gpu": 0.3},
           key="host")  # fmt: skip
        yield eventually(lambda: offers(server))[0]["id"]


def at_once(ask: Any) -> list[httpx2.Response]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: ask(), range(AT_ONCE)))


def instances(server: Served) -> list[Any]:
    found: list[Any] = server.call("GET", "/api/v1/instances/", "renter").json()["instances"]
    return found


def test_the_same_creation_at_once_is_made_once(server: Served, offer: int) -> None:
    body = {"client_id": "me", "image": "debian", "disk": 1, "price": None}
    answers = at_once(lambda: server.call("PUT", f"/api/v0/asks/{offer}/", "renter", body))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["new_contract"] for answer in answers}) == 1
    assert len({answer.json()["instance_api_key"] for answer in answers}) == 1
    assert len(instances(server)) == 1


def test_the_same_bulk_creation_is_made_once(server: Served, offer: int) -> None:
    body = {"ids": [offer], "image": "debian", "disk": 1, "label": "bulk"}
    first, again = (ok(server, "POST", "/asks/bulk/", body) for _ in range(2))
    assert first["new_contracts"] == again["new_contracts"]
    assert len(instances(server)) == 1


def test_what_was_destroyed_can_be_had_again(server: Served, offer: int) -> None:
    body = {"image": "debian", "disk": 1}
    first = ok(server, "PUT", f"/asks/{offer}/", body)["new_contract"]
    ok(server, "DELETE", f"/instances/{first}/")
    eventually(lambda: any(row["id"] == offer for row in offers(server)))
    assert ok(server, "PUT", f"/asks/{offer}/", body)["new_contract"] != first


def keyed(server: Served, key: str, method: str, path: str, body: Any) -> httpx2.Response:
    return server.call(method, f"/api/v0{path}", "renter", body, headers={"Idempotency-Key": key})


def test_a_named_change_is_made_once_and_answers_the_same(server: Served) -> None:
    gift = {"recipient": "host@example.com", "amount": 1.0}
    answers = at_once(lambda: keyed(server, "one", "PUT", "/commands/transfer_credit/", gift))
    # Whoever comes while the first is at work is told so; nobody pays twice.
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {answer.status_code for answer in answers} >= {200}
    again = keyed(server, "one", "PUT", "/commands/transfer_credit/", gift)
    assert again.status_code == 200
    assert ok(server, "GET", "/users/current")["credit"] == 99.0
    assert keyed(server, "two", "PUT", "/commands/transfer_credit/", gift).status_code == 200
    assert ok(server, "GET", "/users/current")["credit"] == 98.0


def test_a_secret_is_answered_again_to_the_same_key(server: Served) -> None:
    first, again = (
        keyed(server, "key", "POST", "/auth/apikeys/", {"name": "one"}).json() for _ in range(2)
    )
    assert first["key"] == again["key"]
    assert len(ok(server, "GET", "/auth/apikeys/")["apikeys"]) == 2


def test_a_name_is_for_one_request(server: Served) -> None:
    assert keyed(server, "x", "POST", "/secrets/", {"key": "A", "value": "1"}).status_code == 200
    other = keyed(server, "x", "POST", "/secrets/", {"key": "B", "value": "1"})
    assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")
    long = keyed(server, "x" * 256, "POST", "/secrets/", {"key": "C", "value": "1"})
    assert long.status_code == 400
    # Somebody else's names are their own.
    path = "/api/v0/secrets/"
    theirs = server.call("POST", path, "other", {"key": "D", "value": "1"},
                         headers={"Idempotency-Key": "x"})  # fmt: skip
    assert theirs.status_code == 200


def test_a_refused_change_may_be_tried_again_under_its_name(server: Served) -> None:
    wrong = {"key": "A", "value": "1"}
    assert keyed(server, "r", "PUT", "/secrets/", wrong).status_code == 400
    ok(server, "POST", "/secrets/", wrong)
    assert keyed(server, "r", "PUT", "/secrets/", wrong).status_code == 200
