"""The only place in the engine that reads the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_s(self) -> float:
        """Seconds since the epoch as this run began, counted on steadily: never goes back."""
        ...

    def now_ms(self) -> int:
        """The same in whole milliseconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def __init__(self) -> None:
        self._ahead_s = time.time_ns() / 1e9 - time.monotonic()

    def now_s(self) -> float:
        """Seconds since the epoch as this run began, counted on steadily: never goes back."""
        return time.monotonic() + self._ahead_s

    def now_ms(self) -> int:
        """The same in whole milliseconds."""
        return int(self.now_s() * 1_000)
