"""Bytes on a line: where messages end, who waits for whom, and what is not given to anybody."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mercato.http import server as server_module
from mercato.http.call import Call
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.line import Whole
from mercato.http.relay import Relay
from mercato.http.server import HEAD_BYTES_MAX
from tests.http.by_hand import Site, echo, half, slow_socket

UPGRADE = (
    b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
)


class Gate:
    """A handler that answers `/slow` when it is let to, in two pieces for `/stream`."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        if call.path == "/stream":
            call.begin(200, [], None)
            call.write(b"first ")
        if call.path in {"/slow", "/stream"}:
            self.began.set()
            await self.open.wait()
        if call.path == "/stream":
            call.write(b"last")
            call.end()
        else:
            call.answer(200, f"{call.path} ".encode() + call.body)


@asynccontextmanager
async def written_by_hand(*answers: bytes) -> AsyncIterator[Pool]:
    """A pool to an origin that gives each of its connections these answers, one to a request."""

    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            writer.write(answer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(origin, "127.0.0.1", 0) as behind:
        pool = Pool(Origin("127.0.0.1", behind.sockets[0].getsockname()[1], tls=False))
        yield pool
        pool.close()


async def test_a_slow_reader_leaves_no_line_that_nobody_reads() -> None:
    size, over = 3_000_000, asyncio.Event()
    async with Site(lambda call: call.answer(200, b"x" * int(call.query))).up() as behind:
        pool = behind.pool()

        async def relay(call: Call) -> None:
            await pool.exchange(pool.request("GET", f"/?{call.query}"), Relay(call))
            over.set()

        async def read(caller: socket.socket) -> None:
            loop, got = asyncio.get_running_loop(), 0
            while got < size:
                got += len(await loop.sock_recv(caller, 65_536))
                await asyncio.sleep(0.001)
            caller.close()

        async with Site(relay).up() as front, asyncio.TaskGroup() as callers:
            for _ in range(8):
                caller = await slow_socket(front.port, 4_096)
                over.clear()
                await asyncio.get_running_loop().sock_sendall(
                    caller, b"GET /?%d HTTP/1.1\r\n\r\n" % size
                )
                callers.create_task(read(caller))
                await over.wait()
                # The line that the slow answer came over is the next to be taken.
                answer = await front.pool().fetch("GET", "/?5", timeout_s=5)
                assert answer.body == b"xxxxx"


@pytest.mark.parametrize("body", [b"", b"hi"])
@pytest.mark.parametrize("work", [echo, Gate])
async def test_an_offer_of_another_protocol_is_passed_over(work: object, body: bytes) -> None:
    gate = Gate()
    gate.open.set()
    head = b"POST /a%%20b?q HTTP/1.1\r\nx-own: 1\r\n%scontent-length: %d\r\n\r\n"
    asked = head % (UPGRADE, len(body)) + body
    async with Site(echo if work is echo else gate).up() as site:
        last = b"GET /next HTTP/1.1\r\nconnection: close\r\n\r\n"
        answer = await site.said(asked + last)
        cut = await site.said(asked[:20], asked[20:90], asked[90:], last)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"/next" in answer
    assert cut.count(b"HTTP/1.1 200") == 2
    for said in (answer, cut):
        assert b"/a b q " + body in said or b"/a b " + body in said


async def test_an_offer_with_the_wish_to_close_closes() -> None:
    offer = UPGRADE.replace(b"Upgrade,", b"close, Upgrade,")
    async with Site(echo).up() as site:
        answer = await site.raw(b"GET /a HTTP/1.1\r\n" + offer + b"\r\n")
        tunnel = await site.raw(b"CONNECT a:1 HTTP/1.1\r\n\r\n")
    assert b"connection: close" in answer
    assert tunnel.startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize("path", [b"/slow", b"/stream"])
@pytest.mark.parametrize("behind", [b"garbage\r\n\r\n", b"!", b"POST / HTTP/1.1\r\na b: c\r\n\r\n"])
async def test_what_is_no_request_is_refused_after_the_good_one_before_it(
    path: bytes, behind: bytes
) -> None:
    gate = Gate()
    async with Site(gate).up() as site:
        good = b"POST %s HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi" % path
        asking = asyncio.create_task(site.said(good + behind + behind))
        await gate.began.wait()
        await asyncio.sleep(0)
        gate.open.set()
        answer = await asking
        assert site.complaints == []
    whole = b"/slow hi" if path == b"/slow" else b"4\r\nlast\r\n0\r\n\r\n"
    assert answer.index(whole) < answer.index(b"HTTP/1.1 400")
    assert [answer.count(b"HTTP/1.1 200"), answer.count(b"HTTP/1.1 400")] == [1, 1]


async def test_go_on_is_said_when_the_answers_before_are_whole() -> None:
    gate = Gate()
    async with Site(gate).up() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /stream HTTP/1.1\r\n\r\n")
        await gate.began.wait()
        writer.write(b"POST /x HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        await asyncio.sleep(0.05)
        gate.open.set()
        before = await reader.readuntil(b"100 Continue\r\n\r\n")
        assert before.endswith(b"last\r\n0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        writer.write(b"hi")
        assert await reader.readuntil(b"/x hi")
        writer.close()


async def test_answers_keep_the_order_of_the_requests() -> None:
    gate = Gate()
    async with Site(gate).up() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /slow HTTP/1.1\r\n\r\n")
        await gate.began.wait()
        writer.write(b"GET /1 HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.05)
        # The third comes as the first is answered, before the second has begun.
        connection = next(iter(site.server.connections))
        call = connection._call
        assert call is not None
        call.answer(200, b"done")
        connection.data_received(b"GET /2 HTTP/1.1\r\n\r\n")
        answers = await reader.readuntil(b"/2 ")
        assert answers.index(b"/1 ") < answers.index(b"/2 ")
        gate.open.set()
        writer.close()


async def test_no_request_begins_before_the_answers_ahead_of_it_are_taken() -> None:
    began: list[str] = []

    def work(call: Call) -> None:
        began.append(call.path)
        call.answer(200, b"x" * 8_000_000 if call.path == "/a" else b"b")

    async with Site(work).up() as site:
        caller, loop = await slow_socket(site.port), asyncio.get_running_loop()
        await loop.sock_sendall(caller, b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.2)
        assert began == ["/a"]
        got = b""
        while not got.endswith(b"\r\n\r\nb"):
            got = got[-100:] + await loop.sock_recv(caller, 65_536)
        assert began == ["/a", "/b"]
        caller.close()


async def test_nothing_begins_behind_an_answer_that_is_the_last() -> None:
    began: list[str] = []

    def work(call: Call) -> None:
        began.append(call.path)
        call.answer(200, b"x" * 8_000_000)

    ends = b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /b HTTP/1.1\r\n\r\n"
    async with Site(work).up() as site:
        assert (await site.said(ends)).count(b"HTTP/1.1 200") == 1
        assert began == ["/a"]


@pytest.mark.parametrize("head", [b"", b"connection: close\r\n"])
async def test_a_refusal_is_given_once(head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with Site(lambda call: call.answer(200, b"x" * 8_000_000)).up() as site:
        caller, loop = await slow_socket(site.port), asyncio.get_running_loop()
        await loop.sock_sendall(caller, b"GET /a HTTP/1.1\r\n%s\r\ngarbage\r\n\r\n" % head)
        await asyncio.sleep(0.1)
        got = b""
        while piece := await loop.sock_recv(caller, 2**20):
            got += piece
        caller.close()
    assert got.count(b"HTTP/1.1 400") == (0 if head else 1)
    assert caplog.records == []


async def test_many_offers_in_one_packet_are_all_passed_over() -> None:
    offer = b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n"
    last = b"GET /b HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: h2c\r\nconnection: Close\r\n\r\n"
    async with Site(echo).up() as site:
        answer = await site.said(offer * 1_000 + last)
    assert answer.count(b"HTTP/1.1 200") == 1_001


async def test_an_answer_is_given_for_as_long_as_its_reader_takes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.01)
    size = 20_000_000
    async with Site(lambda call: call.answer(200, b"x" * size)).up() as site:
        loop = asyncio.get_running_loop()
        reading, idle = await slow_socket(site.port), await slow_socket(site.port)
        for caller in (reading, idle):
            await loop.sock_sendall(caller, b"GET / HTTP/1.1\r\n\r\n")
        began_s, got = time.monotonic(), 0
        while got < size:
            piece = await loop.sock_recv(reading, 262_144)
            assert piece, f"cut after {got} bytes"
            got += len(piece)
            await asyncio.sleep(0.005)
        assert time.monotonic() - began_s > 20 * server_module.SWEEP_S
        # Who takes nothing is given up; all that had come by then is little.
        async with asyncio.timeout(10):
            while site.server.connections:  # noqa: ASYNC110 - sets no event
                await asyncio.sleep(0.01)
        for caller in (reading, idle):
            caller.close()


async def test_what_comes_after_a_body_has_an_end() -> None:
    seen: list[tuple[bytes, ...]] = []

    def note(call: Call) -> None:
        seen.append(tuple(name for name, _ in call.headers))
        echo(call)

    chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    async with Site(note).up() as site:
        assert b"200 OK" in await site.raw(chunked + b"x-trailer: 1\r\n\r\n")
        assert seen == [(b"transfer-encoding",)]
        line = b"a: " + b"x" * 1_000 + b"\r\n"
        for trailers in ([line] * 4_000, [b"a: " + b"x" * 20 * HEAD_BYTES_MAX]):
            packets = [b"".join(trailers)[at : at + 16_384] for at in range(0, 2**20, 16_384)]
            assert (await site.raw(chunked, *packets)).startswith(b"HTTP/1.1 431")
        assert (await site.raw(chunked + b"\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_large_body_before_a_head_in_part_is_not_counted_as_head() -> None:
    body = b"x" * 2 * HEAD_BYTES_MAX
    whole = b"POST /a HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with Site(lambda call: call.answer(200, call.path.encode() + b" ")).up() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /first HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"/first ")
        connection = next(iter(site.server.connections))
        connection.data_received(whole + b"GET /b HTTP/1.1\r\n")  # as one packet
        connection.data_received(b"x-more: 1\r\n\r\n")
        assert b"431" not in await reader.readuntil(b"/b ")
        writer.close()


async def test_a_head_is_answered_by_a_head() -> None:
    def stream(call: Call) -> None:
        if call.path == "/stream":
            call.begin(200, [], None)
            call.write(b"body")
            call.end()
        else:
            call.answer(200, b"body")

    async with Site(stream).up() as site:
        answer = await site.raw(
            b"HEAD /a HTTP/1.1\r\n\r\nHEAD /stream HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"
        )
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b"body") == 1
    assert answer.count(b"content-length: 4") == 2
    assert answer.endswith(b"body")


@pytest.mark.parametrize(
    ("asked", "chunked"),
    [
        (b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
    ],
)
async def test_the_end_of_a_stream_is_told_from_a_break(asked: bytes, *, chunked: bool) -> None:
    def stream(call: Call) -> None:
        call.begin(200, [], None)
        call.write(b"body")
        call.end()

    async with Site(stream).up() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(asked)
        answer = await asyncio.wait_for(reader.read(), 5)  # it hangs up by itself
        writer.close()
    assert answer.endswith(b"4\r\nbody\r\n0\r\n\r\n" if chunked else b"\r\n\r\nbody")
    assert (b"transfer-encoding: chunked" in answer) == chunked


async def test_breaking_an_answer_off_is_no_bug_of_the_handlers() -> None:
    async def half_and_end(call: Call) -> None:
        half(call)

    async with Site(half_and_end).up() as site:
        with pytest.raises(OriginFailed):
            await site.pool().fetch("GET", "/")
        assert site.complaints == []


async def test_an_answer_beyond_its_bounds_is_none() -> None:
    async with Site(lambda call: call.answer(200, b"x" * 100)).up() as site:
        pool = site.pool()
        with pytest.raises(OriginFailed, match="more than 50 bytes"):
            await pool.exchange(pool.request("GET", "/"), Whole(bytes_max=50))


async def test_what_an_origin_says_beyond_its_answer_is_nobodys() -> None:
    one = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"
    for surplus in (one, b"HTTP/1", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"?"):
        async with written_by_hand(one + surplus, one.replace(b"one", b"two")) as pool:
            for _ in range(2):
                # A line that said too much is not asked again: a new one says `one` anew.
                assert (await pool.fetch("GET", "/", timeout_s=5)).body == b"one"


async def test_what_an_origin_answered_badly_is_not_asked_again() -> None:
    asked = 0

    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        for answer in (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"nonsense\r\n\r\n"):
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(origin, "127.0.0.1", 0) as behind:
        pool = Pool(Origin("127.0.0.1", behind.sockets[0].getsockname()[1], tls=False))
        assert (await pool.fetch("POST", "/")).status == 200
        with pytest.raises(OriginFailed, match="does not speak"):
            await pool.fetch("POST", "/")
        assert asked == 2
        pool.close()
