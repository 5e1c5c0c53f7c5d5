"""How much is being asked: requests as they come, and the capacity that would never let them wait.

The measure is a shadow queue with a slot for everybody: each request opens a virtual job of the
length that one slot would need for it, and the need at a moment is the speed of all slots so
taken. Unlike the workers' own load it does not saturate when they do, and it spreads a request
over the time that it takes.
"""

import math
from typing import Final

import msgspec

HORIZON_S: Final = 1_024
"""Longest virtual job; what a longer one would ask beyond is not seen coming."""
DUST: Final = 1e-6
"""A need below this share of a slot is what adding and taking away has left behind: it is none."""
QUICK_S: Final = 8
CALM_S: Final = 60
"""The need is averaged over a short and over a long time."""
SURGE_S: Final = 6
"""A surge shows in the requests of so many seconds, before any of them is done."""
SURGE_SPREADS: Final = 4.0
"""Chance alone makes a count vary by its square root; so many times that is no chance."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint's queue at one moment."""

    requests: int = 0
    units: float = 0.0
    oldest_s: float = 0.0
    """How long the request at its head has waited."""


class Load(msgspec.Struct, kw_only=True):
    """What an endpoint has been asked lately. Plain data, to be stored with the endpoint."""

    slot_perf: float = 1.0
    """Units/s of one slot of this fleet; the policy sets it, which sees the workers."""
    requests: int = 0
    units: float = 0.0
    """All that was ever asked: counters."""
    last_s: float = 0.0
    """When the last request came."""
    now_s: float = 0.0
    waiting: Waiting = Waiting()
    need: float = 0.0
    """Units/s that would let nobody wait, in the second before `now_s`."""
    quick: float = 0.0
    """The same, averaged over the last `QUICK_S` seconds."""
    calm: float = 0.0
    """The same, averaged over the last `CALM_S` seconds."""
    surge: float = 0.0
    """Units/s that have come in the last `SURGE_S` seconds if chance cannot explain it, else 0."""

    slope: list[float] = msgspec.field(default_factory=lambda: [0.0] * HORIZON_S)
    """By second, how many units/s of virtual jobs begin less how many end."""
    open: float = 0.0
    recent: list[float] = msgspec.field(default_factory=lambda: [0.0] * CALM_S)
    """The need of each of the last seconds, newest last."""
    came: list[int] = msgspec.field(default_factory=list)
    """The requests of each of the last seconds, newest last."""
    counted: int = 0
    """Those that are in `came`, or were."""

    def arrive(self, now_s: float, units: float) -> None:
        """A new request of this cost asks for a worker; polls of the same one do not count."""
        self.requests += 1
        self.units += units
        self.last_s = now_s
        perf, slope = self.slot_perf, self.slope
        end_s = now_s + min(units / perf, HORIZON_S - 2.0)
        second, end = int(now_s), int(end_s)
        part, end_part = perf * (now_s - second), perf * (end_s - end)
        at, end_at = second % HORIZON_S, end % HORIZON_S
        slope[at] += perf - part
        slope[(at + 1) % HORIZON_S] += part
        slope[end_at] -= perf - end_part
        slope[(end_at + 1) % HORIZON_S] -= end_part

    def tick(self, now_s: float, waiting: Waiting) -> None:
        """Come up to `now_s`; called about once a second, before `decide`."""
        second, last = int(now_s), int(self.now_s)
        for passed in range(max(last, second - HORIZON_S) if last else second, second):
            at = passed % HORIZON_S
            self.open += self.slope[at]
            self.slope[at] = 0.0
            self.need = self.open if self.open > DUST * self.slot_perf else 0.0
            self.recent.append(self.need)
            self.came.append(self.requests - self.counted)
            self.counted = self.requests
        del self.recent[:-CALM_S]
        del self.came[: -CALM_S - SURGE_S]
        self.quick = sum(self.recent[-QUICK_S:]) / QUICK_S
        self.calm = sum(self.recent) / CALM_S
        self.surge = self._surge()
        self.now_s = now_s
        self.waiting = waiting

    def steady(self) -> float:
        """The need without what chance alone may have added or taken, units/s.

        Requests that come by chance make the number of open jobs vary by its own square root.
        """
        chance = math.sqrt(max(self.calm, self.slot_perf) * self.slot_perf)
        change = self.quick - self.calm
        if change > 0:
            return self.calm + max(0.0, change - chance)
        return self.calm + min(0.0, change + chance)

    def _surge(self) -> float:
        if len(self.came) < CALM_S + SURGE_S:
            return 0.0
        newest = sum(self.came[CALM_S:])
        usual = sum(self.came[:CALM_S]) * SURGE_S / CALM_S
        if newest <= usual + SURGE_SPREADS * (1 + math.sqrt(usual)):
            return 0.0
        return newest / SURGE_S * self.units / self.requests
