"""What every policy must do: bear any fleet, keep to the maximum, and not wait for ever."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.money import NanoUsdPerHour
from mercato.serverless.decision import Kind
from mercato.serverless.endpoint import Endpoint, Policy
from mercato.serverless.limits import TAKEN_MAX_S, dismiss, make_room
from mercato.serverless.load import Load, Waiting
from mercato.serverless.recruit import Candidate
from mercato.serverless.scale import Memory, decide
from mercato.serverless.shortage import LOAD_S
from mercato.serverless.worker import Outlook, State, Worker
from tests.serverless.fleets import offer, worker
from tests.serverless.test_auto import Stage

POLICIES = st.sampled_from(list(Policy))
PERFS = st.sampled_from([0.0, 1e-9, 80.0, 300.0, 1e9])
FREE = NanoUsdPerHour(0)
WAITS = Waiting(requests=5, units=1_500.0, oldest_s=60.0)


@st.composite
def workers(draw: st.DrawFn, name: int) -> Worker:
    """Measured or not, for money or for nothing, reliable or not at all."""
    one = worker(name, draw(st.sampled_from(list(State))))
    one.estimate, one.benchmark = draw(PERFS), draw(PERFS)
    one.perf = one.benchmark
    one.reliability = draw(st.sampled_from([0.0, 1e-100, 0.5, 1.0]))
    one.requests, one.sessions = draw(st.integers(0, 2)), draw(st.integers(0, 1))
    if draw(st.booleans()):
        one.gpu_price = one.on_demand_price = one.storage_price = FREE
    return one


@st.composite
def offers(draw: st.DrawFn, name: int) -> Candidate:
    one = offer(name, perf=draw(PERFS), kind=draw(st.sampled_from(["RTX 4090", "unknown"])))
    one = msgspec.structs.replace(one, reliability=draw(st.sampled_from([0.0, 1.0])))
    if draw(st.booleans()):
        one = msgspec.structs.replace(one, gpu_price=FREE, storage_price=FREE)
    return one


ENDPOINTS = st.builds(
    Endpoint,
    policy=POLICIES,
    workers_max=st.integers(0, 9),
    workers_min=st.integers(0, 9),
    load_min=st.sampled_from([0.0, 1.0, 1_800.0]),
    pool_load_min=st.sampled_from([0.0, 1_800.0]),
    utilisation=st.sampled_from([0.1, 0.9, 1.0]),
    pool_factor=st.sampled_from([1.0, 2.5]),
    wait_aim_s=st.sampled_from([0.0, 10.0]),
    idle_before_zero_s=st.sampled_from([None, -1.0, 0.0, 300.0]),
    late_weight=st.sampled_from([0.0, 10.0]),
    interruptible_share=st.sampled_from([0.0, 0.5]),
)
FLEETS = st.integers(0, 8).flatmap(lambda many: st.tuples(*map(workers, range(1, many + 1))))
MARKETS = st.integers(0, 5).flatmap(lambda many: st.tuples(*map(offers, range(1, many + 1))))
CAN_BE_DONE = {
    *((Kind.WAKE, state) for state in (State.STOPPED, State.DRAINING)),
    (Kind.SLEEP, State.READY),
    *((Kind.DESTROY, state) for state in (State.STOPPED, State.TAKEN)),
    *((Kind.DESTROY, state) for state in State if state.outlook is Outlook.LATER),
}


@given(ENDPOINTS, FLEETS, MARKETS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_any_fleet_is_borne_and_every_decision_can_be_done(
    endpoint: Endpoint,
    fleet: tuple[Worker, ...],
    market: tuple[Candidate, ...],
    waiting: int,
    rng: random.Random,
) -> None:
    load, memory = Load(), Memory()
    states = {one.id: one.state for one in fleet}
    waits = Waiting(requests=waiting, units=300.0 * waiting, oldest_s=9.0 * waiting)
    for second in range(1_000, 1_400, 19):
        for _ in range(rng.randrange(4)):
            load.arrive(float(second), rng.choice([0.0, 300.0, 1e6]))
        load.tick(float(second), waits)
        decisions = decide(float(second), endpoint, load, fleet, market, memory)
        kinds = Counter(one.kind for one in decisions)
        named = [one.worker for one in decisions if one.worker is not None]
        assert kinds[Kind.RENT] <= max(0, endpoint.workers_max - len(fleet))
        assert len(named) == len(set(named))
        assert {(one.kind, states[one.worker]) for one in decisions if one.worker} <= CAN_BE_DONE


@given(FLEETS, st.integers(0, 9))
def test_no_more_go_than_are_too_many_and_those_that_serve_go_last(
    fleet: tuple[Worker, ...], workers_max: int
) -> None:
    decisions, staying = dismiss(Endpoint(workers_max=workers_max), fleet, lambda one: -one.price)
    going = [one for one in fleet if one not in staying]
    assert len(decisions) <= len(going) <= max(0, len(fleet) - workers_max)
    assert {one.worker for one in decisions} <= {one.id for one in going}
    serving = [one for one in going if one.state is State.READY]
    assert not any(one.sessions for one in serving)
    assert not serving or all(one.state is State.READY for one in staying)


def test_of_those_that_serve_the_worst_goes_and_whoever_goes_already_counts() -> None:
    two = Endpoint(workers_max=2)
    fleet = [worker(1), worker(2, price=0.90), worker(3)]
    ((decided,), staying) = dismiss(two, fleet, lambda one: -one.price)
    assert (decided.kind, decided.worker) == (Kind.SLEEP, 2)
    assert decided.reason == "the endpoint may have 2 workers and has 3"
    fleet[1].state = State.DRAINING
    assert dismiss(two, fleet, lambda one: -one.price) == ([], staying)


@pytest.mark.parametrize("policy", Policy)
def test_over_a_lowered_maximum_those_that_serve_drain_and_are_given_back(policy: Policy) -> None:
    endpoint = Endpoint(policy=policy, workers_max=8, workers_min=0, pool_factor=1.0)
    stage = Stage(endpoint, [worker(name) for name in range(1, 9)])
    for one in stage.workers.values():
        one.requests = 1  # or the policy `queue` would put it to sleep
    for _ in range(300):
        stage.second(6)
    stage.endpoint = msgspec.structs.replace(endpoint, workers_max=3)
    for _ in range(120):
        stage.second(6, waiting=WAITS)
    assert len(stage.workers) == stage.awake() == 3


@pytest.mark.parametrize("policy", Policy)
def test_who_is_dismissed_is_not_woken_again(policy: Policy) -> None:
    endpoint = Endpoint(policy=policy, workers_max=1, workers_min=0)
    load, memory = Load(), Memory()
    load.arrive(1_000.0, 3_000.0)
    load.tick(1_001.0, WAITS)
    fleet = [worker(1), worker(2, State.DRAINING)]
    fleet[0].requests = 1
    assert decide(1_001.0, endpoint, load, fleet, [offer(1)], memory) == []


@pytest.mark.parametrize("policy", Policy)
def test_who_has_long_been_taken_makes_room_for_another(policy: Policy) -> None:
    endpoint = Endpoint(policy=policy, workers_max=2, workers_min=0)
    stage = Stage(endpoint, [worker(1, State.TAKEN), worker(2, State.TAKEN)])
    for name, one in stage.workers.items():
        one.since_s = 1_000.0 - name
    for _ in range(int(TAKEN_MAX_S) - 3):
        stage.second(waiting=WAITS)
    assert not stage.done
    stage.second(waiting=WAITS)
    ((_, given),) = stage.done
    assert (given.kind, given.worker) == (Kind.DESTROY, 2)
    assert given.reason.startswith("its GPUs have served somebody else for 300 s, 5 requests wait")
    stage.second(waiting=WAITS)
    assert [one.kind for _, one in stage.done] == [Kind.DESTROY, Kind.RENT]
    for _ in range(600):
        stage.second(waiting=WAITS)
    assert len(stage.done) == 2, "another one loads already"


def test_a_taken_worker_is_waited_for_while_nobody_else_waits_or_nothing_is_on_offer() -> None:
    taken, now_s = [worker(1, State.TAKEN)], 10_000.0
    load = Load(now_s=now_s, waiting=WAITS)
    assert make_room(now_s, load, taken, [offer(1)])
    assert make_room(now_s, load, taken, []) == []
    assert make_room(now_s, load, [*taken, worker(2, State.LOADING)], [offer(1)]) == []
    assert make_room(TAKEN_MAX_S - 1, load, taken, [offer(1)]) == []
    assert make_room(now_s, Load(now_s=now_s), taken, [offer(1)]) == []


def test_where_somebody_serves_a_taken_worker_is_given_back_only_for_who_has_waited_long() -> None:
    fleet, now_s = [worker(1, State.TAKEN), worker(2)], 10_000.0
    for oldest_s, many in ((LOAD_S - 1, 0), (LOAD_S, 1)):
        load = Load(waiting=msgspec.structs.replace(WAITS, oldest_s=oldest_s))
        assert len(make_room(now_s, load, fleet, [offer(1)])) == many
