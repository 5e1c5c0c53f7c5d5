"""Streams cut anywhere give the same pieces; what is no stream is one; nothing is dropped."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.sdk.errors import ServerFailed
from mercato.sdk.pieces import Pieces

EVENTS = "text/event-stream; charset=utf-8"
LINES = "application/x-ndjson"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(
    kind: str, content: bytes, *, cuts: list[int] | None = None, framed: bool = True
) -> object:
    """The pieces of an answer that comes in parts."""
    pieces = Pieces(kind, framed=framed)
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts or []), len(content)]
    made = []
    for begin, end in itertools.pairwise(places):
        made += pieces.feed(content[begin:end])
    return made + pieces.end()


@given(
    st.lists(VALUES, max_size=6),
    st.lists(st.integers(0, 10_000), max_size=6),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_a_stream_has_the_same_pieces_wherever_it_is_cut(
    values: list[object], cuts: list[int], end: bytes
) -> None:
    told = [msgspec.json.encode(value) for value in values]
    events = b"".join(b"event: x%sdata: %s%s%s" % (end, one, end, end) for one in told)
    assert read(EVENTS, events + b"data: [DONE]" + end + end, cuts=cuts, framed=False) == values
    assert read(LINES, b"".join(one + end for one in told), cuts=cuts, framed=False) == values


@pytest.mark.parametrize(
    ("kind", "content", "pieces"),
    [
        ("application/json", b'{\n  "text": "hello",\n  "n": 1\n}', [{"text": "hello", "n": 1}]),
        ("application/json", b'{"a":1}', [{"a": 1}]),
        ("", b'{"a":1}', [{"a": 1}]),
        ("text/plain", b"hello\nworld\n", ["hello\nworld\n"]),
        ("text/plain", "h\xe9".encode("latin-1"), ["h\ufffd"]),
        ("image/png", b"\x89PNG\r\n\x1a\n", [b"\x89PNG\r\n\x1a\n"]),
        ("", b"", []),
        # What needs no line or event after it, as the transport knows where the answer ends.
        (EVENTS, b'data: {"a":1}\n\n: bye', [{"a": 1}]),
        (EVENTS, b"data: x\n\nevent: end", ["x"]),
        (EVENTS, b": keepalive", []),
        (EVENTS, b"data: hello", ["hello"]),
        (LINES, b'{"n":1}\nlast', [{"n": 1}, "last"]),
        # Streams under another name, or none.
        ("", b': ping\ndata: {"n":1}\n\n', [{"n": 1}]),
        ("text/plain", b"event: x\ndata: y\n\n", ["y"]),
        ("", b'data: {"n":1}\n\ndata: 2\n', [{"n": 1}, 2]),
        ("text/plain", b'{"n":1}\n{"n":2}', [{"n": 1}, {"n": 2}]),
        # Text in a stream.
        (EVENTS, b"data: hello world\n\ndata: NaN\n\n", ["hello world", "NaN"]),
        (EVENTS, b'data:  and\n\ndata: {"x":1}\n\ndata: bye\n\n', [" and", {"x": 1}, "bye"]),
        (EVENTS, b"data: two\ndata:\ndata: lines\n\n", ["two\n\nlines"]),
        (EVENTS, b'data: {\ndata: "x": 1}\n\n', [{"x": 1}]),
        (LINES, b"hello\n2\n", ["hello", 2]),
        # What carries nothing.
        (EVENTS, b": still here\n\nevent: x\nid: 7\nretry: 5\ndata:\n\ndata: [DONE]\n\n", []),
        (EVENTS, b"data: 1\n\ndata: [DONE]", [1]),
        # A character that some take for the end of a line is none.
        (EVENTS, 'data: "a\u2028b"\n\n'.encode(), ["a\u2028b"]),
    ],
)
def test_nothing_of_an_answer_is_dropped(kind: str, content: bytes, pieces: list[object]) -> None:
    assert read(kind, content) == pieces
    assert read(kind, content, cuts=list(range(len(content)))) == pieces


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (EVENTS, b'data: {"i":1}\n\ndata: {"i'),
        (EVENTS, b"data: hello\n\nda"),
        (EVENTS, b"data: hello"),
        (EVENTS, b"data: hello\n"),
        (EVENTS, b"data: 12"),
        (LINES, b'{"i":1}\n{"i'),
        (LINES, b"1\n12"),
    ],
)
def test_an_answer_that_breaks_off_is_no_success(kind: str, content: bytes) -> None:
    with pytest.raises(ServerFailed, match="broke off"):
        read(kind, content, framed=False)


@pytest.mark.parametrize("content", [b'data: {"i":1}\n\ndata: {"i', b"data: a\nda"])
def test_a_piece_that_is_not_whole_is_none_even_where_the_transport_says_so(content: bytes) -> None:
    with pytest.raises(ServerFailed, match="broke off"):
        read(EVENTS, content)


def test_an_end_that_the_transport_knows_needs_no_line_after_it() -> None:
    assert read(LINES, b"1\n12") == [1, 12]
    assert read(EVENTS, b"data: 12") == [12]
    assert read(EVENTS, b"data: hello\n") == ["hello"]
    assert read(LINES, b'{"i":1}\n{"i":2}', framed=False) == [{"i": 1}, {"i": 2}]
