"""A worker on a real socket, between an engine that hears it and a model server."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mercato.http.call import Call
from mercato.pyworker.clock import SystemClock
from mercato.pyworker.model import Model
from mercato.pyworker.server import CannotServe, PyWorker
from mercato.pyworker.worker import Benchmark, Refused, Route, Worker
from tests.pyworker.surroundings import Running, logged, model_server, placed, running


class Gate:
    """A model that answers when it is let to."""

    def __init__(self) -> None:
        self.began: list[Any] = []
        self.came = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, payload: Any, model: Model) -> Any:
        del model
        self.began.append(payload)
        self.came.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return payload

    async def until_began(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.began) < count:
                self.came.clear()
                await self.came.wait()


async def double(payload: Any, model: Model) -> Any:
    del model
    return payload * 2


def echoing(call: Call) -> None:
    call.answer(200, call.body)


async def settled(one: Running) -> None:
    """Wait until the engine has been told that nothing is here any more."""
    engine = one.engine
    await engine.until(lambda: engine.last.cur_load == 0 and engine.last.working_request_idxs == [])


async def test_a_request_with_a_good_ticket_is_passed_on_and_reported() -> None:
    async with (
        model_server(echoing) as model,
        running(Worker(model=model, routes=(Route(path="/v1"),))) as one,
    ):
        answer = await one.ask("/v1", {"prompt": "é"}, cost=7.0)
        assert (answer.status, msgspec.json.decode(answer.body)) == (200, {"prompt": "é"})
        await one.engine.until(lambda: bool(one.engine.finished))
        (told,) = one.engine.finished
        assert (told.request_idx, told.status, told.success) == (1_001, "Success", True)
        assert told.entered_queue_at <= told.work_started_at <= told.work_completed_at
        await one.engine.until(lambda: one.engine.last.cur_perf > 0)
        await settled(one)
        assert sum(status.cur_perf for status in one.engine.statuses) == 100.0
        assert sum(status.new_load for status in one.engine.statuses) == 100.0
        assert one.engine.last.num_requests_recieved == 1


async def test_requests_that_take_turns_take_them_in_the_order_of_their_coming() -> None:
    gate = Gate()
    async with running((Route(path="/a", answer=gate), Route(path="/b", answer=gate))) as one:
        asking = []
        for number in range(20):
            asking.append(asyncio.create_task(one.ask("/ab"[0] + "ab"[number % 2], number)))
            await asyncio.sleep(0.005)
        await gate.until_began(1)
        assert gate.began == [0]
        gate.open.set()
        answers = await asyncio.gather(*asking)
        assert [answer.status for answer in answers] == [200] * 20
        assert gate.began == list(range(20))


async def test_requests_of_a_parallel_route_go_at_once() -> None:
    gate = Gate()
    async with running((Route(path="/p", answer=gate, parallel=True),)) as one:
        asking = [asyncio.create_task(one.ask("/p", number)) for number in range(20)]
        await gate.until_began(20)
        gate.open.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        await settled(one)


async def test_bad_tickets_and_bad_bodies_are_refused_as_the_contract_says() -> None:
    async with running((Route(path="/d", answer=double),)) as one:
        genuine = one.engine.auth(one.place.url)
        forged = msgspec.structs.replace(genuine, cost=1.0)
        assert (await one.ask("/d", 1, auth=forged)).status == 401
        assert (await one.ask("/d", 1, auth=genuine)).body == b"2"
        assert (await one.ask("/d", 1, auth=genuine)).status == 401
        assert (await one.ask("/d", 1, session="nonsuch")).status == 410
        assert (await one.post("/d", b"{")).status == 422
        missing = await one.post("/d", {"payload": {}, "auth_data": {"url": "x"}})
        assert missing.status == 422
        assert "reqnum" in msgspec.json.decode(missing.body)["auth_data"]
        nothing = await one.post("/d", {})
        assert msgspec.json.decode(nothing.body) == {
            "auth_data": "field missing",
            "payload": "field missing",
        }
        assert (await one.post("/nowhere", {})).status == 404
        assert (await one.pool.fetch("GET", "/d")).status == 405
        await one.engine.until(lambda: one.engine.last.num_requests_recieved == 1)
        await settled(one)
        # Of what the engine did not send, it is told nothing.
        assert [told.status for told in one.engine.finished] == ["Success"]
        assert sum(status.rej_load for status in one.engine.statuses) == 0


async def test_a_stream_goes_through_and_ends_whole() -> None:
    async def counting(payload: Any, model: Model) -> AsyncIterator[Any]:
        del model
        for number in range(payload):
            yield {"n": number}

    def sse(call: Call) -> None:
        call.begin(200, [(b"content-type", b"text/event-stream")], None)
        for number in range(3):
            call.write(b"data: %d\n\n" % number)
        call.end()

    async with (
        model_server(sse) as model,
        running(
            Worker(
                model=model,
                routes=(Route(path="/own", answer=counting), Route(path="/sse")),
            )
        ) as one,
    ):
        own = await one.ask("/own", 3)
        assert own.body == b'data: {"n":0}\n\ndata: {"n":1}\n\ndata: {"n":2}\n\ndata: [DONE]\n\n'
        assert (await one.ask("/sse", {})).body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert (await one.ask("/own", 0)).body == b"data: [DONE]\n\n"


async def test_a_client_that_hangs_up_frees_its_turn_and_is_reported_cancelled() -> None:
    gate = Gate()
    async with running((Route(path="/g", answer=gate),)) as one:
        asking = [asyncio.create_task(one.ask("/g", number)) for number in range(3)]
        await gate.until_began(1)
        asking[0].cancel()
        await gate.until_began(2)
        asking[2].cancel()
        await one.engine.until(lambda: len(one.engine.finished) == 2)
        gate.open.set()
        await asyncio.gather(*asking, return_exceptions=True)
        await one.engine.until(lambda: len(one.engine.finished) == 3)
        assert sorted(told.status for told in one.engine.finished) == [
            "Cancelled",
            "Cancelled",
            "Success",
        ]
        assert all(told.success for told in one.engine.finished)
        assert gate.cancelled == 1
        await settled(one)


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_client_that_hangs_up_makes_the_worker_hang_up_on_the_model(
    *, parallel: bool
) -> None:
    began, gone = asyncio.Event(), asyncio.Event()

    def hold(call: Call) -> None:
        call.on_gone = gone.set
        began.set()

    async with (
        model_server(hold) as model,
        running(Worker(model=model, routes=(Route(path="/v1", parallel=parallel),))) as one,
    ):
        asking = asyncio.create_task(one.ask("/v1", {}))
        await began.wait()
        asking.cancel()
        async with asyncio.timeout(5):
            await gone.wait()
        await one.engine.until(lambda: len(one.engine.finished) == 1)
        assert one.engine.finished[0].status == "Cancelled"
        await settled(one)


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_model_that_fails_is_a_500_and_the_next_request_is_served(
    *, parallel: bool
) -> None:
    def moody(call: Call) -> None:
        if call.body == b'"abort"':
            call.abort()
        elif call.body == b'"half"':
            call.begin(200, [], 10)
            call.write(b"half")
            call.abort()
        else:
            call.answer(503 if call.body == b'"sick"' else 200)

    async def buggy(payload: Any, model: Model) -> Any:
        del model
        if payload == "refuse":
            raise Refused(418, "no coffee")
        raise KeyError("bug")

    async with (
        model_server(moody) as model,
        running(
            Worker(
                model=model,
                routes=(Route(path="/m", parallel=parallel), Route(path="/b", answer=buggy)),
            )
        ) as one,
    ):
        assert (await one.ask("/m", "abort")).status == 500
        with pytest.raises(Exception, match="closed"):
            await one.ask("/m", "half")
        assert (await one.ask("/m", "sick")).status == 503
        assert (await one.ask("/b", "x")).status == 500
        assert (await one.ask("/b", "refuse")).status == 418
        assert (await one.ask("/m", "well")).status == 200
        await settled(one)
        await one.engine.until(lambda: len(one.engine.finished) == 6)
        words = [told.status for told in one.engine.finished]
        assert words == ["Error", "Error", "Error", "Error", "Success", "Success"]


async def test_more_work_than_the_queue_may_hold_is_refused_but_never_the_first() -> None:
    gate = Gate()
    benchmark = Benchmark(payloads=[0], rounds=1, warm_up=False)
    route = Route(path="/g", answer=gate, workload=1e9, queue_max_s=10.0, benchmark=benchmark)
    gate.open.set()
    async with running((route,)) as one:
        gate.open.clear()
        # Alone it is more than the queue may hold, and yet nobody could do it sooner.
        asking = [asyncio.create_task(one.ask("/g", 1))]
        await gate.until_began(2)
        one.worker._desk.perf = 1.0
        assert (await one.ask("/g", 2)).status == 429
        gate.open.set()
        assert (await asking[0]).status == 200
        assert (await one.ask("/g", 3)).status == 200


@pytest.mark.parametrize("kind", ["log", "health", "both"])
async def test_a_worker_is_ready_once_its_model_is_loaded(kind: str, tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    well = asyncio.Event()

    def serve(call: Call) -> None:
        call.answer(200 if call.method == "POST" or well.is_set() else 503, b"{}")

    async with model_server(serve) as model:
        what = Worker(
            model=model,
            routes=(Route(path="/v1"),),
            log=logged(log) if kind != "health" else None,
            health="/health" if kind != "log" else None,
        )
        async with running(what, wait=False) as one:
            await one.engine.until(lambda: bool(one.engine.statuses))
            assert one.engine.statuses[0].loadtime == 0
            assert one.engine.statuses[0].max_perf == 0
            log.write_text("starting\nModel loa")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.4):
                    await one.worker.ready.wait()
            assert not one.worker.ready.is_set()
            with log.open("a") as more:
                more.write("ded in 3 s\n")
            well.set()
            await one.engine.until(lambda: one.engine.last.loadtime > 0)
            assert one.engine.last.max_perf > 0
            assert (await one.pool.fetch("GET", "/health")).status == 200


async def test_an_error_in_the_model_log_is_told_also_after_rotation(tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    log.write_text("Model loaded\n")
    async with running(
        Worker(routes=(Route(path="/d", answer=double),), log=logged(log)),
    ) as one:
        log.rename(tmp_path / "model.log.1")
        log.write_text("CUDA error: out of memory\n")
        await one.engine.until(lambda: "out of memory" in (one.engine.last.error_msg or ""))


async def test_a_benchmark_that_never_succeeds_keeps_the_worker_from_being_ready() -> None:
    benchmark = Benchmark(payloads=[1], rounds=1)
    async with (
        model_server(lambda call: call.answer(503)) as model,
        running(
            Worker(model=model, routes=(Route(path="/v1", benchmark=benchmark),)), wait=False
        ) as one,
    ):
        await one.engine.until(lambda: bool(one.engine.last.error_msg))
        assert one.engine.last.max_perf == 0
        assert not one.worker.ready.is_set()


async def test_a_benchmark_is_kept_over_restarts_and_made_anew_for_another_one() -> None:
    asked = 0

    async def counted(payload: Any, model: Model) -> Any:
        nonlocal asked
        asked += 1
        return await double(payload, model)

    def what(payload: int) -> tuple[Route, ...]:
        benchmark = Benchmark(payloads=[payload], rounds=2, concurrency=3)
        return (Route(path="/d", answer=counted, parallel=True, benchmark=benchmark),)

    counts = []
    for payload in (1, 1, 2):
        async with running(what(payload)) as one:
            assert one.engine.last.max_perf > 0
            assert one.engine.last.slots == 3
        counts.append(asked)
    assert counts == [7, 7, 14]


async def test_reports_that_were_lost_are_made_up_for() -> None:
    async with running((Route(path="/d", answer=double),)) as one:
        one.engine.deaf = True
        for number in range(5):
            assert (await one.ask("/d", number)).status == 200
        one.engine.deaf = False
        await one.engine.until(lambda: len(one.engine.finished) == 5)
        await one.engine.until(lambda: one.engine.last.cur_perf > 0)
        await settled(one)
        assert sum(status.cur_perf for status in one.engine.statuses) == 500.0
        numbers = [status.sequence for status in one.engine.statuses]
        assert numbers == sorted(set(numbers))


async def test_a_port_that_is_taken_is_told_to_the_engine_and_ends_the_worker() -> None:
    async with running((Route(path="/d", answer=double),)) as one:
        port = one.place.port
        other = PyWorker(
            Worker(routes=(Route(path="/d", answer=double),)),
            placed(one.engine, port=port),
            SystemClock(),
            random.SystemRandom(),
        )
        with pytest.raises(CannotServe, match=str(port)):
            await other.run()
        assert str(port) in (one.engine.last.error_msg or "")


async def test_an_update_is_noted_for_those_who_know_the_token(tmp_path: Path) -> None:
    noted = tmp_path / "update"
    async with running((Route(path="/d", answer=double),), update_file=noted) as one:
        for headers, status in (
            ((), 401),
            (((b"authorization", b"Bearer no"),), 401),
            (((b"authorization", b"Bearer " + one.place.token.encode()),), 200),
        ):
            answer = await one.pool.fetch("POST", "/pyworker/update", b"", headers)
            assert answer.status == status
            assert noted.exists() == (status == 200)
