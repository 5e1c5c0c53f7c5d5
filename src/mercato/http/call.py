"""One HTTP request and its answer, whatever carries them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

Headers = Sequence[tuple[bytes, bytes]]
"""Names and values as they came, in their order."""

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that belong to one connection (RFC 9110, 7.6.1), and the length, which is told anew."""


class Kept(list[tuple[bytes, bytes]]):
    """Headers that come again and again: what becomes of them is reckoned once."""

    __slots__ = ("lines",)

    lines: bytes | None
    """What `passed_on` makes of them; None before it has."""

    def __init__(self, headers: Headers, lines: bytes | None = None) -> None:
        list.__init__(self, headers)
        self.lines = lines


def passed_on(headers: Headers) -> bytes:
    """The lines of those headers that do not belong to the connection that they came over."""
    if type(headers) is Kept and headers.lines is not None:
        return headers.lines
    parts: list[bytes] = []
    for name, value in headers:
        if name.lower() not in HOP_BY_HOP:
            parts += (name, b": ", value, b"\r\n")
    lines = b"".join(parts)
    if type(headers) is Kept:
        headers.lines = lines
    return lines


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header; `name` in lower case."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


class Call(ABC):
    """A request that somebody waits for, and the way to answer it.

    Answer either at once with `answer`, or with `begin`, any number of `write`, and `end`. After
    the caller has gone all of these do nothing, so that whoever answers need not look first.
    """

    __slots__ = (
        "begun",
        "body",
        "ended",
        "gone",
        "headers",
        "method",
        "on_drained",
        "on_full",
        "on_gone",
        "path",
        "query",
    )

    def __init__(self, method: str, path: str, query: str, headers: Headers, body: bytes) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.begun = False
        """Whether the head of the answer is on its way."""
        self.ended = False
        self.gone = False
        """Whether the caller has hung up before the answer was complete."""
        self.on_gone: Callable[[], None] | None = None
        """Called once when that happens."""
        self.on_full: Callable[[], None] | None = None
        """Called when the caller reads more slowly than we write."""
        self.on_drained: Callable[[], None] | None = None
        """Called when it has caught up."""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a request's header; `name` in lower case."""
        return header(self.headers, name)

    @abstractmethod
    def answer(
        self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: Headers = ()
    ) -> None:
        """Give the whole answer."""

    @abstractmethod
    def begin(self, status: int, headers: Headers, length: int | None) -> None:
        """Give the head of an answer whose body follows; None when its length is not known.

        Headers that belong to one connection are left out: they may be another's.
        """

    @abstractmethod
    def write(self, chunk: bytes) -> None:
        """Give a piece of the body."""

    def pass_on(self, status: int, headers: Headers, body: bytes) -> None:
        """Give a whole answer that is another's: `begin`, `write` and `end` in one."""
        self.begin(status, headers, len(body))
        self.write(body)
        self.end()

    def flush(self) -> None:  # noqa: B027 - most have nothing to send here
        """Nothing more comes for now: what was given and not sent yet goes out.

        Heads wait for the piece after them, so that both go out as one; call this after `begin`
        where that piece may take a while.
        """

    @abstractmethod
    def end(self) -> None:
        """The body is complete."""

    @abstractmethod
    def abort(self) -> None:
        """Break off, so that the caller sees that the answer is not whole."""
