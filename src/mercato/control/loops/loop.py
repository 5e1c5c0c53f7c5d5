"""A loop: told nothing, it looks at all of its concern, puts it right, and reports counts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from mercato.control.db import AWAY

T = TypeVar("T")

Report = dict[str, int]
"""What a run changed: `{"stopped": 1}`. A second run in a row reports zeros. `failed` counts what
could not be looked at; it is missing when everything could."""

_log = structlog.get_logger("mercato.loops")


@dataclass(slots=True)
class Status:
    """How a loop fares."""

    runs: int = 0
    failures: int = 0
    began_at_ms: int | None = None
    """When the last run began."""
    took_ms: int | None = None
    report: Report = field(default_factory=dict)
    """Of the last run that did not fail."""
    failure: str | None = None
    """Why the last run failed; None when it did not."""
    next_at_ms: int | None = None


@dataclass(slots=True)
class Loop:
    """One concern and what is done about it."""

    name: str
    purpose: str
    """For the operator: what would go wrong if it did not run."""
    period_s: float
    activate: Callable[[int], Report]
    """Runs once, given the time in milliseconds, in a worker thread."""
    status: Status = field(default_factory=Status)


def summed(reports: Iterable[Report]) -> Report:
    """Reports of several runs as one."""
    total: Report = {}
    for report in reports:
        for name, count in report.items():
            total[name] = total.get(name, 0) + count
    return total


class Each:
    """A loop's step, done for one thing after the other: one that fails keeps none waiting."""

    def __init__(self, loop: str) -> None:
        """Log as the loop of this name."""
        self._loop = loop
        self._failing: dict[object, str] = {}

    def __call__(self, things: Iterable[T], step: Callable[[T], Report]) -> Report:
        """What the step came to for all of them; the next run tries again what failed.

        What fails is logged when it begins to, and when it fails otherwise than before.

        Raises:
            psycopg.Error, PoolTimeout: when the database is away: nothing else can be done either.
        """
        reports: list[Report] = []
        failing: dict[object, str] = {}
        for thing in things:
            try:
                reports.append(step(thing))
            except AWAY:
                raise
            except Exception as problem:  # noqa: BLE001 - one account's trouble is not another's
                reports.append({"failed": 1})
                text, _, _ = str(problem).partition("\n")  # what follows tells of one try
                failing[thing] = f"{type(problem).__name__}: {text}"
                if self._failing.get(thing) != failing[thing]:
                    _log.error(
                        "loop_step_failed",
                        loop=self._loop,
                        of=str(thing),
                        failure=failing[thing],
                        exc_info=True,
                    )
        self._failing = failing
        return summed(reports)
