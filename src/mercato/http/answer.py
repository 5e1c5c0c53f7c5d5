"""An answer as the bytes of HTTP/1.1 that go out on the caller's connection (server.py)."""

from functools import cache
from http import HTTPStatus
from typing import Protocol

from mercato.http.call import JSON, Call, Headers, passed_on


class Connection(Protocol):
    """What a call needs of the connection that it came over."""

    def write(self, data: bytes) -> None:
        """Put bytes on the line."""

    def answered(self, keep: bool) -> None:  # noqa: FBT001 - by its name it would cost more
        """The call at work has its whole answer; `keep` the connection for more."""

    def abort(self) -> None:
        """Break the connection off."""


@cache
def status_line(status: int) -> bytes:
    """The first line of an answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def _bodiless(status: int) -> bool:
    return status < 200 or status in {204, 304}


class WireCall(Call):
    """A call that came over a connection of this server."""

    __slots__ = ("_chunked", "_connection", "_head", "_keep", "old")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        body: bytes,
        connection: Connection,
        keep: bool,  # noqa: FBT001 - by its name it would cost more than the rest
    ) -> None:
        """`keep` the connection for more when this one is answered."""
        Call.__init__(self, method, path, query, headers, body)  # super() would cost as much again
        self._connection = connection
        self._keep = keep
        self.old = False
        """Whether it was asked by HTTP/1.0, which knows no chunks."""
        self._chunked = False
        self._head = b""

    def answer(
        self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: Headers = ()
    ) -> None:
        """As `Call.answer`: in one write."""
        extra = b"".join([b"%s: %s\r\n" % pair for pair in headers]) if headers else b""
        self._give(status, b"content-type: %s\r\n%s" % (content_type, extra), body)

    def pass_on(self, status: int, headers: Headers, body: bytes) -> None:
        """As `Call.pass_on`: in one write."""
        self._give(status, passed_on(headers), body)

    def _give(self, status: int, lines: bytes, body: bytes) -> None:
        if self.gone or self.begun:
            return
        self.begun = self.ended = True
        self._connection.write(
            b"%s%scontent-length: %d\r\n%s\r\n%s"
            % (
                status_line(status),
                lines,
                len(body),
                b"" if self._keep else b"connection: close\r\n",
                b"" if self.method == "HEAD" else body,
            )
        )
        self._connection.answered(self._keep)

    def begin(self, status: int, headers: Headers, length: int | None) -> None:
        """As `Call.begin`: the head goes out with the piece after it."""
        if self.gone or self.begun:
            return
        self.begun = True
        parts = [status_line(status), passed_on(headers)]
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
        elif not (self.old or _bodiless(status)):
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        if not self._keep:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        self._head = b"".join(parts)
        if self.method == "HEAD":  # there is no body to come, whatever it would have been
            self._chunked = False
            self.end()

    def write(self, chunk: bytes) -> None:
        """As `Call.write`."""
        if self.gone or self.ended or not chunk:
            return
        piece = b"%x\r\n%s\r\n" % (len(chunk), chunk) if self._chunked else chunk
        if self._head:
            piece, self._head = self._head + piece, b""
        self._connection.write(piece)

    def flush(self) -> None:
        """As `Call.flush`."""
        if self._head and not self.gone:
            self._connection.write(self._head)
            self._head = b""

    def end(self) -> None:
        """As `Call.end`."""
        if self.gone or self.ended:
            return
        self.ended = True
        if self._chunked or self._head:
            self._connection.write(self._head + (b"0\r\n\r\n" if self._chunked else b""))
        self._connection.answered(self._keep)

    def abort(self) -> None:
        """As `Call.abort`; what is written after it is dropped."""
        if not (self.gone or self.ended):
            self.gone = True
            self._connection.abort()
