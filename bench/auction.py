"""How long deciding anew who holds a machine's GPUs takes, with 100 claims on it.

Run as `.venv/bin/python bench/auction.py`. Beside it, in the same run, what it is compared with:
sorting the claims by price and serving them in that order, which is not exact and explains nothing.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle

from measure import Table, ms, quantile, report, times_ms
from mercato.market.auction import Claim, clear
from mercato.market.contract import Kind
from mercato.market.ids import ContractId
from mercato.market.money import NanoUsdPerHour, nano
from mercato.market.placing import Gpus, slices

CLAIMS = 100
MACHINES = 100


def machine(luck: random.Random, gpus: int, roaming: float, *, uniform: bool) -> list[Claim]:
    """Bids on every slice, some of whose holders hold it, and one claim in twenty firm."""
    claims = []
    held: set[int] = set()
    for number in range(1, CLAIMS + 1):
        size = 1 << luck.randrange(gpus.bit_length())
        wanted = luck.choice(slices(gpus, size))
        holds = held.isdisjoint(wanted) and luck.random() < 0.5
        held.update(wanted if holds else ())
        kind = Kind.ON_DEMAND if luck.random() < 0.05 else Kind.INTERRUPTIBLE
        claims.append(
            Claim(
                contract=ContractId(number),
                kind=kind,
                gpus=wanted,
                price=NanoUsdPerHour(nano(luck.uniform(0.1, 0.4)) * size),
                floor=NanoUsdPerHour(nano("0.1") * size),
                holds=holds,
                anywhere=luck.random() < roaming,
                signed_at_ms=number,
                uniform=uniform,
            )
        )
    return claims


def by_price_alone(claims: Sequence[Claim]) -> dict[ContractId, Gpus]:
    """What a market does that only sorts."""
    taken: set[int] = set()
    found = {}
    for claim in sorted(claims, key=lambda one: (one.kind is not Kind.ON_DEMAND, -one.price)):
        if taken.isdisjoint(claim.gpus):
            taken.update(claim.gpus)
            found[claim.contract] = claim.gpus
    return found


def decide(gpus: int, claims: Sequence[Claim]) -> object:
    return clear(gpus, claims, 0)


def over(machines: Sequence[list[Claim]], work: Callable[[list[Claim]], object]) -> list[float]:
    """The times of one piece of work, a machine each."""
    turns = cycle(machines)
    return times_ms(lambda: work(next(turns)), len(machines))


def main() -> None:
    luck = random.Random(7)
    rows = []
    for gpus in (8, 16, 64):
        for roaming in (0.0, 0.3):
            for uniform in (False, True):
                machines = [machine(luck, gpus, roaming, uniform=uniform) for _ in range(MACHINES)]
                sorting = over(machines, by_price_alone)
                took = over(machines, partial(decide, gpus))
                kind = "uniform" if uniform else "pay as bid"
                middle, floor = quantile(took, 0.5), quantile(sorting, 0.5)
                figures = (middle, quantile(took, 0.99), floor)
                name = f"{gpus} GPUs, {roaming:.0%} anywhere, {kind}"
                rows.append([name, *map(ms, figures), f"{middle / floor:.1f}"])
    report(
        __file__,
        "Deciding who holds the GPUs of a machine",
        f"{CLAIMS} claims on a machine, {MACHINES} machines of each kind; beside it sorting the "
        "claims by price and serving them in that order.",
        [Table("", ("machine", "p50 ms", "p99 ms", "sorting p50 ms", "times sorting"), rows)],
    )


if __name__ == "__main__":
    main()
