"""The server and the client against each other, and against bytes written by hand."""

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.http.call import Call
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.line import Sink, Whole
from mercato.http.relay import Relay
from mercato.http.server import HEAD_BYTES_MAX
from tests.http.by_hand import Site, echo, half


async def test_a_request_is_answered_and_the_connection_kept() -> None:
    async with Site(echo).up() as site:
        pool = site.pool()
        opened: set[object] = set()
        for number in range(3):
            answer = await pool.fetch("POST", f"/a%20b?n={number}", b"body")
            assert (answer.status, answer.body) == (200, f"POST /a b n={number} body".encode())
            opened |= site.server.connections
        assert len(opened) == 1


@given(cuts=st.lists(st.integers(1, 200), max_size=8), count=st.integers(1, 12))
async def test_where_packets_are_cut_changes_nothing(cuts: list[int], count: int) -> None:
    text = b"".join(
        b"POST /%d HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n%s\r\nabc"
        % (number, b"connection: close\r\n" if number == count - 1 else b"")
        for number in range(count)
    )
    bounds = [0, *sorted({cut for cut in cuts if cut < len(text)}), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(bounds)]
    async with Site(echo).up() as site:
        answer = await site.raw(*pieces)
    assert [f"/{number}  abc".encode() in answer for number in range(count)] == [True] * count
    assert answer.count(b"200 OK") == count


async def test_requests_behind_one_at_work_wait_their_turn() -> None:
    gate = asyncio.Event()

    async def work(call: Call) -> None:
        if call.path == "/slow":
            await gate.wait()
        call.answer(200, call.path.encode(), b"text/plain")

    async with Site(work).up() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /slow HTTP/1.1\r\n\r\n" + b"GET /fast HTTP/1.1\r\n\r\n" * 40)
        await asyncio.sleep(0.05)
        gate.set()
        answer = b""
        while answer.count(b"/fast") < 40:
            answer += await reader.read(65_536)
        assert answer.index(b"/slow") < answer.index(b"/fast")
        writer.close()


async def test_a_stream_comes_as_it_is_written() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def work(call: Call) -> None:
        call.begin(200, [(b"content-type", b"text/event-stream")], None)
        for number, gate in enumerate(gates):
            call.write(b"data: %d\n\n" % number)
            await gate.wait()
        call.end()

    class Pieces(Sink):
        def __init__(self) -> None:
            self.seen: list[bytes] = []

        def begin(self, *_: Any) -> None:
            pass

        def write(self, chunk: bytes) -> None:
            self.seen.append(chunk)
            gates[len(self.seen) - 1].set()

        def flush(self) -> None:
            pass

        def end(self) -> None:
            self.seen.append(b"end")

    async with Site(work).up() as site:
        pool, pieces = site.pool(), Pieces()
        await pool.exchange(pool.request("GET", "/"), pieces)
        assert pieces.seen == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n", b"end"]


async def test_a_caller_who_leaves_cancels_the_work_and_hears_nothing_more() -> None:
    began, over = asyncio.Event(), asyncio.Event()

    async def work(call: Call) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            call.answer(200)
            call.write(b"too late")
            call.end()
            over.set()

    async with Site(work).up() as site:
        asking = asyncio.create_task(site.pool().fetch("GET", "/"))
        await began.wait()
        asking.cancel()
        async with asyncio.timeout(5):
            await over.wait()
        assert site.complaints == []


async def test_a_held_call_is_told_that_its_caller_left() -> None:
    held: list[Call] = []
    gone, came = asyncio.Event(), asyncio.Event()

    def hold(call: Call) -> None:
        call.on_gone = gone.set
        held.append(call)
        came.set()

    async with Site(hold).up() as site:
        asking = asyncio.create_task(site.pool().fetch("GET", "/"))
        await came.wait()
        asking.cancel()
        async with asyncio.timeout(5):
            await gone.wait()
        assert held[0].gone


async def test_a_bug_in_a_handler_answers_500_and_is_told() -> None:
    def plain(call: Call) -> Coroutine[Any, Any, None] | None:
        if call.path == "/plain":
            raise ValueError("a bug")
        return later(call)

    async def later(call: Call) -> None:
        await asyncio.sleep(0)
        if call.path == "/later":
            raise ValueError("another")

    async with Site(plain).up() as site:
        for path in ("/plain", "/later", "/silent"):
            assert (await site.pool().fetch("GET", path)).status == 500
        assert [line.split(":")[0] for line in site.complaints] == [
            "GET /plain",
            "GET /later",
            "GET /silent",
        ]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000, b"413"),
        (b"GET / HTTP/1.1\r\na: " + b"x" * 20 * HEAD_BYTES_MAX + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", b"400"),
    ],
)
async def test_what_is_not_a_request_is_refused_and_hung_up_on(sent: bytes, status: bytes) -> None:
    async with Site(echo, body_bytes_max=1_000).up() as site:
        assert (await site.raw(sent)).startswith(b"HTTP/1.1 " + status)
        assert (await site.pool().fetch("GET", "/")).status == 200


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    async with Site(echo).up() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_a_request_in_part_behind_a_whole_one_is_looked_at_too() -> None:
    asks = b"POST /second HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    async with Site(echo).up() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /first HTTP/1.1\r\n\r\n" + asks)
        answers = await reader.readuntil(b"100 Continue\r\n\r\n")
        assert b"GET /first" in answers
        writer.write(b"hi")
        assert b"POST /second  hi" in await reader.readuntil(b"hi")
        writer.close()
        endless = b"GET /second HTTP/1.1\r\na: " + b"x" * 20 * HEAD_BYTES_MAX
        answer = await site.raw(b"GET /first HTTP/1.1\r\n\r\n" + endless)
        assert [b"HTTP/1.1 200" in answer, b"HTTP/1.1 431" in answer] == [True, True]


async def test_line_ends_between_requests_are_passed_over() -> None:
    async with Site(echo).up() as site:
        pieces = (b"\r\n", b"GET /a HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"GET /b HTTP/1.1\r\n\r\n")
        answer = await site.raw(*pieces)
        assert [b"GET /a" in answer, b"GET /b" in answer] == [True, True]


async def test_what_follows_a_body_belongs_to_no_other_message() -> None:
    seen: list[tuple[bytes, ...]] = []
    chunked = b"transfer-encoding: chunked\r\nx-head: 1\r\n\r\n2\r\nhi\r\n0\r\nx-trailer: 2\r\n\r\n"

    def note(call: Call) -> None:
        seen.append(tuple(name for name, _ in call.headers))
        echo(call)

    async with Site(note).up() as site:
        await site.raw((b"POST / HTTP/1.1\r\n" + chunked) + b"GET / HTTP/1.1\r\nx-own: 3\r\n\r\n")
    assert seen[1] == (b"x-own",)

    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (chunked, b"content-length: 0\r\nx-own: 3\r\n\r\n"):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n" + answer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(origin, "127.0.0.1", 0)
    async with server:
        pool = Pool(Origin("127.0.0.1", server.sockets[0].getsockname()[1], tls=False))
        assert (await pool.fetch("GET", "/")).body == b"hi"
        assert [name for name, _ in (await pool.fetch("GET", "/")).headers] == [
            b"content-length",
            b"x-own",
        ]
        pool.close()


async def test_a_kept_connection_that_the_origin_closed_is_replaced() -> None:
    async with Site(echo).up() as site:
        pool = site.pool()
        await pool.fetch("GET", "/")
        for connection in tuple(site.server.connections):
            connection.close()
        assert (await pool.fetch("GET", "/again")).status == 200


async def test_an_exchange_that_is_broken_off_tells_nobody_and_hangs_up() -> None:
    began, gone = asyncio.Event(), asyncio.Event()
    told: list[OriginFailed | None] = []

    def hold(call: Call) -> None:
        call.on_gone = gone.set
        began.set()

    async with Site(hold).up() as site:
        pool = site.pool()
        exchange = pool.start(pool.request("GET", "/"), Whole(), told.append)
        await began.wait()
        exchange.cancel()
        pool.start(pool.request("GET", "/"), Whole(), told.append).cancel()  # while it connects
        async with asyncio.timeout(5):
            await gone.wait()
    assert told == []


async def test_an_origin_that_breaks_off_is_a_failure_not_a_short_answer() -> None:
    async with Site(half).up() as site:
        with pytest.raises(OriginFailed):
            await site.pool().fetch("GET", "/")
    with pytest.raises(OriginFailed):
        await site.pool().fetch("GET", "/")


async def test_a_relay_passes_status_headers_and_body_on() -> None:
    def origin(call: Call) -> None:
        call.answer(418, call.body * 2, b"text/x-tea", ((b"x-pot", b"brown"),))

    async with Site(origin).up() as behind:
        pool = behind.pool()

        async def relay(call: Call) -> None:
            await pool.exchange(pool.request("POST", "/", call.body), Relay(call))

        async with Site(relay).up() as front:
            answer = await front.pool().fetch("POST", "/", b"x" * 500_000)
    assert (answer.status, answer.body) == (418, b"x" * 1_000_000)
    assert (b"x-pot", b"brown") in answer.headers
    assert (b"content-type", b"text/x-tea") in answer.headers


async def test_what_belongs_to_the_origins_connection_is_not_passed_on() -> None:
    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: Keep-Alive\r\n"
            b"X-Two: 1\r\nx-two: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        )
        await reader.read()
        writer.close()

    behind = await asyncio.start_server(origin, "127.0.0.1", 0)
    pool = Pool(Origin("127.0.0.1", behind.sockets[0].getsockname()[1], tls=False))

    async def relay(call: Call) -> None:
        await pool.exchange(pool.request("GET", "/"), Relay(call))

    async with behind, Site(relay).up() as front:
        answer = await front.pool().fetch("GET", "/")
        assert answer.body == b"hi"
        assert answer.headers == [
            (b"X-Two", b"1"),
            (b"x-two", b"2"),
            (b"transfer-encoding", b"chunked"),
        ]
        pool.close()


async def test_a_slow_reader_makes_the_origin_wait() -> None:
    written = 0

    async def origin(call: Call) -> None:
        nonlocal written
        room = asyncio.Event()
        room.set()
        call.on_full, call.on_drained = room.clear, room.set
        call.begin(200, [], None)
        for _ in range(2_000):
            await room.wait()
            call.write(b"x" * 65_536)
            written += 65_536
            await asyncio.sleep(0)
        call.end()

    async with Site(origin).up() as behind:
        pool = behind.pool()

        async def relay(call: Call) -> None:
            await pool.exchange(pool.request("GET", "/"), Relay(call))

        async with Site(relay).up() as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.read(1)
            settled = -1
            while settled != written:
                settled = written
                await asyncio.sleep(0.2)
            assert written < 50_000_000  # kernel buffers and ours; the whole is 131 MB
            writer.close()


async def test_stop_lets_calls_at_work_end() -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    async def work(call: Call) -> None:
        began.set()
        await gate.wait()
        call.answer(200, b"done")

    async with Site(work).up() as site:
        asking = asyncio.create_task(site.pool().fetch("GET", "/"))
        await began.wait()
        stopping = asyncio.create_task(site.server.stop(5.0))
        await asyncio.sleep(0)
        gate.set()
        assert (await asking).body == b"done"
        await stopping
