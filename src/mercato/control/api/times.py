"""Times as the API shows them: seconds since the epoch, UTC."""

from typing import overload


@overload
def seconds(time_ms: int) -> float: ...
@overload
def seconds(time_ms: None) -> None: ...
def seconds(time_ms: int | None) -> float | None:
    """Milliseconds as seconds; None stays None."""
    return None if time_ms is None else time_ms / 1_000
