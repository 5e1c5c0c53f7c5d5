"""The shadow fleets: what a rule would have cost is charged for what would have happened."""

import math

import msgspec
import pytest

from mercato.serverless.hindsight import BIN_S, RULES, SETTLE_S, START_S, Hindsight, Prices
from mercato.serverless.pool import Pool

PRICES = Prices(
    awake_s=1.0,
    asleep_s=1.0,
    rent=1.0,
    late=1e9,
    worker=300.0,
    aim_s=10.0,
    request_s=1.0,
    start_s=START_S,
)


def test_who_comes_while_a_rule_has_nobody_awake_is_late_under_it() -> None:
    hindsight = Hindsight()
    for _ in range(int(SETTLE_S) // BIN_S):
        hindsight.live((0.0, 0.0), 0.0, 0, PRICES)
    hindsight.live((300.0, 300.0), 300.0, 10, PRICES)
    asleep = [cost for rule, cost in zip(RULES, hindsight.costs, strict=True) if rule.beta < 1]
    awake = [cost for rule, cost in zip(RULES, hindsight.costs, strict=True) if rule.beta >= 1]
    assert min(asleep) >= 10 * PRICES.late
    assert max(awake) < PRICES.late


@pytest.mark.parametrize("need", [0.0, 150.0, 300.0, 437.0, 600.0])
def test_a_shadow_pays_for_as_many_workers_as_its_rule_would_have_awake(need: float) -> None:
    """At a tie too: without a need, half a worker is paid for if and only if one is kept awake."""
    hindsight = Hindsight()
    for _ in range(2 * int(SETTLE_S) // BIN_S):
        hindsight.live((need, need), 0.0, 0, PRICES)
    for at, rule in enumerate(RULES):
        hindsight.chosen = at
        wanted = hindsight.wanted((need, need), PRICES.worker) / PRICES.worker
        assert hindsight.had[at] == max(0, math.ceil(wanted - 1e-9)), rule


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_it_tells_who_would_have_been_in_time_under_the_chosen_rule(beta: float) -> None:
    """Only they can be made late by too small a pool, which is charged for them alone."""
    hindsight = Hindsight()
    for _ in range(int(SETTLE_S) // BIN_S):
        hindsight.live((0.0, 0.0), 0.0, 0, PRICES)
    hindsight.chosen = next(at for at, rule in enumerate(RULES) if rule.beta == beta)
    assert hindsight.live((300.0, 300.0), 300.0, 10, PRICES) == (10 if beta else 0)


@pytest.mark.parametrize(("start_s", "bins"), [(5.0, 1), (30.0, 7), (50.0, 7), (60.0, 12)])
def test_capacity_comes_a_start_later_as_starts_are_here(start_s: float, bins: int) -> None:
    hindsight = Hindsight()
    prices = msgspec.structs.replace(PRICES, start_s=start_s)
    for _ in range(3):  # what was told last is what is believed, and stays
        hindsight.live((0.0, 0.0), 0.0, 0, prices)
        assert hindsight.start_bins == bins
        assert {low.bins for low in hindsight.lows} == {bins}
    for _ in range(2 * int(SETTLE_S) // BIN_S):
        hindsight.live((0.0, 0.0), 0.0, 0, prices)
    ahead = next(at for at, one in enumerate(RULES) if (one.alpha, one.beta) == (1.0, 0.0))
    for count in range(1, 2 * bins + 2):
        hindsight.chosen = ahead
        in_time = hindsight.live((3_000.0, 3_000.0), 0.0, 10, prices)
        assert in_time == (10 if count >= bins else 0), count


@pytest.mark.parametrize("kind", [Hindsight, Pool])
def test_what_a_version_with_other_rules_kept_cannot_be_read(
    kind: type[Hindsight] | type[Pool],
) -> None:
    kept = msgspec.to_builtins(kind())
    assert msgspec.convert(kept, kind) == kind()
    with pytest.raises(msgspec.ValidationError, match="rules and not of"):
        msgspec.convert(kept | {"costs": [0.0] * (len(kept["costs"]) - 1)}, kind)
