"""What is sent together: nothing waits long, nothing overtakes, nothing is lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.http.call import Call
from mercato.http.client import OriginFailed
from mercato.http.line import Whole
from mercato.http.outbox import TOGETHER_MAX, Outbox
from mercato.http.server import PIECE_BYTES_MAX, PIECES_MAX
from tests.http.by_hand import Site, half, slow_socket


class _Letter:
    def __init__(self, number: int, sent: list[int]) -> None:
        self._number = number
        self._sent = sent

    def send(self) -> None:
        self._sent.append(self._number)


@given(bursts=st.lists(st.integers(1, 3 * TOGETHER_MAX), max_size=5))
async def test_all_are_sent_in_their_order_and_none_waits_for_many(bursts: list[int]) -> None:
    outbox, sent, added = Outbox(asyncio.get_running_loop()), list[int](), 0
    for burst in bursts:
        for _ in range(burst):
            outbox.add(_Letter(added, sent))
            added += 1
            assert added - len(sent) < TOGETHER_MAX
        await asyncio.sleep(0)
        assert sent == list(range(added))


async def test_who_adds_while_others_are_sent_is_sent_too() -> None:
    outbox, sent = Outbox(asyncio.get_running_loop()), list[int]()

    class Answered(_Letter):
        def send(self) -> None:
            super().send()
            outbox.add(_Letter(2, sent))

    outbox.add(Answered(1, sent))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sent == [1, 2]


@given(sizes=st.lists(st.integers(1, 2 * PIECE_BYTES_MAX), min_size=1, max_size=3 * PIECES_MAX))
async def test_pieces_of_any_size_come_whole_and_in_order(sizes: list[int]) -> None:
    pieces = [bytes([number % 256]) * size for number, size in enumerate(sizes)]

    def stream(call: Call) -> None:
        call.begin(200, [], None)
        for piece in pieces:
            call.write(piece)
        call.end()

    async with Site(stream).up() as site:
        for _ in range(2):
            assert (await site.pool().fetch("GET", "/")).body == b"".join(pieces)


@pytest.mark.parametrize("size", [100, PIECE_BYTES_MAX])
async def test_a_handler_that_never_waits_hears_soon_that_its_caller_takes_no_more(
    size: int,
) -> None:
    written: list[int] = []
    over = asyncio.Event()

    def pour(call: Call) -> None:
        full: list[bool] = []
        call.on_full = lambda: full.append(True)
        call.begin(200, [], None)
        while not full and sum(written) < 50_000_000:
            call.write(b"x" * size)
            written.append(size)
        call.abort()
        over.set()

    async with Site(pour).up() as site:
        caller = await slow_socket(site.port, 4_096)
        await asyncio.get_running_loop().sock_sendall(caller, b"GET / HTTP/1.1\r\n\r\n")
        await over.wait()
        caller.close()
    assert sum(written) < 20_000_000  # what a kernel takes by itself, and little more


async def test_what_was_written_before_a_break_comes() -> None:
    async with Site(half).up() as site:
        assert (await site.said(b"GET / HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\nhalf")


async def test_what_is_called_off_at_once_is_not_asked() -> None:
    asked: list[str] = []
    told: list[OriginFailed | None] = []

    def note(call: Call) -> None:
        asked.append(call.path)
        call.answer(200)

    async with Site(note).up() as site:
        pool = site.pool()
        await pool.fetch("GET", "/first")
        pool.start(pool.request("GET", "/second"), Whole(), told.append).cancel()
        await pool.fetch("GET", "/third")
    assert (asked, told) == (["/first", "/third"], [])
