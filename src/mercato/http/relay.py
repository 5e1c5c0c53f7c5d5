"""Answers a call with what an origin answers, as it comes."""

from mercato.http.call import HOP_BY_HOP, Call, Headers
from mercato.http.client import Line


class Relay:
    """A sink that passes an origin's answer on to a caller.

    When the caller reads more slowly than the origin writes, the origin is made to wait.
    """

    __slots__ = ("_call", "status")

    def __init__(self, call: Call) -> None:
        """`call` must not have been answered yet."""
        self._call = call
        self.status = 0
        """What the origin answered; 0 before it did."""

    def begin(self, line: Line, status: int, headers: Headers, length: int | None) -> None:
        """Pass the head on, without what belongs to the origin's connection."""
        self.status = status
        self._call.on_full = line.pause
        self._call.on_drained = line.resume
        passed = [pair for pair in headers if pair[0].lower() not in HOP_BY_HOP]
        self._call.begin(status, passed, length)

    def write(self, chunk: bytes) -> None:
        """Pass a piece on."""
        self._call.write(chunk)

    def flush(self) -> None:
        """Nothing more has come for now: let the caller have what there is."""
        self._call.flush()

    def end(self) -> None:
        """The answer is whole."""
        self._call.on_full = self._call.on_drained = None
        self._call.end()
