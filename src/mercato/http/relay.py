"""Answers a call with what an origin answers, as it comes."""

from mercato.http.call import Call, Headers
from mercato.http.line import Line, Sink


class Relay(Sink):
    """A sink that passes an origin's answer on to a caller.

    When the caller reads more slowly than the origin writes, the origin is made to wait.
    """

    __slots__ = ("call", "status")

    def __init__(self, call: Call) -> None:
        """`call` must not have been answered yet."""
        self.call = call
        self.status = 0
        """What the origin answered; 0 before it did."""

    def begin(self, line: Line, status: int, headers: Headers, length: int | None) -> None:
        """Pass the head on."""
        self.status = status
        self.call.on_full = line.pause
        self.call.on_drained = line.resume
        self.call.begin(status, headers, length)

    def write(self, chunk: bytes) -> None:
        """Pass a piece on."""
        self.call.write(chunk)

    def flush(self) -> None:
        """Nothing more has come for now: let the caller have what there is."""
        self.call.flush()

    def end(self) -> None:
        """The answer is whole."""
        self.call.on_full = self.call.on_drained = None
        self.call.end()
