"""Which request is where: waiting, with a worker, or done. Exactly one of these at any time.

A request waits either in the queue, while its client is on the line, or away, between two of its
client's polls: it keeps its number and so its place. What is handed out stays in the books until
the worker says that it is done, or until it is seen that the worker does not have it.
"""

from collections import OrderedDict
from enum import Enum
from typing import Final

import msgspec

from mercato.market.ids import ContractId
from mercato.serverless.load import Waiting
from mercato.serverless.queue import Queue, Request, RequestIdx

DONE_KEPT_S: Final = 120.0
"""A client that comes back with a request of this age at most is known to have had a worker."""
DONE_MAX: Final = 200_000


class Where(Enum):
    """Where a request is."""

    UNKNOWN = "not in the books"
    WAITING = "waiting"
    ASSIGNED = "with a worker"
    DONE = "done"


class Assigned:
    """A request that a worker has, or should have."""

    __slots__ = ("adopted", "at_s", "cost", "missing_s", "request", "seen", "worker")

    def __init__(self, request: Request, worker: ContractId, at_s: float) -> None:
        self.request = request
        self.worker = worker
        self.cost = request.cost
        self.at_s = at_s
        """When it was handed out, or first seen there."""
        self.adopted = False
        """Whether we did not hand it out: the worker says that it has it."""
        self.seen = False
        """Whether the worker has reported it as working."""
        self.missing_s = 0.0
        """Since when it no longer does; 0 while it does."""


class Done:
    """A request that a worker no longer has."""

    __slots__ = ("at_s", "lost", "worker")

    def __init__(self, worker: ContractId, at_s: float, *, lost: bool) -> None:
        self.worker = worker
        self.at_s = at_s
        self.lost = lost
        """Whether it was given up rather than reported."""


class Ledger:
    """The books of one endpoint."""

    def __init__(self) -> None:
        # Who is on the line needs no poll.
        self.queue = Queue(poll_timeout_s=float("inf"))
        self.away: OrderedDict[RequestIdx, Request] = OrderedDict()
        self._away_until: dict[RequestIdx, float] = {}
        self._away_units = 0.0
        self.assigned: dict[RequestIdx, Assigned] = {}
        self.done: OrderedDict[RequestIdx, Done] = OrderedDict()
        self._at: dict[ContractId, dict[RequestIdx, Assigned]] = {}

    def where(self, idx: RequestIdx) -> Where:
        """Where a request is."""
        if idx in self.queue or idx in self.away:
            return Where.WAITING
        if idx in self.assigned:
            return Where.ASSIGNED
        return Where.DONE if idx in self.done else Where.UNKNOWN

    def wait(self, request: Request) -> None:
        """A request begins to wait, or waits again; its client is on the line."""
        assert self.where(request.idx) in {Where.UNKNOWN, Where.DONE}, request.idx
        self.done.pop(request.idx, None)
        self.queue.push(request)

    def waiter(self, idx: RequestIdx) -> Request:
        """A request that waits."""
        found = self.away.get(idx) or self.queue.get(idx)
        assert found is not None, idx
        return found

    def back(self, idx: RequestIdx, now_s: float) -> Request:
        """The client of a request that waits is on the line again."""
        away = self.away.get(idx)
        if away is None:
            found = self.queue.poll(idx, now_s)
            assert found is not None, idx
            return found
        self._forget(away)
        again = msgspec.structs.replace(away, polled_s=now_s)
        self.queue.push(again)
        return again

    def leave(self, idx: RequestIdx, now_s: float, *, keep_s: float) -> None:
        """Its client has left the line, and may come back within `keep_s`."""
        request = self.queue.cancel(idx)
        if request is not None:
            request.polled_s = now_s
            self.away[idx] = request
            self._away_units += request.cost
            self._away_until[idx] = now_s + keep_s

    def _forget(self, away: Request) -> None:
        del self.away[away.idx], self._away_until[away.idx]
        # Nothing there is exactly nothing, whatever the rounding of the sums before.
        self._away_units = max(0.0, self._away_units - away.cost) if self.away else 0.0

    def assign(self, request: Request, worker: ContractId, now_s: float) -> Assigned:
        """Hand a request out that does not wait (any more)."""
        where = self.where(request.idx)
        assert where in {Where.UNKNOWN, Where.DONE}, (request.idx, where)
        self.done.pop(request.idx, None)
        entry = self._put(Assigned(request, worker, now_s))
        self.assigned[request.idx] = entry
        return entry

    def adopt(self, request: Request, worker: ContractId, now_s: float) -> Assigned:
        """A worker turns out to have a request. It is the request's place unless it has another."""
        entry = Assigned(request, worker, now_s)
        entry.seen = entry.adopted = True
        self._put(entry)
        if self.where(request.idx) in {Where.UNKNOWN, Where.DONE}:
            self.done.pop(request.idx, None)
            self.assigned[request.idx] = entry
        return entry

    def _put(self, entry: Assigned) -> Assigned:
        here = self._at.setdefault(entry.worker, {})
        assert entry.request.idx not in here, entry.request.idx
        here[entry.request.idx] = entry
        return entry

    def end(
        self, idx: RequestIdx, worker: ContractId, now_s: float, *, lost: bool = False
    ) -> Assigned | None:
        """A worker does not have a request any more; None when it had not, as far as is known."""
        here = self._at.get(worker)
        entry = here.pop(idx, None) if here else None
        if entry is None:
            return None
        if not here:
            del self._at[worker]
        if self.assigned.get(idx) is entry:
            del self.assigned[idx]
            self.done[idx] = Done(worker, now_s, lost=lost)
            if len(self.done) > DONE_MAX:
                self.done.popitem(last=False)
        return entry

    def at(self, worker: ContractId) -> dict[RequestIdx, Assigned]:
        """What a worker has; not to be changed."""
        return self._at.get(worker, {})

    def expire(self, now_s: float) -> list[Request]:
        """Give up the waiting whose clients stopped asking or whose time is over."""
        gone = self.queue.expire(now_s)
        for request in tuple(self.away.values()):
            late = request.deadline_s is not None and request.deadline_s <= now_s
            if late or self._away_until[request.idx] <= now_s:
                self._forget(request)
                gone.append(request)
        while self.done and next(iter(self.done.values())).at_s < now_s - DONE_KEPT_S:
            self.done.popitem(last=False)
        return gone

    def waiting(self, now_s: float) -> Waiting:
        """How much waits, and how long the oldest has."""
        here = self.queue.waiting(now_s)
        oldest = next(iter(self.away.values()), None)
        away_s = now_s - oldest.arrived_s if oldest else 0.0
        return Waiting(
            requests=here.requests + len(self.away),
            units=here.units + self._away_units,
            oldest_s=max(here.oldest_s, away_s),
        )
