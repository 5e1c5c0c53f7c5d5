"""Workers of deployments: what they fetch, and what a cancelled update leaves."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mercato.market.ids import ContractId
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import EndpointId, GroupId
from tests.control.api.deployments import (
    CODE,
    DEPLOYMENTS,
    deployed,
    group_of,
    put,
    roll_out,
    shown,
    wish,
)
from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served
from tests.control.api.test_endpoints import recruiter
from tests.control.api.test_journey import eventually
from tests.control.market import hardware


def cancel(server: Served, told: dict[str, Any]) -> int:
    """Leave those as they are that were not made anew yet; how many."""
    body = {"workergroup_id": told["workergroup_id"], "cancel_update": True}
    answer = server.call("POST", "/update_workers/", "renter", body).json()
    assert answer["cancelled"], answer
    return int(answer["workers_to_update"])


def recruit(server: Served, told: dict[str, Any]) -> None:
    """One more worker of a deployment."""
    market, group = recruiter(server), GroupId(told["workergroup_id"])

    def rented() -> bool:  # an offer may be shown for a moment after it was taken
        return any(
            decided(server, told, Decision(kind=Kind.RENT, reason="a test", offer=one.offer))
            for one in asyncio.run(market.candidates(group))[:1]
        )

    assert eventually(rented)


def decided(server: Served, told: dict[str, Any], decision: Decision) -> bool:
    """Whether an engine's decision could be carried out."""
    endpoint, group = EndpointId(told["endpoint_id"]), GroupId(told["workergroup_id"])
    done = asyncio.run(recruiter(server).carry_out(endpoint, group, decision, 0))
    return done.text == "done"


def instances(server: Served) -> list[dict[str, Any]]:
    """Of the renter, the oldest first."""
    rows = server.call("GET", "/api/v0/instances/", "renter").json()["instances"]
    return sorted(rows, key=lambda row: row["id"])


@pytest.fixture
def agent(server: Served) -> Iterator[ScriptedAgent]:
    """The agent of a machine that is listed."""
    made = hardware()
    joined = join(server, of=made)
    agent = ScriptedAgent(server, joined, made)
    with agent.working():
        asked = {"machine": joined.machine, "price_gpu": 0.36, "price_disk": 0.1}
        assert server.call("PUT", "/api/v0/machines/create_asks/", "host", asked).json()["success"]
        yield agent


def test_a_worker_fetches_the_code_of_its_own_deployment_only(
    server: Served, agent: ScriptedAgent
) -> None:
    told, strange = deployed(server), put(server, wish(name="strange"))
    recruit(server, told)
    (instance,) = instances(server)
    env = dict(instance["extra_env"])
    assert env["IS_DEPLOYMENT"] == "true"
    assert env["DEPLOYMENT_ID"] == str(told["deployment_id"])
    assert env["VAST_API_URL"] == server.url
    assert "serve_deployment" in instance["onstart"]
    key = eventually(lambda: agent.told)[0].env["CONTAINER_API_KEY"]
    path = f"/api/v0/deployment/{told['deployment_id']}/download_url/"
    link = server.call("GET", path, key).json()["download_url"]
    assert server.client.get(link).content == CODE
    theirs = f"/api/v0/deployment/{strange['deployment_id']}/download_url/"
    assert server.call("GET", theirs, key).status_code == 404
    assert server.call("GET", DEPLOYMENTS, key).status_code == 403
    assert shown(server, told)["worker_count"] == 1
    assert server.call("DELETE", path.replace("download_url/", ""), "renter").json()["success"]
    assert server.call("GET", "/api/v0/instances/", "renter").json()["instances"] == []


@pytest.mark.usefixtures("agent")
def test_a_cancelled_update_leaves_what_ran(server: Served) -> None:
    old = wish(max_workers=2, cold_workers=0)
    new = {**old, "file_hash": "1" * 64, "image": "python:3.10", "search_params": "num_gpus=1"}
    told = deployed(server, old)
    recruit(server, told)
    before = group_of(server, told)
    deployed(server, new)
    assert roll_out(server, told) == 1
    assert put(server, new)["action"] == "exists"
    assert cancel(server, told) == 1
    assert shown(server, told)["file_hash"] == old["file_hash"]
    after = group_of(server, told)
    assert after.template_hash == before.template_hash
    assert after.search_params == before.search_params
    assert put(server, new)["action"] == "soft_update", "workers run the old"
    assert put(server, old)["action"] == "exists"
    assert roll_out(server, told) == 1
    assert cancel(server, told) == 1
    assert shown(server, told)["file_hash"] == old["file_hash"], "it was of no other version"


@pytest.mark.usefixtures("agent")
def test_workers_that_a_cancelled_update_made_unlike_are_made_alike(server: Served) -> None:
    old, new = wish(max_workers=2, cold_workers=0), wish(1, max_workers=2, cold_workers=0)
    told = deployed(server, old)
    recruit(server, told)
    recruit(server, told)
    deployed(server, new)
    assert roll_out(server, told) == 2
    first, second = instances(server)
    worker = ContractId(first["id"])
    assert decided(server, told, Decision(kind=Kind.UPDATE, reason="a test", worker=worker))
    assert put(server, new)["action"] == "exists", "it goes on"
    assert cancel(server, told) == 1
    assert [one["template_hash_id"] for one in instances(server)] != [
        second["template_hash_id"]
    ] * 2
    assert shown(server, told)["file_hash"] == old["file_hash"]
    back = put(server, old)
    assert (back["action"], back["upload_url"]) == ("soft_update", None)
    assert roll_out(server, told) == 2
    assert put(server, old)["action"] == "exists"
