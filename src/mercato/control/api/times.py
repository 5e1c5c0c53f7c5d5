"""Times as the API shows them: seconds since the epoch, UTC."""

from datetime import UTC, datetime
from typing import overload


@overload
def seconds(time_ms: int) -> float: ...
@overload
def seconds(time_ms: None) -> None: ...
def seconds(time_ms: int | None) -> float | None:
    """Milliseconds as seconds; None stays None."""
    return None if time_ms is None else time_ms / 1_000


def clock(time_ms: int) -> str:
    """A moment for a person: `2026-01-31 12:00:05 UTC`."""
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
