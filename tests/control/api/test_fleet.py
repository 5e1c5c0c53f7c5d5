"""What the engine is shown of the market and what it may have done, whatever owners changed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vastai import VastAI

from mercato.control.api.fleet import Recruiter, _carry_out
from mercato.control.flows.house import Rules
from mercato.control.store.decisions import StoredDecision
from mercato.market.instance import State
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import EndpointId, GroupId
from mercato.serverless.recruit import Candidate
from mercato.wire.fleet import NothingToRent
from tests.control.api.scripted import listed
from tests.control.api.serving import Served, served
from tests.control.api.test_endpoints import recruiter
from tests.control.api.test_journey import eventually

pytestmark = pytest.mark.client


@pytest.fixture
def vast(server: Served) -> VastAI:
    return VastAI(api_key=server.keys["renter"], server_url=server.url)


class Chat:
    """An endpoint with one group on one listed machine, as the engine reaches it."""

    def __init__(self, server: Served, template: str, **asked: Any) -> None:
        self.server = server
        self.market: Recruiter = recruiter(server)
        self.endpoint = self._made("endptjobs", endpoint_name="chat", max_workers=4, cold_workers=1)
        self.group = self._made(
            "autojobs", endpoint_id=self.endpoint, template_hash=template, **asked
        )

    def _made(self, what: str, **asked: Any) -> int:
        return int(self.server.call("POST", f"/api/v0/{what}/", "renter", asked).json()["id"])

    def change(self, **asked: Any) -> None:
        answer = self.server.call("PUT", f"/api/v0/autojobs/{self.group}/", "renter", asked)
        assert answer.status_code == 200, answer.text

    def set_state(self, state: str) -> None:
        path = f"/api/v0/endptjobs/{self.endpoint}/"
        answer = self.server.call("PUT", path, "renter", {"endpoint_state": state})
        assert answer.status_code == 200, answer.text

    def spoil(self, statement: str) -> None:
        """Write into the group what no request would write there any more."""
        self.server.plane.db.run_now(lambda tx: tx.run(f"update worker_groups set {statement}"))

    def offers(self) -> list[Candidate]:
        return asyncio.run(self.market.candidates(GroupId(self.group)))

    def do(self, kind: Kind, **about: Any) -> str:
        decision = Decision(kind=kind, reason="a test", **about)
        done = self.market.carry_out(EndpointId(self.endpoint), GroupId(self.group), decision, 0)
        return asyncio.run(done).text

    def rent(self) -> str:
        return self.do(Kind.RENT, offer=eventually(self.offers)[0].offer)

    def images(self) -> list[str]:
        rows = self.server.call("GET", "/api/v0/instances/", "renter").json()["instances"]
        return [row["image_uuid"] for row in sorted(rows, key=lambda row: row["id"])]

    def worker(self, state: State) -> Any:
        found = asyncio.run(self.market.fleet()).workers
        return next((one for one in found if one.state is state), None)


@pytest.fixture
def machine(server: Served) -> Iterator[int]:
    """A machine that is connected and listed."""
    with listed(server) as one:
        yield one


def made_template(server: Served, who: str = "renter", **changes: Any) -> dict[str, Any]:
    body = {"name": "llm", "image": "debian:12", "env": "-p 3000:3000", "private": False}
    answer = server.call("POST", "/api/v0/template/", who, body | changes)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["template"])


def edited(server: Served, who: str, template: dict[str, Any], image: str) -> dict[str, Any]:
    body = {"hash_id": template["hash_id"], "image": image}
    answer = server.call("PUT", "/api/v0/template/", who, body)
    assert answer.json()["template"]["id"] == template["id"]
    return dict(answer.json()["template"])


def test_nobody_changes_what_the_workers_of_others_run(
    server: Served, vast: VastAI, machine: int
) -> None:
    shown = made_template(server, "other")
    chat = Chat(server, shown["hash_id"])
    evil = edited(server, "other", shown, "evil/steal:1")
    assert chat.rent() == "done"
    worker = eventually(lambda: chat.worker(State.RUNNING))
    assert worker.machine == machine
    assert vast.update_workers(id=chat.group)["workers_to_update"] == 1
    assert chat.do(Kind.UPDATE, worker=worker.id) == "done"
    assert chat.images() == ["debian:12"]
    (group,) = vast.show_workergroups()
    assert group["template_hash"] == shown["hash_id"]
    gone = server.call("DELETE", "/api/v0/template/", "other", {"template_id": shown["id"]})
    assert gone.status_code == 200
    assert chat.rent() == "done"
    assert chat.images() == ["debian:12", "debian:12"]
    refused = server.call(
        "PUT", f"/api/v0/autojobs/{chat.group}/", "renter", {"template_hash": evil["hash_id"]}
    )
    assert refused.status_code == 404


def test_ones_own_template_reaches_the_workers_by_an_update(
    server: Served, vast: VastAI, machine: int
) -> None:
    mine = made_template(server)
    chat = Chat(server, mine["hash_id"])
    newer = edited(server, "renter", mine, "debian:13")
    assert chat.rent() == "done"
    worker = eventually(lambda: chat.worker(State.RUNNING))
    assert (chat.images(), worker.machine) == (["debian:12"], machine)
    vast.update_workers(id=chat.group)
    (group,) = vast.show_workergroups()
    assert (group["template_hash"], group["version"]) == (newer["hash_id"], 2)
    assert chat.do(Kind.UPDATE, worker=worker.id) == "done"
    assert chat.images() == ["debian:13"]


def test_a_group_that_kept_no_template_says_so(server: Served, machine: int) -> None:
    mine = made_template(server)
    chat = Chat(server, mine["hash_id"])
    offer = eventually(chat.offers)[0]
    assert offer.machine == machine
    edited(server, "renter", mine, "debian:13")
    chat.spoil("template_body = null")
    with pytest.raises(NothingToRent, match="was changed or deleted by its owner"):
        chat.offers()
    told = chat.do(Kind.RENT, offer=offer.offer)
    assert "was changed or deleted by its owner" in told
    assert "template_hash" in told
    path = f"/api/v0/autojobs/{chat.group}/"
    assert server.call("PUT", path, "renter", {"launch_args": "--disk 9"}).status_code == 404
    chat.change(template_id=mine["id"])
    assert chat.rent() == "done"
    assert chat.images() == ["debian:13"]


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ("launch_args = '--onstart there.sh'", "--onstart-cmd"),
        ("launch_args = '--disk'", "--disk takes a number"),
        ("launch_args = '--env ''-e WORKER_PORT=http'''", "WORKER_PORT"),
        ("template_body = template_body || '{\"recommended_disk_space\": 1e308}'", "disk must be"),
        ("search_params = 'no_such_field=1'", ""),
    ],
)
def test_a_group_that_cannot_be_read_is_told_why_nothing_is_rented_for_it(
    server: Served, machine: int, spoilt: str, told: str
) -> None:
    chat = Chat(server, made_template(server)["hash_id"])
    offer = eventually(chat.offers)[0]
    assert offer.machine == machine
    chat.spoil(spoilt)
    if "WORKER_PORT" not in spoilt:
        with pytest.raises(NothingToRent, match=told or "no_such_field"):
            chat.offers()
    if told:
        assert told in chat.do(Kind.RENT, offer=offer.offer)
        assert chat.images() == []


def test_a_worker_is_of_the_version_that_its_group_has_as_it_is_made(
    server: Served, machine: int
) -> None:
    chat = Chat(server, made_template(server)["hash_id"])
    newer = made_template(server, image="debian:13")
    (offer, *_) = eventually(chat.offers)
    assert offer.machine == machine
    decision = Decision(kind=Kind.RENT, reason="a test", offer=offer.offer)
    deed = asyncio.run(chat.market._deed(GroupId(chat.group), decision))
    chat.change(template_hash=newer["hash_id"])
    made = StoredDecision(
        endpoint_id=EndpointId(chat.endpoint),
        kind="rent",
        worker_id=None,
        offer_id=offer.offer,
        reason="a test",
        outcome="done",
        at_ms=0,
    )
    server.plane.db.run_now(_carry_out, made, 0, deed)
    (worker,) = asyncio.run(chat.market.fleet()).workers
    assert (chat.images(), worker.version) == (["debian:13"], 2)


@pytest.mark.parametrize("state", ["suspended", "stopped"])
def test_an_endpoint_that_is_not_active_gets_no_worker(
    server: Served, machine: int, state: str
) -> None:
    chat = Chat(server, made_template(server)["hash_id"])
    assert chat.rent() == "done"
    worker = eventually(lambda: chat.worker(State.RUNNING))
    assert worker.machine == machine
    assert chat.do(Kind.SLEEP, worker=worker.id) == "done"
    eventually(lambda: chat.worker(State.STOPPED))
    chat.set_state(state)
    assert f"is {state}" in chat.rent()
    assert f"is {state}" in chat.do(Kind.WAKE, worker=worker.id)
    assert len(chat.images()) == 1
    chat.set_state("active")
    assert chat.do(Kind.WAKE, worker=worker.id) == "done"


def test_a_group_looks_where_its_template_does_and_its_own_query_wins(
    server: Served, machine: int
) -> None:
    big = made_template(server, extra_filters={"gpu_ram": {"gte": 80_000}, "num_gpus": {"eq": 1}})
    chat = Chat(server, made_template(server)["hash_id"])
    assert {one.machine for one in eventually(chat.offers)} == {machine}
    chat.change(template_hash=big["hash_id"])
    assert chat.offers() == []
    chat.change(search_params="gpu_ram>=20")
    assert {one.kind for one in chat.offers()} == {"1x RTX 4090"}


def test_only_verified_machines_become_workers_unless_others_are_asked_for(
    database_url: str, tmp_path: Path
) -> None:
    rules = Rules(simulated_verified=False)
    with served(database_url, tmp_path, rules=rules) as server, listed(server) as machine:
        chat = Chat(server, made_template(server)["hash_id"], search_params="verified=any")
        assert {one.machine for one in eventually(chat.offers)} == {machine}
        chat.change(search_params="")
        assert chat.offers() == []
