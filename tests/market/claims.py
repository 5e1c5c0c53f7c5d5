"""Random machines with claims on their GPUs."""

import random

from mercato.market.auction import Claim
from mercato.market.contract import FIRM, Kind
from mercato.market.ids import ContractId
from mercato.market.money import NanoUsdPerHour
from mercato.market.placing import Gpus, slices

KINDS = (
    *(Kind.INTERRUPTIBLE,) * 6,
    Kind.ON_DEMAND,
    Kind.RESERVED,
    Kind.BACKGROUND,
)
NOW_MS = 1_000


def shapes(gpus: int) -> list[Gpus]:
    """Every slice of a machine."""
    sizes = {1 << power for power in range(gpus.bit_length())} | {gpus}
    return [one for size in sorted(sizes) for one in slices(gpus, size)]


def some_claims(
    luck: random.Random, gpus: int, count: int, *, prices: int = 6, uniform: bool = False
) -> list[Claim]:
    """Claims on a machine; prices are few, so that many tie, and holders never overlap."""
    claims: list[Claim] = []
    held: set[int] = set()
    for number in range(1, count + 1):
        wanted = luck.choice(shapes(gpus))
        kind = luck.choice(KINDS)
        holds = held.isdisjoint(wanted) and luck.random() < 0.6
        held.update(wanted if holds else ())
        claims.append(
            Claim(
                contract=ContractId(number),
                kind=kind,
                gpus=wanted,
                price=NanoUsdPerHour(luck.randint(1, prices) * len(wanted)),
                holds=holds,
                anywhere=luck.random() < 0.3 and kind not in FIRM,
                signed_at_ms=luck.randint(0, 3),
                safe_until_ms=NOW_MS + 1 if holds and luck.random() < 0.1 else 0,
                uniform=uniform,
            )
        )
    return claims


def units(luck: random.Random, gpus: int, count: int) -> list[Claim]:
    """Bids for one GPU each under uniform pricing, some for a given GPU and some for any."""
    claims = []
    held: set[int] = set()
    for number in range(1, count + 1):
        wanted = luck.randrange(gpus)
        holds = wanted not in held and luck.random() < 0.4
        held.update((wanted,) if holds else ())
        claims.append(
            Claim(
                contract=ContractId(number),
                kind=Kind.INTERRUPTIBLE,
                gpus=(wanted,),
                price=NanoUsdPerHour(luck.randint(3, 20)),
                floor=NanoUsdPerHour(3),
                holds=holds,
                anywhere=luck.random() < 0.6,
                signed_at_ms=luck.randint(0, 3),
                uniform=True,
            )
        )
    return claims
