"""The endpoint's queue: who is next when a worker has room.

Within a caller, first come is first served, by the number that each request got when it came: that
number keeps its place across polls, and after a restart the polls alone rebuild the order. Between
callers the queue is fair by start times (start-time fair queueing, Goyal, Vin and Cheng 1996): a
caller who sends ten times as much waits, not everybody. A lower priority number goes first.
"""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import NewType

import msgspec

from mercato.serverless.load import Waiting

RequestIdx = NewType("RequestIdx", int)
"""Milliseconds of arrival, then a sequence: smaller is older."""


class Request(msgspec.Struct, kw_only=True):
    """One request that waits for a worker."""

    idx: RequestIdx
    cost: float
    arrived_s: float
    caller: int = 0
    """Whose it is; the queue is fair between callers."""
    priority: int = 0
    deadline_s: float | None = None
    """When waiting on is of no use to its caller."""
    polled_s: float = 0.0
    """When its caller last asked for it."""
    queued: bool = True
    chain: tuple[int, ...] = ()
    """The beginning of its prompt (prefix.py); empty when it has none."""


class _Line:
    """One caller's requests of one priority, oldest first, and when its turn comes."""

    __slots__ = ("heap", "pushed", "turn")

    def __init__(self, turn: float) -> None:
        # The count tells a request that came back from its former self, which may still be here.
        self.heap: list[tuple[int, int, Request]] = []
        self.pushed = 0
        self.turn = turn

    def push(self, request: Request) -> None:
        """Add a request at the place of its number."""
        self.pushed += 1
        heappush(self.heap, (request.idx, self.pushed, request))

    def head(self) -> Request | None:
        """The oldest that still waits."""
        while self.heap and not self.heap[0][2].queued:
            heappop(self.heap)
        return self.heap[0][2] if self.heap else None


class Queue:
    """All requests of one endpoint that wait for a worker."""

    def __init__(self, *, poll_timeout_s: float = 60.0) -> None:
        """A request that is not asked for during `poll_timeout_s` is given up."""
        self._poll_timeout_s = poll_timeout_s
        self._waiting: OrderedDict[RequestIdx, Request] = OrderedDict()  # by last poll
        self._lines: dict[tuple[int, int], _Line] = {}
        self._turns: list[tuple[int, float, int]] = []  # (priority, turn, caller), may be stale
        self._virtual = 0.0
        self._units = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, idx: RequestIdx) -> bool:
        return idx in self._waiting

    def get(self, idx: RequestIdx) -> Request | None:
        """The request of that number, if it waits here."""
        return self._waiting.get(idx)

    def push(self, request: Request) -> None:
        """Let a request wait; its place is by priority, then fairness, then its number.

        One that was taken out comes back as a copy: the object that left is never put in again.
        """
        assert request.idx not in self._waiting, request.idx
        request.queued = True
        request.polled_s = max(request.polled_s, request.arrived_s)
        self._waiting[request.idx] = request
        self._units += request.cost
        key = (request.priority, request.caller)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(self._virtual)
            heappush(self._turns, (request.priority, line.turn, request.caller))
        line.push(request)

    def poll(self, idx: RequestIdx, now_s: float) -> Request | None:
        """Note that its caller still wants it; None when it does not wait here."""
        request = self._waiting.get(idx)
        if request is not None:
            request.polled_s = now_s
            self._waiting.move_to_end(idx)
        return request

    def cancel(self, idx: RequestIdx) -> Request | None:
        """Take out a request whose caller gave up; None when it does not wait here."""
        request = self._waiting.pop(idx, None)
        if request is not None:
            request.queued = False
            # Nothing left is exactly nothing, whatever the rounding of the sums before.
            self._units = max(0.0, self._units - request.cost) if self._waiting else 0.0
        return request

    def peek(self) -> Request | None:
        """Who is next, without taking it out."""
        line = self._next_line()
        return line.head() if line else None

    def pop(self) -> Request | None:
        """Take out who is next; None when nobody waits."""
        line = self._next_line()
        if line is None:
            return None
        priority, _, caller = heappop(self._turns)
        _, _, request = heappop(line.heap)
        self.cancel(request.idx)
        self._virtual = max(self._virtual, line.turn)
        if line.head() is None:
            del self._lines[priority, caller]
        else:
            line.turn = self._virtual + request.cost
            heappush(self._turns, (priority, line.turn, caller))
        return request

    def expire(self, now_s: float) -> list[Request]:
        """Take out those whose callers stopped asking, and those past their deadline."""
        gone = []
        for request in self._waiting.values():
            if request.polled_s + self._poll_timeout_s > now_s:
                break
            gone.append(request)
        gone += [
            request
            for request in self._waiting.values()
            if request.deadline_s is not None
            and request.deadline_s <= now_s < request.polled_s + self._poll_timeout_s
        ]
        for request in gone:
            self.cancel(request.idx)
        return gone

    def waiting(self, now_s: float) -> Waiting:
        """How much waits, and how long its head has."""
        head = self.peek()
        return Waiting(
            requests=len(self._waiting),
            units=self._units,
            oldest_s=now_s - head.arrived_s if head else 0.0,
        )

    def _next_line(self) -> _Line | None:
        while self._turns:
            priority, turn, caller = self._turns[0]
            line = self._lines.get((priority, caller))
            if line is not None and line.turn == turn:
                if line.head() is not None:
                    return line
                del self._lines[priority, caller]
            heappop(self._turns)
        return None
