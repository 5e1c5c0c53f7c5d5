"""What GPUs cost and how long bids last: figures from the market's own books. Pure."""

import math
from collections.abc import Iterable, Sequence

import msgspec


class Weighted(msgspec.Struct, frozen=True):
    """A price and how many GPUs have it."""

    price: int
    """Nano-dollars for one GPU and hour."""
    gpus: int


def quantile(weighted: Iterable[Weighted], share: float) -> int | None:
    """The price at or below which `share` of the GPUs are; None when there are none."""
    ranked = sorted((one for one in weighted if one.gpus > 0), key=lambda one: one.price)
    total = sum(one.gpus for one in ranked)
    passed = 0
    for one in ranked:
        passed += one.gpus
        if passed >= share * total:
            return one.price
    return ranked[-1].price if ranked else None


def depth(weighted: Iterable[Weighted]) -> list[Weighted]:
    """How many GPUs can be had at or below each price, cheapest first."""
    found: list[Weighted] = []
    total = 0
    for one in sorted(weighted, key=lambda one: one.price):
        if one.gpus <= 0:
            continue
        total += one.gpus
        if found and found[-1].price == one.price:
            found.pop()
        found.append(Weighted(one.price, total))
    return found


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """One span in which a bid held its GPUs."""

    price: int
    """Nano-dollars for one GPU and hour."""
    lasted_ms: int
    displaced: bool
    """Whether somebody stronger ended it; else its renter did, or it goes on."""


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """How likely a bid holds its GPUs for so long."""

    probability: float | None
    """None when no spell says anything about it."""
    low: float | None
    """A bound that the truth is above with 95 %."""
    spells: int
    """How many spells were counted."""


NEAR = 0.2
"""Spells at prices within this share of a bid are of its like."""
ENOUGH = 10
"""With fewer spells of its like, all that paid no more are counted: they lasted no longer."""
_Z95 = 1.959963984540054


def survival(spells: Sequence[Spell], price: int, for_ms: int) -> Survival:
    """The chance that a bid at `price` holds its GPUs for `for_ms`, from spells of its like.

    The product-limit estimate of Kaplan and Meier (1958): what was not displaced counts for as long
    as it was seen. The bound is Greenwood's, on the log-log scale, so that it stays within 0 and 1.
    """
    like = [one for one in spells if abs(one.price - price) <= NEAR * price]
    if len(like) < ENOUGH:
        like = [one for one in spells if one.price <= price]
    if not like:
        return Survival(probability=None, low=None, spells=0)
    alive, variance = 1.0, 0.0
    at_risk = len(like)
    ordered = sorted(like, key=lambda one: (one.lasted_ms, not one.displaced))
    for spell in ordered:
        if spell.lasted_ms > for_ms:
            break
        if spell.displaced:
            alive *= 1 - 1 / at_risk
            variance += 1 / (at_risk * (at_risk - 1)) if at_risk > 1 else math.inf
        at_risk -= 1
    known = any(spell.lasted_ms >= for_ms for spell in ordered) or alive == 0
    if not known:
        # Nobody was watched for so long: of the time beyond, the books say nothing.
        return Survival(probability=None, low=None, spells=len(like))
    return Survival(probability=alive, low=_low(alive, variance), spells=len(like))


def _low(alive: float, variance: float) -> float:
    if alive in {0.0, 1.0} or not math.isfinite(variance):
        return 0.0 if alive < 1 else 1.0
    spread = _Z95 * math.sqrt(variance) / abs(math.log(alive))
    return float(alive ** math.exp(spread))
