"""What the market would not do: how long to let it be, and whether that was told already."""

from typing import Final

import msgspec

FORGOTTEN_S: Final = 3_600.0
"""What was not refused for this long is news when it is."""


class _Refusal(msgspec.Struct, frozen=True):
    why: str
    at_s: float
    pause_s: float


class Refusals:
    """What was refused lately, by a name for each thing; tried again after pauses that double."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], _Refusal] = {}

    def waits(self, what: tuple[str, int], now_s: float) -> bool:
        """Whether it was refused so lately that it is not to be tried yet."""
        known = self._known.get(what)
        return known is not None and now_s - known.at_s < known.pause_s

    def note(
        self, what: tuple[str, int], why: str, now_s: float, first_s: float, longest_s: float
    ) -> bool:
        """It was refused: let it be for `first_s`, then for longer; whether the reason is news."""
        before = self._known.get(what)
        pause_s = first_s if before is None else min(2 * before.pause_s, longest_s)
        self._known[what] = _Refusal(why, now_s, pause_s)
        return before is None or before.why != why

    def is_over(self, what: tuple[str, int]) -> None:
        """It was done."""
        self._known.pop(what, None)

    def forget(self, now_s: float) -> None:
        """Forget what was not refused for long."""
        for what, known in tuple(self._known.items()):
            if now_s - known.at_s > FORGOTTEN_S:
                del self._known[what]
