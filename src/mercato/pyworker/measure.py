"""What a worker is doing and has done.

Load is the sum over the set of requests that are here, so that it is exactly 0 when none is: no
path through the code can leave a count behind.
"""

import asyncio
from enum import StrEnum
from typing import Final

import msgspec

from mercato.pyworker.clock import Clock
from mercato.wire.worker import UNITS_MAX, Finished

FINISHED_MAX: Final = 100_000
"""Reports of finished requests kept for an engine that cannot be reached; older ones go."""


class Outcome(StrEnum):
    """How a request ended, in the words of the reports."""

    SUCCESS = "Success"
    ERROR = "Error"
    CANCELLED = "Cancelled"
    """Its client hung up."""
    REJECTED = "Rejected"


# Python 3.11 calls a function to look a member up on its class; these are asked for at every end.
_SUCCESS: Final = Outcome.SUCCESS
_CANCELLED: Final = Outcome.CANCELLED

_WORDS: Final = {
    # The words of the official worker: a client that left was served.
    outcome: (outcome in {Outcome.SUCCESS, Outcome.CANCELLED}, outcome.value)
    for outcome in Outcome
}


def counted(cost: float) -> float:
    """A cost that somebody has named, as the units that it counts as: from 0 to `UNITS_MAX`."""
    return min(max(float(cost), 0.0), UNITS_MAX)


class Work(msgspec.Struct):
    """One request, or one open session, while it is here. Times are by the worker's clock."""

    request_idx: int
    units: float
    entered_s: float
    started_s: float = 0.0
    """When its turn at the model came; 0 before it did."""
    in_session: bool = False
    """A request of a session: the engine knows the session, not its requests."""


class Since:
    """Units since the last report that arrived."""

    __slots__ = ("cancelled", "received", "rejected", "served")

    def __init__(self) -> None:
        self.received = 0.0
        self.cancelled = 0.0
        self.rejected = 0.0
        self.served = 0.0

    def less(self, told: "Since") -> "Since":
        """What is left to tell once `told` has arrived."""
        rest = Since()
        for name in Since.__slots__:
            setattr(rest, name, getattr(self, name) - getattr(told, name))
        return rest

    def copy(self) -> "Since":
        """The same figures, to be told while these go on."""
        return self.less(Since())


class Measure:
    """The requests that are here, and what is left to report of those that were."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._here: dict[int, Work] = {}
        self._sessions: set[int] = set()
        """Which of these are sessions."""
        self._most = 0.0
        """No request that is here has more units."""
        self._last = 0
        self.since = Since()
        self.finished: list[Finished] = []
        """Requests whose end was not told yet, in the order in which they ended."""
        self.ended = 0
        """Requests that were ever in `finished`."""
        self.received = 0
        """Requests since the start."""
        self.news = asyncio.Event()
        """Set while there is something new to report."""

    def start(
        self, request_idx: int, units: float, *, session: bool = False, waits: bool = True
    ) -> int:
        """A request has been let in, or a session opened; its number here, for `end`.

        A request that does not wait for its turn at the model has begun by this.
        """
        now_s = self._clock.now_s()
        started_s = 0.0 if waits and not session else now_s
        number = self._arrive(Work(request_idx, units, now_s, started_s))
        if session:
            self._sessions.add(number)
        return number

    def start_in_session(self, units: float, *, waits: bool = True) -> int:
        """As `start`, for a request of an open session."""
        now_s = self._clock.now_s()
        return self._arrive(Work(0, units, now_s, 0.0 if waits else now_s, in_session=True))

    def _arrive(self, work: Work) -> int:
        units = work.units
        self._most = max(units, self._most) if len(self._here) > len(self._sessions) else units
        self._last = number = self._last + 1
        self._here[number] = work
        self.since.received += units
        self.received += 1
        self.news.set()
        return number

    def begin(self, number: int) -> None:
        """Its turn at the model has come."""
        self._here[number].started_s = self._clock.now_s()

    def end(self, number: int, outcome: Outcome) -> None:
        """It is no longer here, and this is how it went."""
        work = self._here.pop(number)
        self._sessions.discard(number)
        if outcome is _SUCCESS:
            self.since.served += work.units
        elif outcome is _CANCELLED:
            self.since.cancelled += work.units
        self.news.set()
        if not work.in_session:
            self._finish(work, outcome, self._clock.now_s())

    def reject(self, request_idx: int, units: float) -> None:
        """A request was not let in."""
        self.since.rejected += units
        self.received += 1
        self.news.set()
        self._finish(Work(request_idx, units, self._clock.now_s()), Outcome.REJECTED, 0.0)

    def _finish(self, work: Work, outcome: Outcome, completed_s: float) -> None:
        success, status = _WORDS[outcome]
        self.ended += 1
        self.finished.append(
            Finished(
                request_idx=work.request_idx,
                success=success,
                status=status,
                entered_queue_at=work.entered_s,
                work_started_at=work.started_s,
                work_completed_at=completed_s,
            )
        )
        if len(self.finished) > FINISHED_MAX:
            del self.finished[: FINISHED_MAX // 2]

    def told(self, ended: int) -> None:
        """The first `ended` that ever ended are known now: those left of them are dropped."""
        del self.finished[: max(0, ended - (self.ended - len(self.finished)))]

    @property
    def units_ahead(self) -> float:
        """Units of the requests that are here; sessions do no work by being open."""
        return sum(
            work.units for number, work in self._here.items() if number not in self._sessions
        )

    def exceeds(self, units: float) -> bool:
        """Whether `units_ahead` is more than that; costs little while it is far from it."""
        return self.requests * self._most > units and self.units_ahead > units

    @property
    def requests(self) -> int:
        """Requests that are here, sessions not counted."""
        return len(self._here) - len(self._sessions)

    @property
    def load(self) -> float:
        """Units that the engine knows to be here: requests of its own, and open sessions."""
        return sum(work.units for work in self._here.values() if not work.in_session)

    @property
    def request_idxs(self) -> list[int]:
        """The engine's numbers of those."""
        return [work.request_idx for work in self._here.values() if not work.in_session]
