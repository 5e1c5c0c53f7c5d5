"""The market of the benchmark: what is on offer, drawn anew for each seed.

Types, spreads and probabilities are those of the study that the baselines come from. A draw of
`gauss` and not of `normalvariate` keeps the order of its random numbers, and so its offers.
"""

import math
import random
from typing import Final

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """A type of GPU: true units/s, how wrong its published score is, $/h, offers."""

    name: str
    perf: float
    prior: float
    price: float
    offers: int


KINDS: Final = (
    Kind("RTX3090", 150.0, 1.15, 0.17, 30),
    Kind("RTX4090", 300.0, 1.00, 0.36, 40),
    Kind("RTX5090", 450.0, 0.90, 0.58, 12),
    Kind("A100", 430.0, 1.05, 0.95, 8),
    Kind("H100", 900.0, 0.90, 2.10, 6),
)
SERIAL_SLOWDOWN: Final = 15.0
"""A worker that does one request at a time does so many times fewer units a second."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong, beyond the ordinary."""

    crash_per_hour: float = 0.01
    load_failure: float = 0.03
    poisoned: float = 0.0
    degrading: float = 0.0


class Ask(msgspec.Struct, kw_only=True):
    """One offer, with the truth about it."""

    id: int
    kind: Kind
    bad: bool
    price: float
    perf: float
    load_factor: float
    fails: bool
    poisoned: bool
    degrades: bool
    prior: float
    """Units/s as a published score has it."""
    free_from_s: float = 0.0
    """Taken by somebody else until then; infinity while it is ours."""


def offers(seed: int, slots: int, faults: Faults) -> list[Ask]:
    """Every offer of one seed."""
    rng = random.Random(77 + seed)
    slowdown = SERIAL_SLOWDOWN if slots == 1 else 1.0
    asks: list[Ask] = []
    for kind in KINDS:
        for _ in range(kind.offers):
            bad = rng.random() < 0.08
            price = kind.price * math.exp(rng.gauss(0, 0.12))
            perf = kind.perf * math.exp(rng.gauss(0, 0.06)) * (0.55 if bad else 1.0)
            load = (2.5 if bad else 1.0) * math.exp(rng.gauss(0, 0.15))
            asks.append(
                Ask(
                    id=len(asks) + 1,
                    kind=kind,
                    bad=bad,
                    price=price,
                    perf=perf / slowdown,
                    load_factor=load,
                    fails=rng.random() < faults.load_failure,
                    poisoned=rng.random() < faults.poisoned,
                    degrades=rng.random() < faults.degrading,
                    prior=kind.perf * kind.prior / slowdown,
                )
            )
    return asks


def lower_bound(work: float, asks: list[Ask]) -> float:
    """Dollars for `work` units on the cheapest sound offer, never idle: nobody can reach it."""
    return work * min(ask.price / ask.perf for ask in asks if not ask.bad) / 3_600
