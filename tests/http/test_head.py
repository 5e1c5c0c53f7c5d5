"""Heads that are known again say what the parser would have said, and nothing else is known."""

import asyncio

from hypothesis import assume, given
from hypothesis import strategies as st

from mercato.http.answer import WireCall
from mercato.http.call import Call
from mercato.http.head import TRIES, Heads
from mercato.http.line import ANSWER_BYTES_MAX, Line, Whole
from mercato.http.outbox import Outbox
from mercato.http.server import _Connection
from tests.http.by_hand import Site

HEAD = b"POST /a HTTP/1.1\r\nhost: x\r\nContent-Length: %d\r\nx-own: 1\r\n\r\n"

framings = st.sampled_from(
    [
        b"content-length: %d\r\n",
        b"Content-Length:%d\r\n",
        b"CONTENT-LENGTH:\t %d \r\n",
        b"x-one: 1\r\ncontent-length: %d\r\nx-two: 2\r\n",
        b"x-content-length: 4\r\ncontent-length: %d\r\n",
        b"x-said: content-length: 4\r\ncontent-length: 00%d\r\n",
    ]
)
bodies = st.sampled_from([b"", b"1", b"22", b"4444", b"x" * 9, b"x" * 10, b"x" * 100])


def chunked(body: bytes) -> bytes:
    piece = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    return b"transfer-encoding: chunked\r\n\r\n" + piece + b"0\r\n\r\n"


def framed(framing: bytes, body: bytes) -> bytes:
    return framing % len(body) + b"\r\n" + body


messages = st.one_of(
    st.builds(framed, framings, bodies), st.builds(chunked, bodies), st.just(b"\r\n")
)
requests = st.builds(
    bytes.__add__,
    st.sampled_from(
        [b"POST /a HTTP/1.1\r\n", b"POST /b%20c?d HTTP/1.1\r\nhost: y\r\n", b"PUT /a HTTP/1.1\r\n"]
    ),
    messages,
)
answers = st.builds(
    bytes.__add__,
    st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 500 No\r\nx-why: none\r\n"]),
    st.one_of(st.builds(framed, framings, bodies), st.builds(chunked, bodies)),
)


def shown(call: Call) -> tuple[object, ...]:
    assert isinstance(call, WireCall)
    asked = call.method, call.path, call.query, list(call.headers), call.body
    return (*asked, call._keep, call.old)


@given(asked=st.lists(st.lists(requests, min_size=1, max_size=2).map(b"".join), max_size=12))
async def test_requests_packet_by_packet_are_what_they_are_byte_by_byte(
    asked: list[bytes],
) -> None:
    seen: list[tuple[object, ...]] = []

    def note(call: Call) -> None:
        seen.append(shown(call))
        call.answer(200)

    async with Site(note).up() as site:
        whole, cut = _Connection(site.server), _Connection(site.server)
        for packet in asked:
            whole.data_received(packet)
        at_once, seen = seen, []
        for packet in asked:
            for at in range(len(packet)):
                cut.data_received(packet[at : at + 1])
    assert at_once == seen
    assert len(seen) >= len(asked)


class _Asked:
    """One who asked, and is told."""

    def __init__(self) -> None:
        self.over = 0
        self.why = ""

    def whole(self, line: Line) -> None:
        assert line.reusable
        self.over += 1

    def broken(self, line: Line, why: str) -> None:
        assert not line.reusable
        self.why = why


class _Wire:
    """A transport that keeps what it is given."""

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        pass


@given(given_=st.lists(answers, max_size=12))
async def test_answers_packet_by_packet_are_what_they_are_byte_by_byte(
    given_: list[bytes],
) -> None:
    heard = []
    for width in (10_000, 1):
        line = Line(Outbox(asyncio.get_running_loop()))
        line.connection_made(_Wire())  # type: ignore[arg-type]
        for answer in given_:
            asked, sink = _Asked(), Whole()
            line.carry(asked, b"asked", sink)
            for at in range(0, len(answer), width):
                line.data_received(answer[at : at + width])
            assert asked.over == 1
            heard.append(sink.answer)
    assert heard[: len(given_)] == heard[len(given_) :]


async def test_an_answer_beyond_its_bounds_is_none_though_its_head_is_known() -> None:
    line = Line(Outbox(asyncio.get_running_loop()))
    line.connection_made(_Wire())  # type: ignore[arg-type]
    for size, why in ((50, ""), (51, "the answer has more than 50 bytes")):
        asked = _Asked()
        line.carry(asked, b"asked", Whole(bytes_max=50))
        line.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        assert (asked.over, asked.why) == (not why, why)


def known(body_bytes: int, bytes_max: int = ANSWER_BYTES_MAX) -> Heads:
    heads = Heads(bytes_max)
    named = [(b"host", b"x"), (b"Content-Length", b"%d" % body_bytes), (b"x-own", b"1")]
    heads.learn(HEAD % body_bytes + b"x" * body_bytes, named, body_bytes, "what it was")
    return heads


@given(first=st.integers(0, 2_000), then=st.lists(st.integers(0, 2_000), max_size=5))
def test_a_head_is_known_again_whatever_its_length_says(first: int, then: list[int]) -> None:
    heads = known(first)
    for length in (first, *then):
        packet = HEAD % length + b"x" * length
        assert heads.again(packet)
        assert packet[heads.body_at :] == b"x" * length
        assert heads.headers == [
            (b"host", b"x"),
            (b"Content-Length", b"%d" % length),
            (b"x-own", b"1"),
        ]
        assert heads.what == "what it was"


@given(
    first=st.integers(0, 200),
    length=st.integers(0, 200),
    at=st.integers(0, len(HEAD)),
    instead=st.binary(max_size=2),
)
def test_nothing_else_is_known(first: int, length: int, at: int, instead: bytes) -> None:
    packet = HEAD % length + b"x" * length
    changed = packet[:at] + instead + packet[at + 1 :]
    assume(changed != packet)
    head, _, body = changed.partition(b"\r\n\r\n")
    assume(head + b"\r\n\r\n" != HEAD % len(body))  # else it is another of the same
    assert not known(first).again(changed)
    assert not known(first).again(packet[:-1])
    assert not known(first).again(packet + b"G")


def test_a_longer_body_than_may_be_is_left_to_the_parser() -> None:
    heads = known(3, bytes_max=10)
    assert heads.again(HEAD % 10 + b"x" * 10)
    assert not heads.again(HEAD % 11 + b"x" * 11)


def test_a_message_without_a_length_of_its_own_is_not_known_by_another() -> None:
    heads = known(3)
    packet = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    heads.learn(packet, [(b"host", b"x")], 0, "another")
    assert (heads.again(packet), heads.what) == (True, "another")
    assert not heads.again(HEAD % 3 + b"xxx")
    heads.learn(b"in pieces\r\n\r\n", [(b"Transfer-Encoding", b"chunked")], 0, "pieces")
    assert not heads.again(b"in pieces\r\n\r\n")
    unmodified = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n"
    heads.learn(unmodified, [(b"content-length", b"3")], 0, "has no body")
    assert not heads.again(unmodified)


def test_heads_that_are_never_the_same_are_kept_no_more() -> None:
    heads = Heads(100)

    def one(number: int) -> bytes:
        packet = b"GET /%d HTTP/1.1\r\n\r\n" % number
        if not heads.again(packet):
            heads.learn(packet, [], 0, number)
        return packet

    for number in range(10 * TRIES):
        assert heads.again(one(number))  # each is known again, and that gives it more tries
    for number in range(1_000, 1_000 + TRIES):
        one(number)
    assert not heads.again(one(2_000))
