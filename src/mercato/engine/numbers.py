"""Numbers that rise for ever, over restarts too, and tell when they were given."""

from typing import Final

SEQUENCE_BITS: Final = 12
LARGEST: Final = 2**53
"""Numbers stay below this, so that no JSON reader rounds them."""
OLDEST_MS: Final = 24 * 3_600_000
AHEAD_MS: Final = 2_000


class Numbers:
    """Gives numbers: milliseconds since the epoch, then a sequence."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, now_ms: int) -> int:
        """The next number; above all that this engine gave before."""
        self._last = max(self._last + 1, now_ms << SEQUENCE_BITS)
        return self._last


def given_ms(number: int) -> int:
    """When a number was given."""
    return number >> SEQUENCE_BITS


def plausible(number: int, now_ms: int) -> bool:
    """Whether an engine may have given this number within the last day."""
    return 0 < number < LARGEST and now_ms - OLDEST_MS <= given_ms(number) <= now_ms + AHEAD_MS
