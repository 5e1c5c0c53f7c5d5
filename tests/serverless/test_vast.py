"""The documented tick, digit for digit: what one published log line of that engine shows."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.money import NanoUsdPerHour
from mercato.serverless.decision import Kind
from mercato.serverless.endpoint import Endpoint, Policy
from mercato.serverless.load import Load, Waiting
from mercato.serverless.scale import Memory, decide
from mercato.serverless.vast import discounted, run_value, scores
from mercato.serverless.worker import State
from tests.serverless.fleets import offer, worker

PERFS = {"A": 1760.347, "B": 1773.083, "C": 1798.716, "D": 113.060, "E": 1650.601}
MEASURED = {"A": 1770.611, "B": 1800.995, "C": 1801.964, "D": 1827.573, "E": 1777.084}
RELIABILITY = {"A": 0.9985, "B": 0.9961, "C": 0.9995, "D": 0.4987, "E": 0.9817}
TARGET = 4_000 / 0.9
GIVEN_BACK_AS_IT_IS = {State.TAKEN, State.PENDING, State.CREATING, State.LOADING}
"""Only while there are too many workers, or for want of room."""


def test_96_performance_is_discounted_by_reliability_to_the_fourth() -> None:
    for name, measured in MEASURED.items():
        assert discounted(measured, RELIABILITY[name]) == pytest.approx(PERFS[name], rel=4e-4)


def test_96_the_four_scores_of_the_log() -> None:
    ready = sum(PERFS[name] for name in "ABC")
    found = scores(
        target_30s=TARGET,
        target_1h=TARGET,
        ready=ready,
        total=sum(PERFS.values()),
        worker_awake=ready / 3,
        worker_mean=1399.84,
    )
    assert ready == pytest.approx(5332.1, abs=0.1)
    assert round(found.start, 6) == -0.499443
    assert round(found.stop, 6) == 0.499443
    assert found.create == pytest.approx(-1.894041, abs=6e-6)  # the log rounds 1399.84
    assert found.delete == -found.create


def test_96_the_run_value_of_the_log() -> None:
    value = run_value(
        perf=PERFS["A"],
        measured=MEASURED["A"],
        idle_h=0.144290,
        per_hour=0.14,
        setup_cost=0.020833,
    )
    assert value == pytest.approx(10_960.8, abs=0.1)


def test_30_load_900_at_utilisation_0_9_asks_for_1000() -> None:
    endpoint = Endpoint(policy=Policy.VAST, workers_min=0, load_min=900.0, pool_factor=1.0)
    fleet = [worker(name, State.STOPPED, perf=100.0) for name in range(1, 16)]
    load, memory = Load(), Memory()
    for second in range(1, 300):
        load.tick(float(second), Waiting())
        for one in decide(float(second), endpoint, load, fleet, [], memory):
            if one.kind is Kind.WAKE:
                woken = next(w for w in fleet if w.id == one.worker)
                woken.state = State.READY
    assert sum(one.perf for one in fleet if one.state is State.READY) == pytest.approx(
        1000, abs=100
    )


@pytest.mark.parametrize(("factor", "floor", "asleep"), [(2.0, 0.0, 100.0), (1.0, 300.0, 200.0)])
def test_29_cold_capacity_is_the_larger_of_factor_and_floor(
    factor: float, floor: float, asleep: float
) -> None:
    endpoint = Endpoint(
        policy=Policy.VAST,
        workers_min=0,
        workers_max=30,
        load_min=100.0,
        utilisation=1.0,
        pool_factor=factor,
        pool_load_min=floor,
    )
    fleet = [worker(name, perf=10.0) for name in range(1, 11)]
    load, memory = Load(), Memory()
    for second in range(1, 400):
        load.tick(float(second), Waiting())
        offers = [offer(100 + second, perf=10.0)]
        decisions = decide(float(second), endpoint, load, fleet, offers, memory)
        fleet += [
            worker(1_000 + second, State.STOPPED, perf=10.0)
            for one in decisions
            if one.kind is Kind.RENT
        ]
    there = sum(one.perf for one in fleet if one.state is State.STOPPED)
    assert there == pytest.approx(asleep, abs=10)


@given(st.lists(st.sampled_from(list(State)), max_size=8), st.integers(0, 9), st.integers(0, 9))
def test_24_the_maximum_holds_and_each_decision_can_be_done(
    states: list[State], workers_max: int, workers_min: int
) -> None:
    endpoint = Endpoint(policy=Policy.VAST, workers_max=workers_max, workers_min=workers_min)
    fleet = [worker(name, state) for name, state in enumerate(states)]
    by_name = {one.id: one.state for one in fleet}
    load, memory = Load(), Memory()
    for second in range(1, 40):
        load.arrive(second - 0.5, 2_000.0 * (second % 9))
        load.tick(float(second), Waiting(requests=second % 5, oldest_s=float(second % 40)))
        decisions = decide(
            float(second), endpoint, load, fleet, [offer(name) for name in range(12)], memory
        )
        rents = sum(one.kind is Kind.RENT for one in decisions)
        assert rents <= max(0, workers_max - len(fleet))
        named = [one.worker for one in decisions if one.worker is not None]
        assert len(named) == len(set(named))
        for one in decisions:
            if one.worker is not None:
                assert (one.kind, by_name[one.worker]) in {
                    (Kind.WAKE, State.STOPPED),
                    (Kind.WAKE, State.DRAINING),
                    (Kind.SLEEP, State.READY),
                    (Kind.DESTROY, State.STOPPED),
                    *((Kind.DESTROY, state) for state in GIVEN_BACK_AS_IT_IS),
                }


def test_a_worker_that_has_not_measured_itself_counts_as_the_others_or_as_the_best_offer() -> None:
    """Else each tick would rent again for what already loads."""
    endpoint = Endpoint(policy=Policy.VAST, workers_min=0, load_min=360.0, pool_factor=1.0)
    for measured, many in (([], 4), ([worker(1, perf=100.0)], 3)):
        fleet, load, memory = list(measured), Load(), Memory()
        for second in range(1, 300):
            load.tick(float(second), Waiting())
            offers = [offer(100 * second + name, perf=100.0) for name in range(9)]
            for one in decide(float(second), endpoint, load, fleet, offers, memory):
                assert one.kind is Kind.RENT
                fleet.append(worker(1_000 + len(fleet), State.LOADING, perf=0.0))
        assert len(fleet) - len(measured) == many


@pytest.mark.parametrize("change", [{"price": 0.0}, {"perf": 0.0}])
def test_a_worker_for_nothing_or_without_a_performance_is_reckoned_with(
    change: dict[str, float],
) -> None:
    one = worker(1, **change)  # type: ignore[arg-type]
    one.storage_price = NanoUsdPerHour(0)
    unreliable = msgspec.structs.replace(one, reliability=0.0)
    load, memory = Load(), Memory()
    endpoint = Endpoint(policy=Policy.VAST, workers_min=1)
    for second in range(1, 200):
        load.tick(float(second), Waiting())
        for fleet in ([one], [unreliable], [one, worker(2)]):
            decide(float(second), endpoint, load, fleet, [offer(1, perf=0.0)], memory)


@pytest.mark.parametrize(("gate_s", "most_s"), [(None, 400), (0.0, 400), (1_800.0, 2_200)])
def test_the_last_worker_sleeps_when_it_may(gate_s: float | None, most_s: int) -> None:
    endpoint = Endpoint(policy=Policy.VAST, workers_min=0, idle_before_zero_s=gate_s)
    fleet, load, memory = [worker(1), worker(2)], Load(), Memory()
    load.arrive(1.0, 300.0)
    slept: list[int] = []
    for second in range(2, 4_000):
        load.tick(float(second), Waiting())
        for one in decide(float(second), endpoint, load, fleet, [], memory):
            if one.kind is Kind.SLEEP:
                next(w for w in fleet if w.id == one.worker).state = State.STOPPED
                slept.append(second)
    assert len(slept) == 2
    assert slept[0] < 1_800
    assert (gate_s or 0.0) < slept[1] <= most_s
