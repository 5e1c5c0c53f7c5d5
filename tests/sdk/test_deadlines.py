"""A request ends in time and says why, whatever engine and worker do; so in both clients."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from mercato.sdk import AsyncMercato, Mercato
from mercato.sdk.errors import BadQuery, Failure, ServerFailed, TimedOut, Unreachable
from tests.sdk.answering import Answers
from tests.sdk.speaking import Line, Speak, speaking

LIMIT_S = 1.0
SLACK_S = 4.0
"""A machine may be busy; what is looked for is a wait without an end, or one of 20 seconds."""

Ask = Callable[..., list[object]]


def blocking(url: str, **how: float) -> list[object]:
    with Mercato(url, "key") as market:
        return [market.endpoint("llm").request("/x", {}, **how).value]  # type: ignore[arg-type]


def blocking_stream(url: str, **how: float) -> list[object]:
    with Mercato(url, "key") as market:
        return list(market.endpoint("llm").stream("/x", {}, **how))  # type: ignore[arg-type]


def awaited(url: str, **how: float) -> list[object]:
    async def ask() -> list[object]:
        async with AsyncMercato(url, "key") as market:
            return [(await market.endpoint("llm").request("/x", {}, **how)).value]  # type: ignore[arg-type]

    return asyncio.run(ask())


def awaited_stream(url: str, **how: float) -> list[object]:
    async def ask() -> list[object]:
        async with AsyncMercato(url, "key") as market:
            return [one async for one in market.endpoint("llm").stream("/x", {}, **how)]  # type: ignore[arg-type]

    return asyncio.run(ask())


ALL = pytest.mark.parametrize("ask", [blocking, blocking_stream, awaited, awaited_stream])
STREAMS = pytest.mark.parametrize("ask", [blocking_stream, awaited_stream])


def late(ask: Ask, worker: Speak, engine: Speak | None = None) -> str:
    """What is said when the time is up, as soon as it is."""
    with speaking(worker, engine) as url:
        began_s = time.monotonic()
        with pytest.raises(TimedOut, match="'llm' did not answer within 1 s") as failed:
            ask(url, timeout_s=LIMIT_S)
        assert time.monotonic() - began_s < LIMIT_S + SLACK_S
    return failed.value.message


def drips(line: Line) -> None:
    line.begin("application/json")
    line.drip(b" ")


def drips_events(line: Line) -> None:
    line.begin("text/event-stream")
    line.drip(b"data: 1\n\n")


def drips_packed(line: Line) -> None:
    """Compressed content of which nothing comes out."""
    line.begin("application/json", "Content-Encoding: gzip")
    line.say(bytes.fromhex("1f8b08080000000000ff"))
    line.drip(b"a")  # a file's name that does not end


@ALL
@pytest.mark.parametrize("worker", [drips, drips_events, drips_packed, Line.silence])
def test_the_time_for_everything_is_for_everything(ask: Ask, worker: Speak) -> None:
    late(ask, worker)


@ALL
def test_a_silent_engine_is_not_waited_for_longer(ask: Ask) -> None:
    assert "the engine does not answer" in late(ask, Line.silence, engine=Line.silence)


@ALL
def test_what_was_heard_last_is_told_when_the_time_is_up(ask: Ask) -> None:
    def fails(line: Line) -> None:
        line.begin("application/json", status="500 Oh")
        line.say(b'{"error":"CUDA OOM"}')

    def refuses(line: Line) -> None:
        line.begin("application/json", status="503 Oh")
        line.say(b'{"msg":"on fire"}')

    assert "last heard: the worker at http://127.0.0.1" in (said := late(ask, fails))
    assert "500" in said
    assert "CUDA OOM" in said
    assert "503" in (said := late(ask, fails, engine=refuses))
    assert "on fire" in said


def test_a_refused_connection_is_told_when_the_time_is_up() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(TimedOut, match=r"last heard: .*refused"):
            blocking(url, timeout_s=LIMIT_S)


@STREAMS
def test_a_reader_that_takes_its_time_is_not_cut_off_while_pieces_come(ask: Ask) -> None:
    def counts(line: Line) -> None:
        line.begin("text/event-stream")
        for number in range(3):
            line.say(b"data: %d\n\n" % number)

    with speaking(counts) as url:
        assert ask(url, timeout_s=30.0) == [0, 1, 2]


@ALL
@pytest.mark.parametrize(
    "url", ["127.0.0.1:8400", "localhost:8400", "http://localhost:9x", "ftp://localhost"]
)
def test_an_address_that_can_never_be_reached_is_said_at_once(ask: Ask, url: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(Unreachable, match="cannot reach"):
        ask(url, timeout_s=30.0)
    assert time.monotonic() - began_s < SLACK_S


@ALL
@pytest.mark.parametrize("timeout_s", [float("inf"), 1e10, 1e300])
def test_who_would_wait_for_ever_may(server: Answers, ask: Ask, timeout_s: float) -> None:
    server.answer(200, {"url": server.url, "request_idx": 5})
    server.answer(200, {"text": "hello"})
    assert ask(server.url, timeout_s=timeout_s) == [{"text": "hello"}]
    assert server.seen[0].body["deadline_s"] == 86_400


@ALL
def test_a_time_that_is_no_number_is_refused(server: Answers, ask: Ask) -> None:
    with pytest.raises(BadQuery, match="timeout_s"):
        ask(server.url, timeout_s=float("nan"))
    assert not server.seen


@ALL
def test_an_answer_that_cannot_be_unpacked_is_a_failure_and_not_asked_again(
    server: Answers, ask: Ask
) -> None:
    server.answer(200, {"url": server.url, "request_idx": 5})
    server.answer(200, "no gzip", Content_Encoding="gzip")
    with pytest.raises(ServerFailed, match="cannot be read"):
        ask(server.url)
    assert len(server.seen) == 2


@STREAMS
def test_a_stream_that_breaks_off_is_no_success(ask: Ask) -> None:
    def breaks_off(line: Line) -> None:
        line.begin("text/event-stream")
        line.say(b'data: {"i":1}\n\ndata: {"i')

    with speaking(breaks_off) as url, pytest.raises(ServerFailed, match="broke off"):
        ask(url)


@STREAMS
def test_an_answer_that_is_no_stream_is_one_piece(server: Answers, ask: Ask) -> None:
    for content, kind in (('{\n "n": 1\n}', "application/json"), ("hello\nyou\n", "text/plain")):
        server.plan.clear()
        server.seen.clear()
        server.answer(200, {"url": server.url, "request_idx": 5})
        server.answer(200, content, Content_Type=kind)
        assert ask(server.url) == [{"n": 1} if "json" in kind else "hello\nyou\n"]


def test_what_a_worker_of_a_bad_address_costs_is_a_try(server: Answers) -> None:
    server.answer(200, {"url": "nonsense", "request_idx": 5})
    server.answer(200, {"url": server.url, "request_idx": 5})
    server.answer(200, {"text": "hello"})
    assert blocking(server.url) == [{"text": "hello"}]
    server.plan[:] = server.plan[:1]
    with pytest.raises(Failure, match="nonsense"):
        blocking(server.url, retries=0)
