"""A loop: told nothing, it looks at all of its concern, puts it right, and reports counts."""

from collections.abc import Callable
from dataclasses import dataclass, field

Report = dict[str, int]
"""What a run changed: `{"stopped": 1}`. A second run in a row reports zeros."""


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
