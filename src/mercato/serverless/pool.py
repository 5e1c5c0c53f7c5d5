"""How many workers to keep on disk, awake or asleep: which rule would have been cheapest.

As in hindsight.py, each rule's shadow pool lives through what was really asked, for days instead
of hours: it pays for disks and for every worker that it rents, and when the need is above all that
it has, requests are late until new workers have loaded.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from mercato.serverless.hindsight import Prices
from mercato.serverless.levels import Levels
from mercato.serverless.peak import Peak

POOL_BIN_S: Final = 30
LOAD_BINS: Final = 9
"""A new worker takes this many bins until it serves."""
HALF_LIFE_S: Final = 12 * 3_600.0
HYSTERESIS: Final = 0.05
HYSTERESIS_RENTS: Final = 2
"""Another rule must have been better by this share, and by so many rentals."""
SETTLE_S: Final = 900.0
"""Nothing is counted before this long has passed: the shadows begin without workers, and the need
that they see at first was there before them."""
WINDOWS_S: Final = (900, 3_600, 10_800, 28_800, 86_400)
SHARES: Final = (0.5, 0.75, 1.0, 1.2)
SPARES: Final = (0.0, 1.0)
SOME: Final = 1e-9
"""More than nothing: one worker, whichever. As a share of an average one, so that it is seen beside
what the fleet can do."""


class PoolRule(msgspec.Struct, frozen=True, kw_only=True):
    """share x (the most wanted awake in the last w seconds) + so many spare workers."""

    window: int
    """Index of its window."""
    share: float
    spare: float


POOL_RULES: Final = tuple(
    PoolRule(window=window, share=share, spare=spare)
    for window in range(len(WINDOWS_S))
    for share in SHARES
    for spare in SPARES
)
FIRST: Final = POOL_RULES.index(PoolRule(window=2, share=0.75, spare=0.0))
"""The rule to follow before there is a past: a peak is short, and what it leaves waiting is soon
worked off, while a disk is paid for every hour."""


class Pool(msgspec.Struct, kw_only=True):
    """The shadow pools of one endpoint. Plain data, stored with it."""

    chosen: int = FIRST
    bins: int = 0
    costs: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(POOL_RULES))
    backlogs: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(POOL_RULES))
    had: list[int] = msgspec.field(default_factory=lambda: [0] * len(POOL_RULES))
    peaks: list[Peak] = msgspec.field(
        default_factory=lambda: [Peak(window_s // POOL_BIN_S) for window_s in WINDOWS_S]
    )
    lows: list[Peak] = msgspec.field(default_factory=lambda: [Peak(LOAD_BINS) for _ in WINDOWS_S])
    tops: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(WINDOWS_S))
    lost: list[float] = msgspec.field(default_factory=list)
    """Units/s that were lost in the last bins, and are not replaced yet."""
    levels: Levels = msgspec.field(default_factory=Levels)

    def __post_init__(self) -> None:
        """Refuse what another version kept, as Hindsight does. Raises ValueError."""
        if len(self.costs) != len(POOL_RULES):
            raise ValueError(f"it is of {len(self.costs)} rules and not of {len(POOL_RULES)}")

    def live(self, wanted: float, need: float, requests: int, lost: float, prices: Prices) -> None:
        """Let `POOL_BIN_S` seconds pass for every shadow pool, and choose the best rule.

        Args:
            wanted: the most that the endpoint wanted awake in these seconds, units/s.
            need: the mean need, units/s.
            requests: how many came that only a lack of workers on disk could make late.
            lost: units/s of workers that crashed, were outbid or could not be woken.
            prices: what disks, rentals and lateness cost.
        """
        self.bins += 1
        self.levels.live(max(wanted, need), POOL_BIN_S)
        self.lost.append(lost)
        del self.lost[:-LOAD_BINS]
        lows: list[float] = []
        for at, (peak, low) in enumerate(zip(self.peaks, self.lows, strict=True)):
            top = self.tops[at] = peak.push(self.bins, wanted)
            lows.append(-low.push(self.bins, -top))
        if self.bins * POOL_BIN_S <= SETTLE_S:
            self.had = [_workers(rule, self.tops[rule.window], prices) for rule in POOL_RULES]
            return
        self._pay(lows, need, requests, prices)
        best = min(range(len(POOL_RULES)), key=self.costs.__getitem__)
        ahead = self.costs[self.chosen] - self.costs[best]
        if ahead > max(HYSTERESIS * self.costs[best], HYSTERESIS_RENTS * prices.rent):
            self.chosen = best

    def _pay(self, lows: Sequence[float], need: float, requests: int, prices: Prices) -> None:
        keep, gone = 0.5 ** (POOL_BIN_S / HALF_LIFE_S), sum(self.lost)
        for at, rule in enumerate(POOL_RULES):
            have = _workers(rule, self.tops[rule.window], prices)
            loaded = _workers(rule, lows[rule.window], prices)
            capacity = max(0.0, loaded * prices.worker - gone)
            cost = self.costs[at] * keep + have * prices.asleep_s * POOL_BIN_S
            cost += prices.rent * max(0, have - self.had[at])
            self.had[at] = have
            if self.backlogs[at] > prices.aim_s * capacity or (capacity <= 0 and requests):
                cost += prices.late * requests
            self.costs[at] = cost
            self.backlogs[at] = max(0.0, self.backlogs[at] + (need - capacity) * POOL_BIN_S)

    def wanted(self, awake_wanted: float, worker: float) -> float:
        """Units/s that must be reached by all workers, when so much is wanted awake now.

        Half a worker below what the rule says, so that whole workers come to it on average; the
        last of them stays as long as anything is wanted.
        """
        rule = POOL_RULES[self.chosen]
        top = max(self.tops[rule.window], awake_wanted)
        wanted = rule.share * top + (rule.spare - 0.5) * worker
        return max(wanted, SOME * worker if top > 0 else 0.0)

    def told(self) -> str:
        """The chosen rule in words."""
        rule = POOL_RULES[self.chosen]
        hours = WINDOWS_S[rule.window] / 3_600
        return f"{rule.share:g} x peak of {hours:g} h + {rule.spare:g} workers"


def _workers(rule: PoolRule, top: float, prices: Prices) -> int:
    """How many a rule keeps when this was the most wanted awake; one while anything is wanted."""
    return max(int(rule.share * top / prices.worker + rule.spare + 0.5), 1 if top > 0 else 0)
