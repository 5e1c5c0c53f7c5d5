"""The engine's HTTP, over real sockets, alone and inside an ASGI server."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import uvicorn

from mercato.engine.api import Api
from mercato.engine.clock import SystemClock
from mercato.engine.engine import REFRESH_S, TICK_S, Engine
from mercato.engine.standalone import StandaloneMarket
from mercato.http import asgi
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.line import Answer
from mercato.http.server import Server
from mercato.market.ids import ContractId
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint
from mercato.wire.worker import AuthData
from tests.pyworker.surroundings import complain, free_ports

ACCOUNT_KEY = "account key"
KEY = "endpoint key"


class House:
    """An engine that runs, and whoever calls it."""

    def __init__(self, market: StandaloneMarket, engine: Engine, url: str) -> None:
        self.market = market
        self.engine = engine
        self.url = url
        self.pool = Pool(Origin.of(url))
        self.definition = next(iter(market.endpoints.values()))

    async def post(self, path: str, body: Any, *headers: tuple[bytes, bytes]) -> Answer:
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.pool.fetch("POST", path, encoded, headers, timeout_s=15.0)

    async def said(self, path: str, body: Any, *headers: tuple[bytes, bytes]) -> tuple[int, Any]:
        answer = await self.post(path, body, *headers)
        return answer.status, msgspec.json.decode(answer.body)

    async def route(self, **more: Any) -> tuple[int, Any]:
        return await self.said("/route/", {"endpoint": "llm", "api_key": KEY, **more})

    async def report(self, worker: int, **more: Any) -> int:
        status = {
            "id": worker,
            "mtoken": f"token {worker}",
            "loadtime": 1.0,
            "max_perf": 100.0,
            "url": f"http://127.0.0.1:{worker}",
            "slots": 4,
        }
        return (await self.post("/worker_status/", status | more)).status


def furnished() -> StandaloneMarket:
    market = StandaloneMarket(SystemClock())
    market.accounts = {ACCOUNT_KEY: market_account(), "stranger's key": market_account(2)}
    endpoint = market.add_endpoint("llm", KEY, Endpoint(workers_min=0))
    market.add_worker(endpoint, 1, "token 1")
    market.add_worker(endpoint, 2, "token 2")
    return market


def market_account(number: int = 1) -> Any:
    return number


@contextlib.asynccontextmanager
async def served(
    market: StandaloneMarket, name: str = "one", *, by_asgi: bool = False
) -> AsyncIterator[House]:
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    engine = Engine(market, SystemClock(), name, url)
    api = Api(engine)
    await engine.open()
    running = asyncio.create_task(engine.run())
    server = Server(api.handle, complain)
    site: uvicorn.Server | None = None
    serving: asyncio.Task[None] | None = None
    if by_asgi:
        app = asgi.Beside(api.knows, api.handle, complain, _nothing_else)
        site = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
        serving = asyncio.create_task(site.serve())
        async with asyncio.timeout(10):
            while not site.started:  # noqa: ASYNC110 - uvicorn tells by this flag only
                await asyncio.sleep(0.01)
    else:
        await server.listen("127.0.0.1", port)
    try:
        yield House(market, engine, url)
    finally:
        if site is not None and serving is not None:
            site.should_exit = True
            await serving
        else:
            await server.stop(0.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _nothing_else(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture(params=[False, True], ids=["alone", "asgi"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with served(furnished(), by_asgi=request.param) as house:
        yield house


async def test_a_client_waits_on_the_line_and_gets_the_worker_that_becomes_ready(
    house: House,
) -> None:
    asking = asyncio.create_task(house.route(cost=5))
    assert await house.report(1) == 200
    status, ready = await asking
    assert status == 200
    auth = msgspec.convert(ready, AuthData)
    assert (auth.url, auth.cost, auth.endpoint) == ("http://127.0.0.1:1", 5.0, "llm")
    told = {"request_idx": auth.request_idx, "success": True, "status": "Success"}
    done = {"worker_id": 1, "mtoken": "token 1", "requests": [told]}
    assert (await house.post("/delete_requests/", done)).status == 200
    found = house.engine.post(1)
    assert found is not None
    assert found[1].worker.requests == 0


async def test_03_a_valid_key_never_gets_anything_but_200(house: House) -> None:
    luck = random.Random(3)

    async def client() -> None:
        idx = 0
        for _ in range(20):
            status, said = await house.route(request_idx=idx, cost=luck.random() * 1_000)
            assert status == 200
            assert said["request_idx"]
            idx = luck.choice((0, said["request_idx"]))

    async def trouble() -> None:
        for turn in range(40):
            worker = luck.choice((1, 2))
            await house.report(worker, error_msg=luck.choice(("", "", "broken")))
            house.market.reachable = turn % 3 != 0
            await asyncio.sleep(0.02)

    await house.report(1)
    await house.report(2)
    async with asyncio.timeout(60):
        troubled = asyncio.create_task(trouble())
        clients = [asyncio.create_task(client()) for _ in range(30)]
        await troubled
        for worker in (1, 2):
            await house.report(worker)
        house.market.reachable = True
        for task in clients:
            if not task.done():
                task.cancel()
        done = await asyncio.gather(*clients, return_exceptions=True)
    assert all(one is None or isinstance(one, asyncio.CancelledError) for one in done), done


async def test_39_a_client_may_say_how_its_prompt_begins(house: House) -> None:
    for worker in (1, 2):
        assert await house.report(worker, slots=8, max_perf=100.0) == 200
    marks = [*("mark" * 100), 7]
    urls = {(await house.route(cost=1, affinity=marks))[1]["url"] for _ in range(4)}
    assert len(urls) == 1
    (station,) = house.engine.stations.values()
    post = next(post for post in station.fleet.posts.values() if post.url in urls)
    chain = tuple(map(hash, marks))[:64]
    assert station.fleet.router.prefixes.depth(post.worker.id, chain) == 64
    assert (await house.route(cost=1, affinity="x"))[0] == 400


async def test_03_what_is_wrong_is_said(house: House) -> None:
    for key in ("", "wrong", KEY + "x"):
        status, said = await house.said("/route/", {"endpoint": "llm", "api_key": key})
        assert status == 401
        assert said["msg"]
    status, said = await house.said("/route/", {"endpoint": "other", "api_key": KEY})
    assert status == 400
    for cost in (-1, 1e300, "x"):
        assert (await house.route(cost=cost))[0] == 400
    assert (await house.post("/route/", b"{")).status == 400
    assert (await house.post("/route/", b'{"cost":1e999}')).status == 400
    assert (await house.post("/nowhere", {})).status == 404


async def test_a_key_may_come_in_any_of_its_three_places(house: House) -> None:
    await house.report(1)
    body = {"endpoint": "llm"}
    bearer = (b"authorization", f"Bearer {KEY}".encode())
    assert (await house.said("/route/", body, bearer))[0] == 200
    assert (await house.said(f"/route/?api_key={KEY.replace(' ', '%20')}", body))[0] == 200
    assert (await house.route())[0] == 200
    account = (b"authorization", f"Bearer {ACCOUNT_KEY}".encode())
    assert (await house.said("/route/", body, account))[0] == 200
    stranger = (b"authorization", b"Bearer stranger's key")
    assert (await house.said("/route/", body, stranger))[0] == 400


async def test_a_new_endpoint_is_known_at_its_first_call(house: House) -> None:
    await house.engine.refresh()  # so that the last look is of the moment before
    fresh = house.market.add_endpoint("fresh", "fresh key")
    house.market.add_worker(fresh, 9, "token 9")
    body = {"endpoint": "fresh", "api_key": "fresh key"}
    asking = asyncio.create_task(house.said("/route/", body))
    async with asyncio.timeout(5):
        while await house.report(9) != 200:  # noqa: ASYNC110 - as a worker does
            await asyncio.sleep(0.1)
        status, said = await asking
    assert (status, said["url"]) == (200, "http://127.0.0.1:9")


async def _workers(house: House, key: str, number: int) -> Any:
    body = {"id": number, "api_key": key}
    return [
        await house.said("/get_endpoint_workers/", body),
        await house.said("/get_workergroup_workers/", body),
    ]


async def _model(house: House, key: str, _: int) -> Any:
    bearer = (b"authorization", f"Bearer {key}".encode())
    answer = await house.pool.fetch("GET", "/v1/models", b"", (bearer,))
    return [(answer.status, [])] if b'"fresh"' in answer.body else answer.body


@pytest.mark.parametrize("call", [_workers, _model])
async def test_a_new_endpoints_key_is_good_at_once_everywhere(
    house: House, call: Callable[..., Any]
) -> None:
    await house.engine.refresh()
    fresh = house.market.add_endpoint("fresh", "fresh key")
    answers = await call(house, "fresh key", int(fresh.id))
    assert all(answer == (200, []) for answer in answers), answers


async def test_what_is_new_is_seen_even_if_a_look_was_under_way(house: House) -> None:
    fleet, seen, go_on = house.market.fleet, asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        before = await fleet()
        seen.set()
        await go_on.wait()
        return before

    house.market.fleet = slow  # type: ignore[method-assign]
    await seen.wait()
    house.market.fleet = fleet  # type: ignore[method-assign]
    fresh = house.market.add_endpoint("fresh", "fresh key")
    looking = asyncio.create_task(house.engine.refresh())
    await asyncio.sleep(0)
    go_on.set()
    await looking
    assert house.engine.endpoint(fresh.id) is not None


async def test_strangers_do_not_make_the_engine_look_more_often(house: House) -> None:
    fleet, looks = house.market.fleet, 0

    async def counted() -> Any:
        nonlocal looks
        looks += 1
        return await fleet()

    house.market.fleet = counted  # type: ignore[method-assign]
    began_s = asyncio.get_running_loop().time()
    asked = [house.said("/route/", {"endpoint": "llm", "api_key": f"no {n}"}) for n in range(200)]
    assert {status for status, _ in await asyncio.gather(*asked)} == {401}
    took_s = asyncio.get_running_loop().time() - began_s
    assert looks <= 2 + took_s / REFRESH_S + took_s / TICK_S  # its own, and those for strangers


async def test_17_a_report_counts_only_from_the_worker_itself(house: House) -> None:
    assert await house.report(1, mtoken="token 2") == 401
    assert await house.report(1, mtoken="") == 401
    assert await house.report(3, mtoken="token 3") == 401
    assert await house.report(1, max_perf=-1.0) == 400
    assert await house.report(1, id="1") == 200  # a start script's shell writes numbers as text
    told = {"worker_id": 1, "mtoken": "token 2", "requests": []}
    assert (await house.post("/delete_requests/", told)).status == 401
    assert (await house.post("/worker_status/", b"[]")).status == 400


async def test_17_a_flood_of_bad_reports_is_refused_whole_and_routes_go_on(house: House) -> None:
    await house.report(1)
    found = house.engine.post(1)
    assert found is not None
    journal, post = found[0].journal, found[1]
    heard_s = post.heard_s
    bad: list[tuple[int, dict[str, Any]]] = [
        (401, {"id": 1, "mtoken": "token 2"}),
        (401, {"id": 2, "mtoken": "token 1"}),
        (401, {"id": 99, "mtoken": "token 1"}),
        (400, {"id": 1, "max_perf": "fast"}),
    ]
    flood = [house.report(1, **said) for _ in range(100) for _, said in bad]
    routes = [house.route(cost=1) for _ in range(4)]
    statuses = await asyncio.gather(*flood)
    assert statuses == [status for status, _ in bad] * 100
    assert [said["url"] for _, said in await asyncio.gather(*routes)] == [post.url] * 4
    assert (post.heard_s, post.worker.benchmark) == (heard_s, 100.0)
    assert "reports" not in str(journal.read()), "strangers write nothing into its owner's log"


async def test_a_start_scripts_short_report_of_an_error_is_heard(house: House) -> None:
    short = {"id": 1, "mtoken": "token 1", "version": "0", "error_msg": "no GPU", "url": ""}
    assert (await house.post("/worker_status/", short)).status == 200
    found = house.engine.post(1)
    assert found is not None
    assert found[1].error == "no GPU"


async def test_owners_see_workers_logs_and_decisions_and_strangers_do_not(house: House) -> None:
    await house.report(1)
    number, group = house.definition.id, house.definition.groups[0].id
    for key in (KEY, ACCOUNT_KEY):
        status, rows = await house.said("/get_endpoint_workers/", {"id": number, "api_key": key})
        assert status == 200
        assert [row["id"] for row in rows] == [1, 2]
        assert rows[0]["status"] == "idle"
        assert all(value is not None for row in rows for value in row.values())
    for path in ("/get_autogroup_workers/", "/get_workergroup_workers/"):
        status, rows = await house.said(path, {"id": group, "api_key": KEY})
        assert len(rows) == 2
    for path, which in (("/get_endpoint_logs/", number), ("/get_workergroup_logs/", group)):
        status, logs = await house.said(path, {"id": which, "api_key": KEY, "tail": 5})
        assert status == 200
        assert list(logs) == ["info0", "info1", "trace", "debug"]
    assert await house.said("/get_endpoint_decisions/", {"id": number, "api_key": KEY}) == (200, [])
    for path in ("/get_endpoint_workers/", "/get_endpoint_logs/"):
        assert (await house.said(path, {"id": number, "api_key": "wrong"}))[0] == 401
        assert (await house.said(path, {"id": number}))[0] == 401
        assert (await house.said(path, {"id": number, "api_key": "stranger's key"}))[0] == 404
        assert (await house.said(path, {"id": 999, "api_key": KEY}))[0] == 404


async def test_33_a_rolling_update_is_begun_and_cancelled(house: House) -> None:
    group = house.definition.groups[0].id
    asked = {"workergroup_id": group, "api_key": ACCOUNT_KEY}
    status, said = await house.said("/update_workers/", asked)
    assert (status, said["workers_to_update"], said["success"]) == (200, 2, True)
    status, said = await house.said("/update_workers/", asked | {"cancel_update": True})
    assert (status, said["workers_to_update"], said["cancelled"]) == (200, 2, True)
    assert (await house.said("/update_workers/", asked | {"workergroup_id": 99}))[0] == 404
    assert (await house.said("/update_workers/", asked | {"api_key": KEY}))[0] == 401


async def test_who_hangs_up_is_no_longer_on_the_line(house: House) -> None:
    asking = asyncio.create_task(house.route())
    desk = house.engine.stations[house.definition.id].desk
    async with asyncio.timeout(10):
        while desk.on_the_line == 0:  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0.01)
        asking.cancel()
        while desk.on_the_line == 1:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)


async def test_18_an_endpoint_moves_from_a_dead_engine_within_five_seconds() -> None:
    market = furnished()
    async with served(market, "one") as one, served(market, "two") as two:
        owner, other = await _owner_and_other(one, two)
        await owner.report(1)
        # Whichever engine a client or a worker speaks to, the owner answers.
        status, said = await other.route()
        assert (status, said["url"]) == (200, "http://127.0.0.1:1")
        assert await other.report(2) == 200
        rows = await other.said(
            "/get_endpoint_workers/", {"id": other.definition.id, "api_key": KEY}
        )
        assert [row["status"] for row in rows[1]] == ["idle", "idle"]
        began_s = asyncio.get_running_loop().time()
        await _kill(owner)
        reporting = asyncio.create_task(_report_for_ever(other))
        while "url" not in (said := (await other.route())[1]):
            assert said["request_idx"]
        assert asyncio.get_running_loop().time() - began_s < 5.0
        reporting.cancel()


async def _report_for_ever(house: House) -> None:
    while True:
        await house.report(1)
        await asyncio.sleep(0.25)


async def _owner_and_other(one: House, two: House) -> tuple[House, House]:
    endpoint = one.definition.id
    async with asyncio.timeout(15):
        while True:
            owners = [house for house in (one, two) if endpoint in house.engine.stations]
            others = [house for house in (one, two) if endpoint in house.engine.others]
            if len(owners) == 1 and len(others) == 1:
                return owners[0], others[0]
            await asyncio.sleep(0.05)


async def _kill(house: House) -> None:
    """The engine says no more to the market, and nothing to anybody."""
    house.engine.market = Unreachable()
    house.engine.stations.clear()


async def test_19_an_old_owners_decisions_are_refused() -> None:
    market = furnished()
    async with served(market, "one") as one, served(market, "two") as two:
        owner, other = await _owner_and_other(one, two)
        endpoint = owner.definition.id
        stale = owner.engine.stations[endpoint].scaling.fence
        await _kill(owner)
        async with asyncio.timeout(10):
            while endpoint not in other.engine.stations:  # noqa: ASYNC110 - looked at only
                await asyncio.sleep(0.05)
        fresh = other.engine.stations[endpoint].scaling.fence
        assert fresh > stale
        decision = Decision(kind=Kind.DESTROY, reason="split brain", worker=ContractId(1))
        group = owner.definition.groups[0].id
        assert not (await market.carry_out(endpoint, group, decision, stale)).done
        assert 1 in market.workers
        assert (await market.carry_out(endpoint, group, decision, fresh)).done
        assert 1 not in market.workers


async def test_an_engine_that_is_gone_is_a_wait_not_an_error() -> None:
    async with served(furnished()) as house:
        endpoint = house.definition.id
        await house.engine.stations.pop(endpoint).close()
        house.engine.others = {endpoint: "http://127.0.0.1:9"}
        house.engine.market = Unreachable()
        status, said = await house.route()
        assert (status, "url" in said) == (200, False)
        assert said["request_idx"] > 0
        again = await house.route(request_idx=said["request_idx"])
        assert again[1]["request_idx"] == said["request_idx"]
        with contextlib.suppress(OriginFailed):
            assert await house.report(1) == 503


class Unreachable:
    """A market that cannot be asked."""

    def __getattr__(self, name: str) -> Any:
        raise ConnectionError(name)
