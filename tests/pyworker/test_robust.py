"""What neither strangers nor clumsy callers, models and engines can do to a worker."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mercato.http.call import Call
from mercato.pyworker.model import Model
from mercato.pyworker.models import openai
from mercato.pyworker.ready import LogFollower
from mercato.pyworker.request import units
from mercato.pyworker.sessions import address
from mercato.pyworker.worker import WORKLOAD, Benchmark, ModelLog, Route, Worker
from mercato.wire.worker import UNITS_MAX
from tests.pyworker.surroundings import Engine, Running, model_server, running, until


async def same(payload: Any, model: Model) -> Any:
    del model
    return payload


SAME = (Route(path="/s", answer=same),)


async def asked_raw(one: Running, path: str, body: bytes) -> int:
    return (await one.post(path, body)).status


@pytest.mark.parametrize("cost", [-1.0, 1.7e308])
async def test_a_stranger_cannot_make_a_workers_reports_unreadable(cost: float) -> None:
    def unreadable(call: Call) -> bool:
        said = msgspec.json.decode(call.body) if call.body else {}
        load = said.get("rej_load", 0.0)
        return not (load is not None and load >= 0)

    async with running(SAME) as one:
        one.engine.refuses = unreadable
        forged = msgspec.structs.replace(one.engine.auth(one.place.url), cost=cost)
        for _ in range(2):
            assert (await one.ask("/session/create", {}, auth=forged)).status == 401
            assert (await one.ask("/s", 1, auth=forged)).status == 401
        told = len(one.engine.statuses)
        assert (await one.ask("/s", 1)).status == 200
        await one.engine.until(lambda: len(one.engine.statuses) > told)
        assert sum(status.rej_load for status in one.engine.statuses) == 0


async def test_nobody_ends_anothers_request_by_its_number() -> None:
    gate = asyncio.Event()

    async def wait(payload: Any, model: Model) -> Any:
        del model
        await gate.wait()
        return payload

    async with running((Route(path="/w", answer=wait),)) as one:
        auth = one.engine.auth(one.place.url)
        asking = asyncio.create_task(one.ask("/w", 1, auth=auth))
        await until(lambda: one.worker._measure.requests == 1)
        for bad in (auth, msgspec.structs.replace(auth, signature="x")):
            assert (await one.ask("/w", 2, auth=bad)).status == 401
            assert (await one.ask("/session/create", {}, auth=bad)).status == 401
        await one.engine.until(lambda: one.engine.last.working_request_idxs == [auth.request_idx])
        assert one.engine.finished == []
        gate.set()
        assert (await asking).status == 200
        await one.engine.until(lambda: len(one.engine.finished) == 1)


async def test_what_an_engine_refuses_is_not_told_for_ever() -> None:
    async with running(SAME) as one:
        one.engine.refuses = lambda call: call.path != "/pubkey/"
        assert (await one.ask("/s", 1)).status == 200
        await until(lambda: one.worker._measure.finished == [])
        await until(lambda: one.worker._measure.since.served == 0)
        one.engine.refuses = lambda _: False
        assert (await one.ask("/s", 1)).status == 200
        await one.engine.until(lambda: len(one.engine.finished) == 1)


async def test_what_one_engine_refuses_another_may_take() -> None:
    async with Engine().up() as other, running(SAME) as one:
        other.refuses = lambda _: True
        reports = one.worker._reports
        reports._engines.insert(0, type(reports._engines[0])(other.url))
        assert (await one.ask("/s", 1)).status == 200
        await one.engine.until(lambda: len(one.engine.finished) == 1)
        assert reports._engines[0].address == one.engine.url


async def test_the_engine_that_answers_is_told_first_the_next_time() -> None:
    async with Engine().up() as other, running(SAME) as one:
        reports = one.worker._reports
        reports._engines.insert(0, type(reports._engines[0])(other.url))
        other.deaf = True
        assert await reports.tell()
        assert [engine.address for engine in reports._engines] == [one.engine.url, other.url]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"max_tokens":1e200,"n":1e200}', WORKLOAD),  # no number any more
        (b'{"max_tokens":1e200}', UNITS_MAX),
        (b'{"max_tokens":-5}', WORKLOAD),
        (b'{"max_tokens":"x"}', WORKLOAD),
        (b"[]", WORKLOAD),
    ],
)
def test_no_payload_is_more_work_than_can_be_told(payload: bytes, expected: float) -> None:
    route = Route(path="/v1", workload=openai.tokens)
    assert units(route, msgspec.Raw(payload)) == expected


async def test_a_workload_that_stumbles_over_a_payload_is_no_fault_of_the_worker() -> None:
    first = Route(path="/s", answer=same, workload=lambda payload: payload[0])
    async with (
        model_server(lambda call: call.answer(200, call.body)) as model,
        running(
            Worker(model=model, routes=(first, Route(path="/over", over={"model": "m"})))
        ) as one,
    ):
        assert (await one.ask("/s", [])).status == 200
        auth = msgspec.json.encode(one.engine.auth(one.place.url))
        nested = b'{"auth_data":%s,"payload":%s}' % (auth, b"[" * 5_000 + b"]" * 5_000)
        for path in ("/s", "/over"):
            assert await asked_raw(one, path, nested) == 422
        await one.engine.until(lambda: len(one.engine.finished) == 1)
        assert one.worker._measure.requests == 0


async def test_a_stream_is_made_no_faster_than_it_is_read() -> None:
    made = 0

    async def fast(payload: Any, model: Model) -> AsyncIterator[Any]:
        nonlocal made
        del payload, model
        for _ in range(1_000):
            made += 1
            yield "x" * 100_000
            await asyncio.sleep(0)

    async with running((Route(path="/f", answer=fast, parallel=True),)) as one:
        auth = one.engine.auth(one.place.url)
        body = msgspec.json.encode({"auth_data": auth, "payload": 1})
        caller, loop = socket.socket(), asyncio.get_running_loop()
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        caller.setblocking(False)  # noqa: FBT003 - its name is its own
        await loop.sock_connect(caller, ("127.0.0.1", one.place.port))
        head = b"POST /f HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
        await loop.sock_sendall(caller, head + body)
        settled = -1
        while settled != made:
            settled = made
            await asyncio.sleep(0.2)
        assert 0 < made < 500  # kernel buffers and ours; the whole is 100 MB
        end = b""
        while not end.endswith(b"0\r\n\r\n"):
            end = end[-10:] + await loop.sock_recv(caller, 2**20)
        assert made == 1_000
        caller.close()


async def test_a_burst_is_let_in_no_further_than_one_after_another() -> None:
    gate = asyncio.Event()

    async def wait(payload: Any, model: Model) -> Any:
        del model
        await gate.wait()
        return payload

    benchmark = Benchmark(payloads=[0], rounds=1, warm_up=False)
    route = Route(path="/w", answer=wait, workload=1.0, queue_max_s=3.0, benchmark=benchmark)
    gate.set()
    async with running((route,)) as one:
        gate.clear()
        one.worker._desk.perf = 1.0
        asking = [asyncio.create_task(one.ask("/w", number)) for number in range(40)]
        done = 0
        async with asyncio.timeout(10):
            while done < 30:
                await asyncio.sleep(0.01)
                done = sum(task.done() for task in asking)
        assert one.worker._measure.requests <= 5
        gate.set()
        statuses = [answer.status for answer in await asyncio.gather(*asking)]
        assert set(statuses) == {200, 429}


async def test_a_caller_who_leaves_before_its_turn_has_begun_leaves_nothing() -> None:
    async with running(SAME) as one:
        desk, measure = one.worker._desk, one.worker._measure
        auth = one.engine.auth(one.place.url)

        class Left(Call):
            def answer(self, *_: Any, **__: Any) -> None: ...
            def begin(self, *_: Any) -> None: ...
            def write(self, _: bytes) -> None: ...
            def end(self) -> None: ...
            def abort(self) -> None: ...

        call = Left("POST", "/s", "", (), msgspec.json.encode({"auth_data": auth, "payload": 1}))
        work = desk.take(SAME[0], call)
        assert work is not None
        assert measure.requests == 1
        assert call.on_gone is not None
        call.on_gone()
        work.close()
        assert (measure.requests, measure.load) == (0, 0.0)
        await one.engine.until(lambda: len(one.engine.finished) == 1)
        assert one.engine.finished[0].status == "Cancelled"


MODEL = "http://127.0.0.1:8000/base/"


@pytest.mark.parametrize(
    ("route", "model", "told"),
    [
        (None, MODEL, None),
        ("", MODEL, None),
        ("/closed?a=1", MODEL, ("127.0.0.1", 8000, "/closed?a=1")),
        ("closed", MODEL, ("127.0.0.1", 8000, "/base/closed")),
        ("http://h:9?q=1", MODEL, ("h", 9, "/?q=1")),
        ("https://h/x", None, ("h", 443, "/x")),
    ],
)
def test_where_the_end_of_a_session_is_told(
    route: str | None, model: str | None, told: tuple[str, int, str] | None
) -> None:
    found = address(route, model)
    assert (found and (found.origin.host, found.origin.port, found.target)) == told


@pytest.mark.parametrize(
    "route",
    ["http://h/a HTTP/1.1\r\n\r\nDELETE /b", "/a b", "/ü", "ftp://h/x", "http://", "http://h:x/"],
)
async def test_a_route_that_cannot_be_posted_to_is_refused(route: str) -> None:
    async with running(SAME) as one:
        answer = await one.ask("/session/create", {"on_close_route": route})
        assert answer.status == 422
        assert b"on_close_route" in answer.body


async def test_a_path_of_the_model_server_hears_of_the_end_of_a_session() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    def hear(call: Call) -> None:
        told.put_nowait(call.path)
        call.answer(200)

    async with (
        model_server(hear) as model,
        running(Worker(model=model, routes=(Route(path="/v1"),))) as one,
    ):
        opening = {"lifetime": 0.1, "on_close_route": "/closed"}
        assert (await one.ask("/session/create", opening)).status == 201
        async with asyncio.timeout(10):
            assert await told.get() == "/closed"


async def test_a_log_that_cannot_be_read_is_told_and_ends_nothing(tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    log.mkdir()
    what = Worker(routes=SAME, log=ModelLog(file=str(log), loaded=("Loaded",)))
    async with running(what, wait=False) as one:
        await one.engine.until(lambda: "cannot be read" in (one.engine.last.error_msg or ""))
        log.rmdir()
        log.write_text("Loaded\n")
        await one.engine.until(
            lambda: one.engine.last.loadtime > 0 and one.engine.last.error_msg == ""
        )


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[LogFollower]:
    one = LogFollower(tmp_path / "model.log")
    with contextlib.closing(one):
        yield one


def test_what_was_read_before_a_rotation_is_not_read_again(
    follower: LogFollower, tmp_path: Path
) -> None:
    log = tmp_path / "model.log"
    log.write_text("CUDA error\n" * 10)
    assert len(follower.lines()) == 10
    log.rename(tmp_path / "model.log.1")
    log.write_text("new\n")
    assert follower.lines() == ["new"]
