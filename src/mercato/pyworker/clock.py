"""The only place in the worker that reads the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_s(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def steady_s(self) -> float:
        """Seconds that never go back, from no particular moment."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time_ns() / 1e9

    def steady_s(self) -> float:
        """Seconds that never go back, from no particular moment."""
        return time.monotonic()
