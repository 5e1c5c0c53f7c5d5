"""What each of many rules for staying awake would have cost on the endpoint's own past.

A rule says how much capacity to have awake: alpha x (the highest smoothed need of the last w
seconds) + beta x (one average worker), and more when requests wait. The patient rules have nothing
awake ahead of time, or one worker, and take long to work off what waits: cheapest where a batch
comes at one moment and would be late whatever is woken for it. Every few seconds each rule's shadow
fleet lives through what was really asked: it pays for what it has awake or starting, and for what a
worker put to sleep has yet to finish; its capacity comes a start later, as long as this endpoint's
starts take, and in whole workers, its backlog makes requests late. Old cost is forgotten
exponentially. The rule with the least cost is the one to follow; nothing about the shape of the
load is assumed.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from mercato.serverless.peak import Peak

BIN_S: Final = 5
START_S: Final = 35.0
"""What a start takes, before any was seen."""
START_BINS: Final = math.ceil(START_S / BIN_S)
"""The same in bins."""
ANOTHER_START: Final = 1.5
"""Starts that take so many times as long, or a part of it, are of another kind; what is less may be
a few slow machines, and the shadows' past would be of both."""
HALF_LIFE_S: Final = 3_600.0
HYSTERESIS: Final = 0.03
"""Another rule must have been better by this share to be followed instead."""
SETTLE_S: Final = 120.0
"""Nothing is counted before this long has passed: the shadows begin without workers."""
LATE_SHARE: Final = 0.7
"""A shadow's requests count as late from this share of the wait that is aimed at: a fluid waits
less than the requests that it stands for."""
CLEAR_FROM_S: Final = 4.0
CLEAR_S: Final = 30.0
"""A backlog of more than `CLEAR_FROM_S` seconds of capacity is to be worked off in `CLEAR_S`."""
PATIENT_BETAS: Final = (0.0, 1.0)
"""Workers that the patient rules have awake ahead of time."""
PATIENT_S: Final = (100.0, 300.0)
"""In which the patient rules work it off: before a caller gives up, which many do after ten
minutes."""

WINDOWS_S: Final = (10, 30, 60, 120, 300, 900)
ALPHAS: Final = (0.7, 0.85, 1.0, 1.15, 1.3)
BETAS: Final = (0.0, 0.5, 1.0)
SMOOTHINGS: Final = 2
"""The need smoothed over a short and over a long time (load.py)."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One way to say how much to have awake."""

    smoothing: int
    window: int
    """Index of its window."""
    alpha: float
    beta: float
    clear_s: float = CLEAR_S
    """Seconds in which a backlog is to be worked off."""

    @property
    def patient(self) -> bool:
        """Whether it lets requests wait rather than wake many for a short while."""
        return self.clear_s > CLEAR_S

    @property
    def place(self) -> int:
        """Where the peaks of its smoothing and window stand."""
        return self.smoothing * len(WINDOWS_S) + self.window


RULES: Final = (
    *(
        Rule(smoothing=smoothing, window=window, alpha=alpha, beta=beta)
        for smoothing in range(SMOOTHINGS)
        for window in range(len(WINDOWS_S))
        for alpha in ALPHAS
        for beta in BETAS
    ),
    *(
        Rule(smoothing=0, window=0, alpha=0.0, beta=beta, clear_s=clear_s)
        for beta in PATIENT_BETAS
        for clear_s in PATIENT_S
    ),
)
FIRST: Final = RULES.index(Rule(smoothing=1, window=3, alpha=1.0, beta=0.5))
"""The rule to follow before there is a past."""
TIE: Final = 1e-6
"""In workers. Half a worker is none: `Hindsight.wanted` needs nobody for it, so nobody is paid."""
_TABLE: Final = tuple(
    (rule.place, rule.alpha, rule.beta + 0.5 - TIE, rule.clear_s) for rule in RULES
)
"""The same with half a worker more, so that cutting off rounds."""


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """What the shadow fleets pay, in nano-dollars."""

    awake_s: float
    """One unit/s of capacity awake for a second."""
    asleep_s: float
    """One worker's disk for a second."""
    rent: float
    """One more worker: download, loading, measuring."""
    late: float
    """One request that waits longer than the endpoint aims at."""
    worker: float
    """Units/s of one average worker: capacity comes in these."""
    aim_s: float
    """A request that waits longer is late."""
    request_s: float
    """How long a request takes: about as long, a worker put to sleep is paid for in vain."""
    start_s: float
    """How long a worker takes to wake."""


class Hindsight(msgspec.Struct, kw_only=True):
    """The shadow fleets of one endpoint. Plain data, stored with it."""

    chosen: int = FIRST
    bins: int = 0
    start_bins: int = START_BINS
    """A start takes this many bins."""
    costs: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(RULES))
    backlogs: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(RULES))
    extras: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(RULES))
    """Workers awake against the backlog."""
    had: list[int] = msgspec.field(default_factory=lambda: [0] * len(RULES))
    """Workers awake in the last bin."""
    peaks: list[Peak] = msgspec.field(
        default_factory=lambda: [
            Peak(max(1, window_s // BIN_S)) for _ in range(SMOOTHINGS) for window_s in WINDOWS_S
        ]
    )
    lows: list[Peak] = msgspec.field(
        default_factory=lambda: [Peak(START_BINS) for _ in range(SMOOTHINGS * len(WINDOWS_S))]
    )
    """Of the peaks, negated: what was wanted all along since a start ago is there now."""
    tops: list[float] = msgspec.field(default_factory=lambda: [0.0] * (SMOOTHINGS * len(WINDOWS_S)))
    """The peaks as of the last bin."""

    def __post_init__(self) -> None:
        """Refuse what another version kept, whose rules were others.

        Raises:
            ValueError: when it is not of as many rules.
        """
        if len(self.costs) != len(RULES):
            raise ValueError(f"it is of {len(self.costs)} rules and not of {len(RULES)}")

    def live(self, needs: Sequence[float], need: float, requests: int, prices: Prices) -> int:
        """Let `BIN_S` seconds pass for every shadow fleet, and choose the best rule.

        Returns how many of the requests the rule chosen before would not have made late.

        Args:
            needs: the highest smoothed needs in these seconds, units/s, one per smoothing.
            need: the mean need, units/s: what really had to be done.
            requests: how many came.
            prices: what capacity and lateness cost.
        """
        self.bins += 1
        start_bins = prices.start_s / BIN_S
        if not 1 / ANOTHER_START < start_bins / self.start_bins < ANOTHER_START:
            self.start_bins = max(1, math.ceil(start_bins))
        lows: list[float] = []
        for at, (peak, low) in enumerate(zip(self.peaks, self.lows, strict=True)):
            low.bins = self.start_bins
            top = self.tops[at] = peak.push(self.bins, needs[at // len(WINDOWS_S)])
            lows.append(-low.push(self.bins, -top) / prices.worker)
        if self.bins * BIN_S < SETTLE_S:
            return requests
        late = self._pay(lows, need * BIN_S, requests, prices)
        best = min(range(len(RULES)), key=self.costs.__getitem__)
        if self.costs[best] < self.costs[self.chosen] * (1 - HYSTERESIS):
            self.chosen = best
        return 0 if late else requests

    def _pay(self, lows: list[float], arrived: float, requests: int, prices: Prices) -> bool:
        """Charge every rule for a bin; whether those who came in it are late under the chosen."""
        chosen_late = False
        worker, keep = prices.worker, 0.5 ** (BIN_S / HALF_LIFE_S)
        worker_bin, late = prices.awake_s * worker * BIN_S, prices.late * requests
        tops = [top / worker for top in self.tops]
        late_s, rise = prices.aim_s * LATE_SHARE, 1 / self.start_bins
        drain = prices.awake_s * worker * prices.request_s
        costs, backlogs, extras, had = self.costs, self.backlogs, self.extras, self.had
        for at, (place, alpha, beta, clear_s) in enumerate(_TABLE):
            extra, backlog = extras[at], backlogs[at]
            capacity = int(alpha * lows[place] + beta + extra) * worker
            cost, more = costs[at] * keep, 0.0
            if backlog > late_s * capacity or capacity <= 0.0:
                cost += late
                chosen_late = chosen_late or at == self.chosen
            if backlog > 0.0:
                more = max(0.0, (backlog - CLEAR_FROM_S * capacity) / (clear_s * worker))
            extras[at] = extra + (more - extra) * rise if more > extra else more
            have = int(alpha * tops[place] + beta + more)
            if have < had[at]:
                cost += drain * (had[at] - have)
            had[at] = have
            costs[at] = cost + have * worker_bin
            backlogs[at] = max(0.0, backlog + arrived - capacity * BIN_S)
        return chosen_late

    def wanted(self, needs: Sequence[float], worker: float) -> float:
        """Units/s that must be reached by workers awake, given the smoothed needs of now.

        Half a worker below what the rule says, so that whole workers come to it on average.
        """
        rule = self.rule
        top = max(self.tops[rule.place], needs[rule.smoothing])
        return rule.alpha * top + (rule.beta - 0.5) * worker

    @property
    def rule(self) -> Rule:
        """The chosen rule."""
        return RULES[self.chosen]

    def told(self) -> str:
        """The chosen rule in words."""
        rule = self.rule
        if rule.patient:
            ahead = "one worker" if rule.beta else "nobody"
            return f"{ahead} ahead of time, what waits is worked off in {rule.clear_s:g} s"
        smoothed = "calm" if rule.smoothing else "quick"
        window_s = WINDOWS_S[rule.window]
        return f"{rule.alpha:g} x {smoothed} peak of {window_s} s + {rule.beta:g} workers"
