"""How much was asked of an endpoint, second by second: what a replay under other parameters plays.

Whole minutes are handed to the market to keep; the one that runs is in memory.
"""

from typing import Final

from mercato.wire.fleet import Minute, Second

MINUTE_S: Final = 60
MINUTES_MAX: Final = 1_440
"""Kept while the market cannot be reached: a day; the oldest are given up first."""


class Traffic:
    """One endpoint's arrivals that are not kept elsewhere yet."""

    def __init__(self) -> None:
        self._minutes: dict[int, dict[int, tuple[int, float]]] = {}

    def arrive(self, now_s: float, units: float) -> None:
        """A new request has come."""
        minute, second = divmod(int(now_s), MINUTE_S)
        seconds = self._minutes.get(minute)
        if seconds is None:
            seconds = self._minutes[minute] = {}
            if len(self._minutes) > MINUTES_MAX:
                del self._minutes[min(self._minutes)]
        requests, before = seconds.get(second, (0, 0.0))
        seconds[second] = (requests + 1, before + units)

    def ended(self, now_s: float) -> list[Minute]:
        """The minutes that are over and were not forgotten, oldest first."""
        running = int(now_s) // MINUTE_S
        return [
            Minute(
                at_s=minute * MINUTE_S,
                seconds=[
                    Second(second=second, requests=requests, units=units)
                    for second, (requests, units) in sorted(self._minutes[minute].items())
                ],
            )
            for minute in sorted(self._minutes)
            if minute < running
        ]

    def forget(self, minutes: list[Minute]) -> None:
        """These are kept elsewhere now."""
        for one in minutes:
            self._minutes.pop(one.at_s // MINUTE_S, None)
