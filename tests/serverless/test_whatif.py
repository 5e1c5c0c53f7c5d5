"""Recorded traffic against other parameters."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.money import NanoUsdPerHour, accrued, nano
from mercato.serverless.endpoint import Endpoint, Policy
from mercato.serverless.whatif import Asked, Outcome, Terms, replay

TERMS = Terms(
    gpu_price=NanoUsdPerHour(nano(0.36)),
    storage_price=NanoUsdPerHour(nano(0.02)),
    perf=300.0,
    awake=1,
    asleep=2,
)


def endpoint(policy: Policy = Policy.AUTO, *, always: bool = True) -> Endpoint:
    return Endpoint(
        policy=policy,
        workers_max=6,
        workers_min=0,
        pool_factor=1.0,
        idle_before_zero_s=-1.0 if always else None,
    )


def play(asked: list[Asked], parameters: Endpoint, *, quiet_s: float = 0.0) -> Outcome:
    """Replay, with as many quiet seconds before the traffic and after it."""
    first_s, last_s = (asked[0].at_s, asked[-1].at_s) if asked else (0.0, 0.0)
    return replay(asked, parameters, TERMS, from_s=first_s - quiet_s, to_s=last_s + quiet_s)


def traffic(seconds: float, per_s: float, seed: int = 1) -> list[Asked]:
    rng, at_s, found = random.Random(seed), 1_000.0, []
    while at_s < 1_000.0 + seconds:
        at_s += rng.expovariate(per_s)
        found.append(Asked(at_s, rng.uniform(50, 600)))
    return found


@given(
    st.lists(st.tuples(st.floats(0, 40), st.floats(1, 2_000)), min_size=1, max_size=40),
    st.sampled_from(list(Policy)),
    st.booleans(),
)
def test_41_every_request_is_served_once_whatever_the_policy(
    gaps: list[tuple[float, float]],
    policy: Policy,
    always: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    at_s, asked = 0.0, []
    for gap_s, units in gaps:
        at_s += gap_s
        asked.append(Asked(at_s, units))
    outcome = play(asked, endpoint(policy, always=always))
    assert outcome.requests == len(asked)
    assert 0 <= outcome.p50_s <= outcome.p95_s
    assert outcome.cost > 0


def test_the_same_traffic_and_parameters_replay_alike() -> None:
    asked = traffic(600, 1.0)
    assert play(asked, endpoint()) == play(asked, endpoint())


def test_a_floor_of_load_costs_more_and_waits_less() -> None:
    asked = traffic(1_800, 0.8) + [
        Asked(asked.at_s + 3_000, asked.units) for asked in traffic(600, 2.0)
    ]
    plain = play(asked, endpoint())
    floor = Endpoint(workers_max=6, workers_min=0, pool_factor=1.0, load_min=810.0)
    high = play(asked, floor)
    assert high.cost > plain.cost
    assert high.p95_s < plain.p95_s


@pytest.mark.parametrize("policy", Policy)
def test_quiet_hours_are_billed_like_any_other(policy: Policy) -> None:
    asked = traffic(600, 0.5)
    busy = play(asked, endpoint(policy))
    whole = play(asked, endpoint(policy), quiet_s=1_800)
    assert whole.requests == busy.requests
    disk = accrued(TERMS.storage_price, 3_600_000)
    assert whole.cost >= busy.cost + disk, "somebody sleeps in each of them"


def test_what_cannot_be_replayed_says_why() -> None:
    with pytest.raises(ValueError, match="no recorded traffic"):
        play([], endpoint())
    with pytest.raises(ValueError, match="raise max_workers"):
        play(traffic(10, 1.0), Endpoint(workers_max=0))
