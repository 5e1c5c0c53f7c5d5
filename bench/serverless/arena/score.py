"""What a run is judged by: money over the least possible, and requests that waited too long."""

import math
from collections.abc import Iterable

import msgspec

from arena.market import lower_bound
from arena.world import DROP_S, World

LATE_S = 10.0
LATE_WEIGHT = 10.0


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One run's figures; `j` = dollars / lower bound + 10 x share of late requests."""

    j: float
    p50_s: float
    p95_s: float
    p99_s: float
    within_2s: float
    within_10s: float
    dropped: float
    dollars: float
    bound: float
    utilisation: float
    recruits: int
    starts: int
    destroys: int
    retries: int


def score(world: World) -> Score:
    """The figures of a run that has ended."""
    warm_s = world.scenario.warm_s
    counted = [at for at, at_s in enumerate(world.trace.at_s) if at_s >= warm_s]
    waits = sorted(world.waits[at] for at in counted)
    work = sum(world.trace.work[at] for at in counted)
    bound = lower_bound(work, world.asks)
    dollars = world.cost()
    within = sum(wait_s <= LATE_S for wait_s in waits) / len(waits)

    def quantile(share: float) -> float:
        return waits[min(len(waits) - 1, int(share * len(waits)))]

    return Score(
        j=dollars / bound + LATE_WEIGHT * (1 - within),
        p50_s=quantile(0.50),
        p95_s=quantile(0.95),
        p99_s=quantile(0.99),
        within_2s=sum(wait_s <= 2 for wait_s in waits) / len(waits),
        within_10s=within,
        dropped=sum(wait_s >= DROP_S for wait_s in waits) / len(waits),
        dollars=dollars,
        bound=bound,
        utilisation=work / (world.billed_perf_s() or math.inf),
        recruits=world.recruits,
        starts=world.starts,
        destroys=world.destroys,
        retries=world.retries,
    )


def mean(values: Iterable[float]) -> float:
    """Arithmetic."""
    found = list(values)
    return sum(found) / len(found)


def geometric_mean(values: Iterable[float]) -> float:
    """Geometric."""
    return math.exp(mean(math.log(value) for value in values))
