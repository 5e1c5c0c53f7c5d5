"""An engine whose market is away, whose own parts fail, or that is about to stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mercato.cli.companion import EngineBeside
from mercato.control.flows.serving import TOPIC
from mercato.engine import door as door_module
from mercato.engine import engine as engine_module
from mercato.engine.api import Api
from mercato.engine.clock import SystemClock
from mercato.engine.engine import TICK_S, WELL_S, Engine
from mercato.engine.standalone import StandaloneMarket
from mercato.http.call import Call
from mercato.http.client import OriginFailed
from mercato.http.server import Server
from mercato.wire.worker import UNITS_MAX
from tests.engine.test_api import ACCOUNT_KEY, KEY, House, furnished, served
from tests.pyworker.surroundings import complain

BEARER = (b"authorization", f"Bearer {KEY}".encode())
OWNER = (b"authorization", f"Bearer {ACCOUNT_KEY}".encode())
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "llm", "messages": []}


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0.02)


# The loops.


async def test_a_fault_in_one_turn_is_not_the_end_of_a_loop() -> None:
    async with served(furnished()) as house:
        stand, calls = house.market.stand, 0

        async def first_fails(*asked: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("cannot execute INSERT in a read-only transaction")
            return await stand(*asked)

        house.market.stand = first_fails  # type: ignore[assignment, method-assign]
        await until(lambda: calls > 1)
        await house.report(1)
        assert (await house.route())[0] == 200
        assert (await house.pool.fetch("GET", "/health")).status == 200


async def test_a_fault_at_one_endpoint_is_not_the_others() -> None:
    market = furnished()
    other = market.add_endpoint("other", "other key")
    async with served(market) as house:
        broken, well = (house.engine.stations[one] for one in (house.definition.id, other.id))

        def fail(*_: Any) -> Any:
            raise RuntimeError("a bug")

        broken.tick = broken.desk.answer_the_held = fail  # type: ignore[assignment, method-assign]
        broken.remember = broken.take_facts = fail  # type: ignore[assignment, method-assign]
        before_s = well.desk.load.now_s
        await until(lambda: well.desk.load.now_s > before_s + TICK_S)
        market.add_worker(other, 9, "token 9")
        await until(lambda: len(well.fleet.posts) == 1)
        await house.engine.keep()
        assert await market.kept(other.id) is not None
        body = {"endpoint": "other", "api_key": "other key"}
        async with asyncio.timeout(9.0):
            assert (await house.said("/route/", body))[0] == 200


async def test_an_engine_that_does_not_look_round_any_more_is_not_well() -> None:
    async with served(furnished()) as house:
        assert (await house.pool.fetch("GET", "/health")).status == 200
        house.engine._ticked_s -= WELL_S + 60.0
        assert (await house.pool.fetch("GET", "/health")).status == 503
        await until(lambda: house.engine.well)


class Plane:
    """As much of a control plane as an engine beside it needs."""

    def __init__(self, market: StandaloneMarket) -> None:
        self.market = market
        self.also_hears: Callable[[list[str]], None] = print

    def recruiter(self, _url: str) -> StandaloneMarket:
        return self.market


async def test_beside_a_market_a_fault_in_one_look_is_not_the_end_of_looking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "TICK_S", 3_600.0)  # it looks only when it is told
    market = furnished()
    plane = Plane(market)
    beside = EngineBeside(plane, "http://127.0.0.1:1")  # type: ignore[arg-type]
    async with beside.running():
        fleet, calls = market.fleet, 0

        async def fails(*_: Any) -> Any:
            nonlocal calls
            calls += 1
            raise RuntimeError("a row that nobody foresaw")

        market.fleet = fails  # type: ignore[method-assign]
        plane.also_hears([TOPIC])
        await until(lambda: calls > 0)
        market.fleet = fleet  # type: ignore[method-assign]
        await asyncio.sleep(0.1)
        fresh = market.add_endpoint("fresh", "fresh key")
        plane.also_hears([TOPIC])
        await until(lambda: beside._engine.endpoint(fresh.id) is not None)


# The market is away.


async def test_03_a_client_with_an_account_key_waits_while_the_market_is_away() -> None:
    async with served(furnished()) as house:
        await house.report(1)
        owner = {"endpoint": "llm", "api_key": ACCOUNT_KEY}
        assert (await house.said("/route/", owner))[0] == 200
        house.market.reachable = False
        for digest, (account, _) in tuple(house.engine._accounts.items()):
            house.engine._accounts[digest] = (account, 0.0)  # a minute goes by
        status, said = await house.said("/route/", owner)
        assert (status, "url" in said) == (200, False)
        assert "market cannot be reached" in said["status"]
        again = await house.said("/route/", owner | {"request_idx": said["request_idx"]})
        assert again[1]["request_idx"] == said["request_idx"]
        status, said = await house.said("/route/", {"endpoint": "llm", "api_key": "a new key"})
        assert (status, said["msg"]) == (503, "the market cannot be reached; try again")
        assert "url" in (await house.route())[1]
        house.market.reachable = True
        assert "url" in (await house.said("/route/", owner))[1]


async def test_who_asks_what_only_the_market_knows_is_told_that_it_is_away() -> None:
    async with served(furnished()) as house:
        house.market.reachable = False
        number, group = house.definition.id, house.definition.groups[0].id
        for path, body in (
            ("/get_endpoint_workers/", {"id": number}),
            ("/get_workergroup_logs/", {"id": group}),
            ("/update_workers/", {"workergroup_id": group}),
        ):
            status, said = await house.said(path, body, OWNER)
            assert (status, said["msg"]) == (503, "the market cannot be reached; try again")
        status, said = await house.said(CHAT, ASK, OWNER)
        assert (status, said["error"]["type"]) == (503, "server_error")
        answer = await house.pool.fetch("GET", "/v1/models", b"", (OWNER,))
        assert answer.status == 503


# The engine stops.


async def test_who_is_on_the_line_when_an_engine_stops_keeps_its_place() -> None:
    market = furnished()
    engine = Engine(market, SystemClock(), "one")
    await engine.open()
    running = asyncio.create_task(engine.run())
    server = Server(Api(engine).handle, complain)
    port = await server.listen("127.0.0.1", 0)
    house = House(market, engine, f"http://127.0.0.1:{port}")
    desk = engine.stations[house.definition.id].desk
    held = asyncio.create_task(house.route())
    await until(lambda: desk.on_the_line == 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    try:
        status, said = await held
        assert (status, "url" in said) == (200, False)
        assert (len(desk.fleet.ledger.queue), len(desk.fleet.ledger.away)) == (0, 1)
        async with asyncio.timeout(2.0):
            status, said = await house.route()
            assert (status, "url" in said) == (200, False)
            assert await house.report(1) == 503
            # Nor does a stranger's call make it take its endpoints again.
            await house.said("/route/", {"endpoint": "llm", "api_key": "a new key"})
        assert engine.stations == {}
    finally:
        await server.stop(0.0)


# What workers say.


async def test_what_cannot_be_read_of_a_report_is_left_out_and_told_once() -> None:
    async with served(furnished()) as house:
        await house.report(1)
        idx = (await house.route())[1]["request_idx"]
        good = {"request_idx": idx, "success": True, "status": "Success"}
        rows = [good, good | {"request_idx": None}]
        told = {"worker_id": 1, "mtoken": "token 1", "requests": rows}
        for _ in range(3):
            assert (await house.post("/delete_requests/", told)).status == 200
        found = house.engine.post(1)
        assert found is not None
        assert found[1].worker.requests == 0
        assert str(found[0].journal.read()).count("worker 1 reports what cannot be read") == 1
        assert await house.report(1, working_request_idxs=[None], cur_load=-1) == 200


# The door.


@contextlib.asynccontextmanager
async def answering(house: House, answer: Callable[[Call], Any]) -> AsyncIterator[None]:
    """A worker that answers like this."""
    server = Server(answer, complain)
    port = await server.listen("127.0.0.1", 0)
    assert await house.report(1, url=f"http://127.0.0.1:{port}") == 200
    try:
        yield
    finally:
        await server.stop(0.0)


@pytest.mark.parametrize(
    "more",
    [{"max_tokens": 1e200, "n": 1e200}, {"max_tokens": UNITS_MAX, "n": 2}, {"max_tokens": 1e300}],
)
async def test_no_request_at_the_door_costs_more_than_one_may(more: dict[str, Any]) -> None:
    async with served(furnished()) as house, answering(house, lambda call: call.answer(200)):
        status, said = await house.said(CHAT, ASK | more, BEARER)
        assert (status, said["error"]["type"]) == (400, "invalid_request_error")
        (station,) = house.engine.stations.values()
        assert station.desk.load.units == 0


async def test_a_stream_may_take_longer_than_the_search_for_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door_module, "WAIT_MAX_S", 0.5)

    async def stream(call: Call) -> None:
        call.begin(200, ((b"content-type", b"text/event-stream"),), None)
        for _ in range(10):
            call.write(b"data: x\n\n")
            call.flush()
            await asyncio.sleep(0.1)
        call.end()

    async with served(furnished()) as house:
        async with answering(house, stream):
            answer = await house.post(CHAT, ASK, BEARER)
            assert (answer.status, answer.body.count(b"data")) == (200, 10)
        await house.report(1, error_msg="broken")
        status, said = await house.said(CHAT, ASK, BEARER)
        assert (status, said["error"]["type"]) == (503, "server_error")
        assert "no worker became free" in said["error"]["message"]


async def test_a_request_that_another_engine_broke_off_is_given_to_it_once() -> None:
    async with served(furnished()) as house:
        worked = 0

        async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal worked
            await reader.readuntil(b"\r\n\r\n")
            worked += 1
            writer.close()

        async def take_nothing(*_: Any) -> None:
            """The other engine's lease has not run out yet."""

        other = await asyncio.start_server(break_off, "127.0.0.1", 0)
        number, (_, port) = house.definition.id, other.sockets[0].getsockname()
        house.engine._take = take_nothing  # type: ignore[assignment, method-assign]
        await house.engine.refresh()
        await house.engine.stations.pop(number).close()
        house.engine.others = {number: f"http://127.0.0.1:{port}"}
        status, _ = await house.said(CHAT, ASK, OWNER)
        assert (status, worked) == (503, 1)
        other.close()


async def test_an_answer_that_breaks_off_is_broken_off_for_its_caller_too() -> None:
    async def breaks(call: Call) -> None:
        call.begin(200, (), None)
        call.write(b"half")
        call.flush()
        await asyncio.sleep(0.1)
        call.abort()

    async with served(furnished()) as house, answering(house, breaks):
        with pytest.raises(OriginFailed):
            await house.post(CHAT, ASK, BEARER)
