"""The best placing of claims, found by trying everything: slow, plain, and knowing no tree.

`best` tries every way of placing every claim and compares them rule by rule. `best_weights` does
the same for thousands of machines at once: for each claim and each set of GPUs left, place it in
each possible way or not at all. It compares by one number with a field for each rule, wide enough
for the small prices of claims.py.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mercato.market.auction import Claim
from mercato.market.contract import FIRM, Kind
from mercato.market.placing import Gpus, slices
from tests.market.claims import NOW_MS, shapes

Placing = Mapping[int, Gpus]


def places(gpus: int, claim: Claim) -> list[Gpus]:
    """Everywhere a claim can be met."""
    if claim.anywhere and not claim.holds:
        return list(slices(gpus, len(claim.gpus)))
    return [claim.gpus]


def rank(claims: Sequence[Claim], met: Mapping[int, object]) -> tuple[object, ...]:
    """What the rules compare, in their order; the greatest is the best."""
    by_age = sorted(range(len(claims)), key=lambda at: (claims[at].signed_at_ms, at))
    firm = sorted(by_age, key=lambda at: not claims[at].holds)
    found: list[object] = [tuple(at in met for at in firm if claims[at].kind in FIRM)]
    for tier in (_safe, _bids, _background):
        mine = [at for at in by_age if tier(claims[at])]
        found += [
            sum(claims[at].price for at in mine if at in met),
            sum(len(claims[at].gpus) for at in mine if at in met and claims[at].holds),
            tuple(at in met for at in mine),
        ]
    return tuple(found)


def best(gpus: int, claims: Sequence[Claim]) -> frozenset[int]:
    """The claims that are met in the best placing, which is one only."""
    return max(
        (frozenset(met) for met in _all_placings(gpus, claims, 0, frozenset(range(gpus)))),
        key=lambda met: rank(claims, dict.fromkeys(met)),
    )


def _all_placings(
    gpus: int, claims: Sequence[Claim], at: int, free: frozenset[int]
) -> Iterator[tuple[int, ...]]:
    if at == len(claims):
        yield ()
        return
    yield from _all_placings(gpus, claims, at + 1, free)
    for place in places(gpus, claims[at]):
        if free.issuperset(place):
            for rest in _all_placings(gpus, claims, at + 1, free.difference(place)):
                yield (at, *rest)


def _safe(claim: Claim) -> bool:
    return claim.kind is Kind.INTERRUPTIBLE and claim.holds and claim.safe_until_ms > NOW_MS


def _bids(claim: Claim) -> bool:
    return claim.kind is Kind.INTERRUPTIBLE and not _safe(claim)


def _background(claim: Claim) -> bool:
    return claim.kind is Kind.BACKGROUND


PRICE_BITS, HELD_BITS = 10, 4


def weights(claims: Sequence[Claim]) -> list[int]:
    """One number a claim; the sum over those met has a field for each entry of `rank`."""
    by_age = sorted(range(len(claims)), key=lambda at: (claims[at].signed_at_ms, at))
    found = [0] * len(claims)
    shift = 0
    for tier in (_background, _bids, _safe):
        mine = [at for at in by_age if tier(claims[at])]
        for newness, at in enumerate(reversed(mine)):
            held = len(claims[at].gpus) if claims[at].holds else 0
            above = (claims[at].price << HELD_BITS) + held
            found[at] = ((above << len(mine)) + (1 << newness)) << shift
        shift += len(mine) + HELD_BITS + PRICE_BITS
    firm = sorted(
        (at for at in by_age if claims[at].kind in FIRM), key=lambda a: not claims[a].holds
    )
    for newness, at in enumerate(reversed(firm)):
        found[at] = 1 << (shift + newness)
    assert sum(found) < 1 << 62
    return found


def best_weights(machines: Sequence[tuple[int, Sequence[Claim]]]) -> NDArray[np.int64]:
    """The weight of the best placing on each machine of at most 8 GPUs."""
    never = np.int64(-(1 << 62))
    every = sorted({shape for gpus in range(1, 9) for shape in shapes(gpus)})
    masks = [sum(1 << gpu for gpu in shape) for shape in every]
    column = {shape: at for at, shape in enumerate(every)}
    claims_max = max(len(claims) for _, claims in machines)
    offered = np.full((claims_max, len(every), len(machines)), never)
    for row, (gpus, claims) in enumerate(machines):
        for at, (claim, weight) in enumerate(zip(claims, weights(claims), strict=True)):
            for place in places(gpus, claim):
                offered[at, column[place], row] = weight
    # By the set of GPUs that may be used: the best weight of the claims looked at so far.
    found = np.zeros((256, len(machines)), dtype=np.int64)
    sets = np.arange(256)
    for at in range(claims_max):
        before = found.copy()
        for shape_at, mask in enumerate(masks):
            holding = sets[sets & mask == mask]
            met = before[holding ^ mask] + offered[at, shape_at]
            found[holding] = np.maximum(found[holding], met)
    result: NDArray[np.int64] = found[255]
    return result
