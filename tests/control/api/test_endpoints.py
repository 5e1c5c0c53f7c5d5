"""Endpoints and worker groups through the official clients, and workers rented for them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vastai import VastAI

from mercato.control.api.endpoints import search_text
from mercato.control.api.fleet import Recruiter
from mercato.control.flows.house import Rules
from mercato.control.store import decisions
from mercato.market import errors
from mercato.market.instance import State
from mercato.market.money import nano
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, EndpointId, GroupId
from mercato.serverless.load import Load
from mercato.serverless.recruit import Candidate
from mercato.serverless.scale import Memory, decide
from tests.control.api.scripted import listed
from tests.control.api.serving import Served, served
from tests.control.api.test_journey import eventually

pytestmark = pytest.mark.client


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """A server that keeps a tenth of what renters pay."""
    rules = Rules(simulated_verified=True, platform_fee_ppm=100_000)
    with served(database_url, tmp_path, rules=rules) as running:
        yield running


@pytest.fixture
def vast(server: Served) -> VastAI:
    return VastAI(api_key=server.keys["renter"], server_url=server.url)


@pytest.fixture
def machine(server: Served) -> Iterator[int]:
    """A machine that is connected and listed."""
    with listed(server) as one:
        yield one


def template(vast: VastAI) -> str:
    made = vast.create_template(name="llm", image="debian:12", env="-p 3000:3000 -e MODEL=tiny")
    return str(made["template"]["hash_id"])


def recruiter(server: Served) -> Recruiter:
    services = server.plane.services
    return Recruiter(
        db=services.db,
        clock=services.clock,
        house=services.house,
        offers=services.offers,
        keys=services.keys,
        blobs=services.blobs,
        engine_url=server.url,
    )


def group_of(vast: VastAI, **asked: Any) -> tuple[int, int]:
    """An endpoint with one worker group: their ids."""
    endpoint = vast.create_endpoint(endpoint_name="chat", max_workers=4, cold_workers=1)["result"]
    made = vast.create_workergroup(
        template_hash=template(vast),
        endpoint_name="chat",
        search_params='gpu_name="RTX 4090" num_gpus=1 verified=any',
        no_default=True,
        **asked,
    )
    return endpoint, made["id"]


def test_an_endpoint_is_made_shown_changed_and_deleted(vast: VastAI) -> None:
    endpoint, group = group_of(vast)
    (shown,) = vast.show_endpoints()
    assert (shown["id"], shown["endpoint_name"]) == (endpoint, "chat")
    assert (shown["max_workers"], shown["cold_mult"], shown["target_util"]) == (4, 2.5, 0.9)
    assert (shown["max_queue_time"], shown["target_queue_time"]) == (30, 10)
    vast.update_endpoint(id=endpoint, min_load=12.5, endpoint_state="suspended")
    (changed,) = vast.show_endpoints()
    assert (changed["min_load"], changed["endpoint_state"]) == (12.5, "suspended")
    assert changed["max_workers"] == 4
    (row,) = vast.show_workergroups()
    assert (row["id"], row["endpoint_id"], row["endpoint_name"]) == (group, endpoint, "chat")
    assert row["search_query"]["gpu_name"] == {"eq": "RTX 4090"}
    vast.delete_workergroup(id=group)
    assert vast.show_workergroups() == []
    vast.delete_endpoint(id=endpoint)
    assert vast.show_endpoints() == []


@pytest.mark.parametrize(
    "bad",
    [
        {"target_util": 0},
        {"target_util": 1.5},
        {"cold_mult": 0.5},
        {"cold_workers": -1},
        {"cold_workers": 1_001},
        {"max_workers": -1},
        {"max_workers": 100_000},
        {"late_weight": -0.5},
        {"min_load": -1},
        {"endpoint_state": "asleep"},
        {"endpoint_name": "with/slash"},
        {"policy": "luck"},
    ],
    ids=str,
)
def test_parameters_that_cannot_be_are_refused(server: Served, bad: dict[str, Any]) -> None:
    answer = server.call("POST", "/api/v0/endptjobs/", "renter", {"endpoint_name": "x", **bad})
    assert answer.status_code == 400, answer.text
    assert answer.json()["msg"]


def test_the_most_workers_win_over_the_least(server: Served) -> None:
    def after(method: str, path: str, **asked: int) -> tuple[int, int]:
        answer = server.call(method, f"/api/v0/endptjobs/{path}", "renter", asked)
        assert answer.status_code == 200, answer.text
        (row,) = server.call("GET", "/api/v0/endptjobs/", "renter").json()["results"]
        return row["max_workers"], row["cold_workers"]

    assert after("POST", "", max_workers=3) == (3, 3)
    (row,) = server.call("GET", "/api/v0/endptjobs/", "renter").json()["results"]
    path = f"{row['id']}/"
    assert after("PUT", path, max_workers=2) == (2, 2)
    assert after("PUT", path, cold_workers=7) == (2, 2)
    assert after("PUT", path, max_workers=9, cold_workers=7) == (9, 7)


# As the help of the official client writes them.
EXAMPLE = (
    "--onstart onstart_wget.sh  --env '-e ONSTART_PATH=https://example.com/onstart_OOBA.sh'"
    " --image atinoda/text-generation-webui:default-nightly --disk 64"
)


def test_a_group_whose_workers_could_not_be_made_is_refused(vast: VastAI, server: Served) -> None:
    _, group = group_of(vast)
    good = {"endpoint_name": "chat", "template_hash": template(vast)}
    web = vast.create_template(name="a", image="debian:12", env="-e WORKER_PORT=http")["template"]
    odd = {"name": "b", "image": "debian:12", "extra_filters": {"no_such_field": {"eq": 1}}}
    odd = server.call("POST", "/api/v0/template/", "renter", odd).json()["template"]
    login = {"docker_login_user": "u", "docker_login_pass": "p", "docker_login_repo": "x.example"}
    for bad, told in (
        ({"launch_args": EXAMPLE}, "--onstart-cmd"),
        ({"launch_args": "--privileged"}, "not known"),
        ({"launch_args": "--env '-e WORKER_PORT=70000'"}, "WORKER_PORT"),
        ({"launch_args": "--image 'no image'"}, "not the name of an image"),
        ({"template_hash": web["hash_id"]}, "WORKER_PORT"),
        ({"template_hash": odd["hash_id"]}, "no_such_field"),
        (login, "--login"),
    ):
        for method, path in (("POST", ""), ("PUT", f"{group}/")):
            answer = server.call(method, f"/api/v0/autojobs/{path}", "renter", {**good, **bad})
            assert answer.status_code == 400, (method, bad, answer.text)
            assert told in answer.json()["msg"]
    known = EXAMPLE.replace("--onstart onstart_wget.sh", "--onstart-cmd 'wget $ONSTART_PATH'")
    vast.update_workergroup(id=group, launch_args=known)
    (row,) = vast.show_workergroups()
    assert (row["launch_args"], row["version"]) == (known, 2)


@pytest.mark.parametrize("action", ["stop", "notify"])
def test_who_has_a_limit_scales_no_endpoint_whose_workers_count_for_another(
    vast: VastAI, server: Served, action: str
) -> None:
    endpoint, group = group_of(vast)
    made = server.call("POST", "/api/v0/auth/apikeys/", "renter", {"name": "ci"}).json()
    limit = {"amount": 1, "period": "month", "scope": "key", "scope_id": made["id"]}
    limited = server.call("POST", "/api/v0/limits/", "renter", {**limit, "action": action})
    assert limited.status_code == 200, limited.text
    hash_id = template(vast)
    own = server.call("POST", "/api/v0/endptjobs/", made["key"], {"endpoint_name": "own"}).json()

    def asked(endpoint: int) -> list[int]:
        wish = {"endpoint_id": endpoint, "template_hash": hash_id}
        answers = [
            server.call("PUT", f"/api/v0/endptjobs/{endpoint}/", made["key"], {"min_load": 9}),
            server.call("POST", "/api/v0/autojobs/", made["key"], wish),
        ]
        return [answer.status_code for answer in answers]

    refused = 403 if action == "stop" else 200
    assert asked(endpoint) == [refused, refused]
    assert asked(own["id"]) == [200, 200]
    path = f"/api/v0/autojobs/{group}/"
    answer = server.call("PUT", path, made["key"], {"gpu_ram": 8})
    assert answer.status_code == refused, answer.text
    stops = {"endpoint_state": "stopped"}
    where = f"/api/v0/endptjobs/{endpoint}/"
    assert server.call("PUT", where, made["key"], stops).status_code == 200
    more = server.call("PUT", where, made["key"], {**stops, "max_workers": 900})
    assert more.status_code == refused, more.text
    if action == "stop":
        assert f"limit on key {made['id']}" in answer.json()["msg"]
        mine = max(one["id"] for one in vast.show_workergroups())
        to_theirs = server.call(
            "PUT", f"/api/v0/autojobs/{mine}/", made["key"], {"endpoint_id": endpoint}
        )
        assert to_theirs.status_code == 403
    assert server.call("PUT", path, "renter", {"gpu_ram": 8}).status_code == 200


def test_nobody_reads_or_changes_anothers_endpoint(vast: VastAI, server: Served) -> None:
    endpoint, group = group_of(vast)
    for method, path, body in (
        ("GET", f"/api/v0/endptjobs/{endpoint}/", None),
        ("PUT", f"/api/v0/endptjobs/{endpoint}/", {"min_load": 1}),
        ("DELETE", f"/api/v0/endptjobs/{endpoint}/", None),
        ("PUT", f"/api/v0/autojobs/{group}/", {"gpu_ram": 1}),
        ("DELETE", f"/api/v0/workergroups/{group}/", None),
        ("POST", "/update_workers/", {"workergroup_id": group}),
    ):
        assert server.call(method, path, "other", body).status_code == 404, path
    assert server.call("GET", "/api/v0/endptjobs/", "other").json()["results"] == []


def test_two_endpoints_of_an_account_have_two_names(vast: VastAI, server: Served) -> None:
    group_of(vast)
    again = server.call("POST", "/api/v0/endptjobs/", "renter", {"endpoint_name": "chat"})
    assert again.status_code == 400
    assert "another name" in again.json()["msg"]
    other = server.call("POST", "/api/v0/endptjobs/", "other", {"endpoint_name": "chat"})
    assert other.status_code == 200


def test_a_worker_is_rented_slept_woken_made_anew_and_released(
    vast: VastAI, server: Served, machine: int
) -> None:
    endpoint, group = group_of(vast, launch_args="--disk 20 --env '-e MODEL=small'")
    market = recruiter(server)

    def do(kind: Kind, **about: Any) -> str:
        decision = Decision(kind=kind, reason="a test", **about)
        done = market.carry_out(EndpointId(endpoint), GroupId(group), decision, 0)
        return asyncio.run(done).text

    offers = eventually(lambda: asyncio.run(market.candidates(GroupId(group))))
    assert {offer.machine for offer in offers} == {machine}
    assert do(Kind.RENT, offer=offers[0].offer) == "done"
    worker = eventually(lambda: _worker(market, State.RUNNING))
    assert worker.kind == "1x RTX 4090"
    (instance,) = vast.show_instances()
    env = dict(instance["extra_env"])
    assert env["MODEL"] == "small"
    assert env["REPORT_ADDR"] == server.url
    assert instance["disk_space"] == 20
    assert do(Kind.SLEEP, worker=worker.id) == "done"
    eventually(lambda: _worker(market, State.STOPPED))
    assert do(Kind.WAKE, worker=worker.id) == "done"
    eventually(lambda: _worker(market, State.RUNNING))
    renewed = vast.update_workers(id=group)
    assert renewed["workers_to_update"] == 1
    assert do(Kind.UPDATE, worker=worker.id) == "done"
    again = eventually(lambda: _worker(market, State.RUNNING))
    assert again.version == 2
    assert again.token_hash != worker.token_hash
    assert asyncio.run(market.reboot(worker.id, 0)) == "done"
    assert do(Kind.DESTROY, worker=worker.id) == "done"
    assert "no worker" in asyncio.run(market.reboot(worker.id, 0))
    assert "no worker" in do(Kind.WAKE, worker=worker.id)
    kept = server.plane.db.run_now(decisions.latest, EndpointId(endpoint), None, 10)
    assert [one.kind for one in kept] == ["wake", "destroy", "update", "wake", "sleep", "rent"]
    assert {one.reason for one in kept} == {"a test"}
    path = f"/api/v0/endptjobs/{endpoint}/decisions/?worker_id={worker.id}&limit=5"
    shown = server.call("GET", path, "renter").json()["decisions"]
    assert [one["kind"] for one in shown] == ["wake", "destroy", "update", "wake", "sleep"]
    assert server.call("GET", path, "host").status_code == 404
    refused = server.call("GET", path.replace("limit=5", "limit=0"), "renter")
    assert refused.status_code == 400


def rent(market: Recruiter, endpoint: int, group: int) -> None:
    """Rent a group the first worker that is on offer."""
    offers = eventually(lambda: asyncio.run(market.candidates(GroupId(group))))
    decision = Decision(kind=Kind.RENT, reason="a test", offer=offers[0].offer)
    told = market.carry_out(EndpointId(endpoint), GroupId(group), decision, 0)
    assert asyncio.run(told).text == "done"


def _worker(market: Recruiter, state: State) -> Any:
    found = asyncio.run(market.fleet()).workers
    return next((one for one in found if one.state is state), None)


def test_a_worker_is_rented_by_bid_where_the_endpoint_may_bid(
    vast: VastAI, server: Served, machine: int
) -> None:
    endpoint, group = group_of(vast)
    market = recruiter(server)
    host = VastAI(api_key=server.keys["host"], server_url=server.url)
    host.set_min_bid(id=machine, price=0.18)
    path = f"/api/v0/endptjobs/{endpoint}/"

    def offers() -> list[Candidate]:
        return asyncio.run(market.candidates(GroupId(group)))

    on_demand = eventually(offers)
    assert [one.bid for one in on_demand] == [None] * len(on_demand)
    for changed, bids in (
        ({"interruptible_share": 1.0, "policy": "queue"}, 0),
        ({"policy": "auto"}, len(on_demand)),
    ):
        assert server.call("PUT", path, "renter", changed).status_code == 200
        assert sum(one.bid is not None for one in offers()) == bids
    shown = offers()
    least = min((one for one in shown if one.bid), key=lambda one: one.gpu_price)
    same = next(one for one in shown if one.offer == least.offer and not one.bid)
    assert least.bid == least.gpu_price < same.gpu_price
    decision = Decision(kind=Kind.RENT, reason="a test", offer=least.offer, bid=least.bid)
    asked = market.carry_out(EndpointId(endpoint), GroupId(group), decision, 0)
    assert asyncio.run(asked).text == "done"
    (instance,) = vast.show_instances()
    assert instance["machine_id"] == machine
    assert instance["is_bid"]
    assert nano(instance["dph_base"]) == least.bid
    (fact,) = asyncio.run(market.fleet()).workers
    assert (fact.gpu_price, fact.on_demand_price) == (least.bid, same.gpu_price)


def test_what_is_decided_is_done_and_kept_with_its_reason_in_one_transaction(
    vast: VastAI, server: Served, machine: int
) -> None:
    endpoint, group = group_of(vast)
    market = recruiter(server)
    rent(market, endpoint, group)
    assert machine
    (kept,) = market.db.run_now(
        lambda tx: tx.all(
            "select d.reason, d.outcome, d.xmin = w.xmin as together"
            " from decisions d join workers w on w.id = d.worker_id"
        )
    )
    assert kept == {"reason": "a test", "outcome": "done", "together": True}


def test_19_what_a_former_owner_decides_is_refused_and_kept(
    vast: VastAI, server: Served, machine: int
) -> None:
    number, group = group_of(vast)
    endpoint, market = EndpointId(number), recruiter(server)
    (offer, *_) = eventually(lambda: asyncio.run(market.candidates(GroupId(group))))
    assert offer.machine == machine
    fence = asyncio.run(market.stand("an engine", server.url)).mine[endpoint]
    decision = Decision(kind=Kind.RENT, reason="a test", offer=offer.offer)

    def told(by: int) -> str:
        return asyncio.run(market.carry_out(endpoint, GroupId(group), decision, by)).text

    refused = told(fence - 1)
    assert "Another engine" in refused
    assert vast.show_instances() == []
    assert told(fence) == "done"
    made = market.db.run_now(decisions.latest, endpoint, None, 10)
    assert [one.outcome for one in made] == ["done", refused]


def test_a_group_whose_launch_bids_needs_no_share(
    vast: VastAI, server: Served, machine: int
) -> None:
    _, group = group_of(vast, launch_args="--bid_price 0.30")
    offers = eventually(lambda: asyncio.run(recruiter(server).candidates(GroupId(group))))
    assert {one.machine for one in offers} == {machine}
    rented = decide(0.0, Endpoint(workers_min=1), Load(), [], offers, Memory())
    assert {one.kind for one in rented} == {Kind.RENT}


def test_deleting_an_endpoint_destroys_its_workers(
    vast: VastAI, server: Served, machine: int
) -> None:
    endpoint, group = group_of(vast)
    market = recruiter(server)
    rent(market, endpoint, group)
    told = server.call("DELETE", f"/api/v0/endptjobs/{endpoint}/", "renter").json()
    assert len(told["deleted_workers"]) == 1
    assert vast.show_instances() == []
    assert machine


def test_a_signing_key_is_made_once(server: Served) -> None:
    market = recruiter(server)

    async def both() -> tuple[str, str]:
        first, second = await asyncio.gather(
            market.signing_key("route", lambda: "one"), market.signing_key("route", lambda: "two")
        )
        return first, second

    first, second = asyncio.run(both())
    assert first == second
    stored = server.plane.db.run_now(lambda tx: tx.one("select sealed from signing_keys"))
    assert stored is not None
    assert first.encode() not in bytes(stored["sealed"])


def test_a_query_comes_as_text_list_or_object() -> None:
    assert search_text(["num_gpus>=2", "verified=True"]) == "num_gpus>=2 verified=True"
    assert search_text({"num_gpus": {"gte": 2}, "gpu_name": {"in": ["RTX 4090", "H100"]}}) == (
        "num_gpus>=2 gpu_name in [RTX_4090,H100]"
    )
    for bad in ("num_gpus>>2", {"num_gpus": {"like": 2}}):
        with pytest.raises(errors.InvalidQuery):
            search_text(bad)


def test_a_group_whose_query_is_an_object_looks_where_the_search_does(
    vast: VastAI, server: Served, machine: int
) -> None:
    query = {"gpu_ram": {"gte": 24_564}, "duration": {"gte": 86_400}, "num_gpus": [1, 2]}
    endpoint, _ = group_of(vast)
    asked = {"endpoint_id": endpoint, "template_hash": template(vast), "search_params": query}
    made = server.call("POST", "/api/v0/workergroups/", "renter", asked).json()["id"]
    found = eventually(lambda: asyncio.run(recruiter(server).candidates(GroupId(made))))
    offers = server.call("POST", "/api/v0/bundles/", None, query).json()["offers"]
    assert {one.machine for one in found} == {machine}
    assert {one.offer for one in found} == {one["id"] for one in offers}
