"""How much to rent when more is asked than all workers together can do.

New workers load for minutes. They pay when the need outlasts that, by making fewer requests late;
so the backlog is foretold for the moment when they would come, and each further worker is weighed:
what it costs against how much sooner the waiting ends.
"""

from typing import Final

import msgspec

LOAD_S: Final = 240.0
"""From renting a worker to its first request, usually."""
LOAD_LEFT_S: Final = 40.0
"""A worker that should have loaded by now is expected in this long."""
MORE_MAX: Final = 60
"""Workers weighed at once."""


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a moment in which requests wait."""

    need: float
    """Units/s that are asked."""
    backlog: float
    """Units that wait."""
    pool: float
    """Units/s of all workers, those included that load."""
    loading: float
    """Units/s of those that load."""
    loaded_work: float
    """Units that those that load will have done by `LOAD_S` from now."""
    lasts_s: float
    """How long the need is expected to stay above the pool."""
    requests_s: float
    """Requests that come in a second."""
    worker: float
    """Units/s of one more worker."""


def to_rent(facts: Shortage, *, aim_s: float, late: float, worker_cost: float) -> float:
    """Units/s that the pool should have; what it has when renting would not pay.

    Args:
        facts: of this moment.
        aim_s: a request that waits longer is late.
        late: what a late request costs.
        worker_cost: what one more worker costs: renting it and keeping its disk for a while.
    """
    serving = facts.pool - facts.loading
    backlog = facts.backlog + (facts.need - serving) * LOAD_S - facts.loaded_work
    if backlog <= aim_s * facts.pool:
        return facts.pool
    left_s = facts.lasts_s - LOAD_S
    best, best_cost, capacity = facts.pool, float("inf"), facts.pool
    for more in range(MORE_MAX + 1):
        late_s = left_s
        if capacity > facts.need:
            over = max(0.0, backlog - aim_s * capacity)
            late_s = min(left_s, over / (capacity - facts.need))
        cost = more * worker_cost + facts.requests_s * late * late_s
        if cost < best_cost:
            best, best_cost = capacity, cost
        capacity += facts.worker
    return best


def expected_work(perf: float, age_s: float) -> float:
    """Units that a worker rented `age_s` ago will have done by `LOAD_S` from now."""
    return perf * (LOAD_S - max(LOAD_LEFT_S, LOAD_S - age_s))
