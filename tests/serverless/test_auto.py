"""The default policy: what must hold whatever happens, then what is promised."""

import math
import random
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.money import NanoUsdPerHour, nano
from mercato.serverless.auto import KEEP_S, AutoMemory, auto
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.load import Load, Waiting
from mercato.serverless.recruit import Candidate
from mercato.serverless.scale import Memory, decide
from mercato.serverless.worker import State, Worker
from tests.serverless.fleets import offer, worker

FREE = Endpoint(workers_max=8, workers_min=0, pool_factor=1.0)
"""Nothing is to be kept that the policy would not keep."""
AWAKE = {State.READY, State.STARTING}
GIVEN_BACK_AS_IT_IS = {State.TAKEN, State.PENDING, State.CREATING, State.LOADING}
"""Only while there are too many workers, or for want of room."""


class Stage:
    """An endpoint on a virtual clock: what is decided is done at once, a start takes 30 s."""

    def __init__(self, endpoint: Endpoint, workers: Sequence[Worker], offers: int = 20) -> None:
        self.endpoint = endpoint
        self.workers = {one.id: one for one in workers}
        self.offers: list[Candidate] = [offer(name) for name in range(1, offers + 1)]
        self.load = Load()
        self.memory = Memory()
        self.now_s = 1_000.0
        self.done: list[tuple[float, Decision]] = []

    def second(
        self, arrivals: int = 0, units: float = 300.0, waiting: Waiting | None = None
    ) -> None:
        for _ in range(arrivals):
            self.load.arrive(self.now_s, units)
        self.now_s += 1.0
        for one in self.workers.values():
            if one.state is State.STARTING and self.now_s - one.since_s >= 30:
                one.state, one.since_s = State.READY, self.now_s
        self.load.tick(self.now_s, waiting or Waiting())
        fleet = list(self.workers.values())
        for decision in decide(
            self.now_s, self.endpoint, self.load, fleet, self.offers, self.memory
        ):
            self.done.append((self.now_s, decision))
            self._do(decision)

    def _do(self, decision: Decision) -> None:
        if decision.kind is Kind.RENT:
            taken = next(one for one in self.offers if one.offer == decision.offer)
            self.offers.remove(taken)
            new = worker(
                10_000 + taken.offer, State.LOADING, interruptible=decision.bid is not None
            )
            new.created_s = new.since_s = self.now_s
            self.workers[new.id] = new
            return
        assert decision.worker is not None
        one = self.workers[decision.worker]
        before = {
            Kind.WAKE: {State.STOPPED, State.DRAINING},
            Kind.SLEEP: {State.READY},
            Kind.DESTROY: {State.STOPPED, State.TAKEN},
        }
        assert one.state in before[decision.kind], decision
        if decision.kind is Kind.DESTROY:
            del self.workers[one.id]
            return
        one.state = State.STARTING if decision.kind is Kind.WAKE else State.STOPPED
        one.since_s = self.now_s

    def count(self, kind: Kind) -> int:
        return sum(decision.kind is kind for _, decision in self.done)

    def awake(self) -> int:
        return sum(one.state in AWAKE for one in self.workers.values())


@given(
    st.lists(st.sampled_from(list(State)), max_size=10),
    st.integers(0, 10),
    st.integers(0, 200),
    st.integers(0, 10),
    st.randoms(use_true_random=False),
)
def test_24_never_more_workers_than_may_be_and_each_decision_can_be_done(
    states: list[State], workers_max: int, waiting: int, workers_min: int, rng: random.Random
) -> None:
    endpoint = Endpoint(workers_max=workers_max, workers_min=workers_min)
    load, memory = Load(), Memory()
    fleet = [
        worker(name, state, perf=rng.choice([0.0, 80.0, 300.0, 900.0]))
        for name, state in enumerate(states)
    ]
    for second in range(1, 200, 7):
        for _ in range(rng.randrange(8)):
            load.arrive(float(second), rng.uniform(1, 3_000))
        load.tick(
            float(second),
            Waiting(requests=waiting, units=300.0 * waiting, oldest_s=float(waiting > 0)),
        )
        offers = [offer(name) for name in range(rng.randrange(6))]
        decisions = decide(float(second), endpoint, load, fleet, offers, memory)
        named = [decision.worker for decision in decisions if decision.worker is not None]
        rented = [decision.offer for decision in decisions if decision.kind is Kind.RENT]
        assert len(named) == len(set(named))
        assert len(rented) == len(set(rented)) <= max(0, workers_max - len(fleet))
        assert all(decision.reason for decision in decisions)
        by_name = {one.id: one.state for one in fleet}
        for decision in decisions:
            if decision.worker is not None:
                state = by_name[decision.worker]
                assert (decision.kind, state) in {
                    (Kind.WAKE, State.STOPPED),
                    (Kind.WAKE, State.DRAINING),
                    (Kind.SLEEP, State.READY),
                    (Kind.DESTROY, State.STOPPED),
                    *((Kind.DESTROY, state) for state in GIVEN_BACK_AS_IT_IS),
                }


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_what_is_remembered_survives_the_engine(arrivals: list[int]) -> None:
    stage = Stage(FREE, [worker(1), worker(2, State.STOPPED)])
    for came in arrivals:
        stage.second(came)
    memory = msgspec.json.decode(msgspec.json.encode(stage.memory), type=Memory)
    load = msgspec.json.decode(msgspec.json.encode(stage.load), type=Load)
    fleet = list(stage.workers.values())
    now_s = stage.now_s
    there = decide(now_s, FREE, stage.load, fleet, stage.offers, stage.memory)
    assert decide(now_s, FREE, load, fleet, stage.offers, memory) == there


def test_26_the_first_request_wakes_one_sleeping_worker_at_once_and_rents_none() -> None:
    stage = Stage(FREE, [worker(1, State.STOPPED), worker(2, State.STOPPED)])
    for _ in range(30):
        stage.second()
    assert not stage.done
    stage.second(1, waiting=Waiting(requests=1, units=300.0))
    assert [decision.kind for _, decision in stage.done] == [Kind.WAKE]
    for _ in range(25):
        stage.second(waiting=Waiting(requests=1, units=300.0, oldest_s=5.0))
    assert len(stage.done) == 1


def test_26_the_last_worker_sleeps_when_it_may_and_never_when_it_may_not() -> None:
    for gate_s, asleep in ((None, True), (0.0, True), (-1.0, False), (300.0, True)):
        endpoint = msgspec.structs.replace(FREE, idle_before_zero_s=gate_s)
        stage = Stage(endpoint, [worker(1)])
        stage.second(1)
        slept_s = None
        for _ in range(900):
            stage.second()
            if slept_s is None and stage.awake() == 0:
                slept_s = stage.now_s - stage.load.last_s
        assert (slept_s is not None) == asleep, gate_s
        if gate_s == 300.0:
            assert slept_s is not None
            assert 300 <= slept_s <= 310


def test_27_a_crowd_wakes_no_more_than_may_be_and_then_rests() -> None:
    stage = Stage(FREE, [worker(name, State.STOPPED) for name in range(1, 5)])
    stage.second(1_000, waiting=Waiting(requests=1_000, units=300_000.0))
    backlog = 300_000.0
    for _ in range(600):
        ready = sum(one.perf for one in stage.workers.values() if one.state is State.READY)
        backlog = max(0.0, backlog - ready)
        waits = int(backlog / 300)
        stage.second(waiting=Waiting(requests=waits, units=backlog, oldest_s=min(waits, 20)))
        assert len(stage.workers) <= FREE.workers_max
    wakes = [decision.worker for _, decision in stage.done if decision.kind is Kind.WAKE]
    assert len(wakes) == len(set(wakes)) == 4


def _woken(memory: AutoMemory, now_s: float, took_s: float, look_s: float) -> float:
    """A worker wakes in `took_s`, looked at every `look_s`; what time it is then."""
    load, one = Load(), worker(1)
    for state, ends_s in ((State.STARTING, now_s + took_s), (State.READY, now_s + took_s)):
        one.state, one.since_s = state, now_s
        while now_s < ends_s:
            auto(now_s, FREE, load, [one], [], memory)
            now_s = min(now_s + look_s, ends_s)
        auto(now_s, FREE, load, [one], [], memory)
    return now_s


@pytest.mark.parametrize("took_s", [0.0, 3.0, 30.0, 120.0, 600.0])
def test_it_learns_how_long_its_workers_take_to_wake(took_s: float) -> None:
    memory, now_s = AutoMemory(), 1_000.0
    for _ in range(200):
        now_s = _woken(memory, now_s, took_s, look_s=20.0) + 10.0
    assert memory.start_s == pytest.approx(took_s, rel=0.03, abs=1.0)
    assert memory.starting == {}


def test_how_long_one_took_to_wake_while_nobody_looked_is_not_known() -> None:
    memory = AutoMemory()
    now_s = _woken(memory, 1_000.0, took_s=30.0, look_s=20.0)
    before_s = memory.start_s
    now_s = _woken(memory, now_s + 10.0, took_s=3_600.0, look_s=3_600.0)
    auto(now_s + 10.0, FREE, Load(), [worker(1)], [], memory)
    assert memory.start_s == before_s


def test_28_a_steady_load_leaves_the_fleet_alone() -> None:
    rng = random.Random(1)
    stage = Stage(FREE, [worker(name) for name in range(1, 7)])
    for _ in range(2 * 3_600):
        stage.second(sum(rng.random() < 0.4 for _ in range(10)))
    moves = [at_s for at_s, one in stage.done if at_s > 1_000 + 3_600 and one.kind is not Kind.RENT]
    assert len(moves) <= 0.5 * 6 * 10, len(moves)


def test_a_surge_wakes_what_it_asks_before_anybody_waits_for_long() -> None:
    stage = Stage(FREE, [worker(1), *(worker(name, State.STOPPED) for name in range(2, 8))])
    for second in range(300):
        stage.second(second % 2)
    before = stage.count(Kind.WAKE)
    for _ in range(6):
        stage.second(6)
    assert stage.count(Kind.WAKE) - before >= 4
    assert "a surge of" in stage.done[-1][1].reason


def test_a_steady_load_that_the_fleet_can_do_rents_nothing() -> None:
    fleet = [worker(1), worker(2), worker(3), *(worker(n, State.STOPPED) for n in (4, 5, 6))]
    stage = Stage(FREE, fleet)
    for _ in range(3_600):
        stage.second(2)
    assert stage.count(Kind.RENT) == 0


@pytest.mark.parametrize("gate_s", [None, -1.0])
@pytest.mark.parametrize("fleet", [[], [worker(1, State.TAKEN)]])
def test_36_after_quiet_hours_the_only_worker_is_no_larger_than_usual(
    gate_s: float | None, fleet: list[Worker]
) -> None:
    """A large machine's disk is cheap for its performance, until it must be awake."""
    endpoint = msgspec.structs.replace(FREE, idle_before_zero_s=gate_s)
    stage = Stage(endpoint, [])
    stage.offers = []
    for _ in range(5_400):
        stage.second()
    stage.workers = {one.id: one for one in fleet}
    stage.offers = [offer(1, perf=900.0, price=2.10, kind="H100"), *map(offer, range(2, 6))]
    stage.second(1, waiting=Waiting(requests=1, units=300.0))
    (rented,) = (one.offer for _, one in stage.done if one.kind is Kind.RENT)
    assert rented != 1


@pytest.mark.parametrize(("gate_s", "rented"), [(None, 1), (-1.0, 2)])
def test_36_one_that_never_sleeps_is_chosen_by_what_it_costs_awake(
    gate_s: float | None, rented: int
) -> None:
    stage = Stage(msgspec.structs.replace(FREE, idle_before_zero_s=gate_s), [])
    no_disk = msgspec.structs.replace(offer(1, price=0.50), storage_price=NanoUsdPerHour(0))
    stage.offers = []
    for _ in range(5_400):
        stage.second()
    stage.offers = [no_disk, offer(2, price=0.30)]
    stage.second(1, waiting=Waiting(requests=1, units=300.0))
    assert [one.offer for _, one in stage.done if one.kind is Kind.RENT] == [rented]


def test_25_over_the_maximum_the_sleeping_go_first_and_no_serving_one() -> None:
    endpoint = msgspec.structs.replace(FREE, workers_max=2)
    fleet = [worker(1), worker(2), worker(3, State.STOPPED), worker(4, State.STOPPED)]
    stage = Stage(endpoint, fleet)
    stage.second()
    gone = {one.worker for _, one in stage.done if one.kind is Kind.DESTROY}
    assert gone == {3, 4}


def test_29_what_the_owner_wants_on_disk_is_there() -> None:
    endpoint = msgspec.structs.replace(FREE, workers_min=3)
    stage = Stage(endpoint, [])
    for _ in range(10):
        stage.second()
    assert len(stage.workers) == 3
    last = stage.done[-1][1]
    assert last.reason == "3 workers are wanted on disk at least and 0 are there"
    alone = Stage(msgspec.structs.replace(FREE, workers_min=1), [])
    alone.second()
    assert alone.done[-1][1].reason == "1 worker is wanted on disk at least and 0 are there"
    loads = msgspec.structs.replace(FREE, pool_load_min=1_500.0)
    stage = Stage(loads, [])
    for _ in range(10):
        stage.second()
    assert len(stage.workers) == 5


def by_bid(workers: Sequence[Worker]) -> int:
    return sum(one.interruptible for one in workers)


@pytest.mark.parametrize(("share", "bids"), [(0.0, 0), (0.5, 3), (1.0, 6)])
def test_no_more_of_a_fleet_is_rented_by_bid_than_may_be(share: float, bids: int) -> None:
    endpoint = msgspec.structs.replace(FREE, pool_load_min=1_800.0, interruptible_share=share)
    stage = Stage(endpoint, [])
    cheap = range(101, 121)
    stage.offers += [offer(name, price=0.18, by_bid=True) for name in cheap]
    for _ in range(10):
        stage.second()
    assert len(stage.workers) == 6
    assert by_bid(list(stage.workers.values())) == bids


def test_what_the_owner_wants_on_disk_may_be_rented_by_bid() -> None:
    endpoint = msgspec.structs.replace(FREE, workers_min=1, interruptible_share=1.0)
    stage = Stage(endpoint, [])
    stage.offers.append(offer(101, price=0.18, by_bid=True))
    stage.second()
    (one,) = stage.done
    assert one[1].bid == nano(0.18)
    why = "1 worker is wanted on disk at least and 0 are there; by bid, for $0.18 an hour"
    assert one[1].reason == why


def test_who_was_outbid_is_replaced_by_a_bid_elsewhere_while_that_is_cheaper() -> None:
    endpoint = msgspec.structs.replace(FREE, pool_load_min=1_200.0, interruptible_share=1.0)
    for price, bids in ((0.18, 4), (0.50, 0)):
        taken = [worker(name, State.TAKEN, interruptible=True) for name in (1, 2, 3, 4)]
        stage = Stage(endpoint, taken)
        stage.offers += [offer(name, price=price, by_bid=True) for name in range(101, 121)]
        for _ in range(10):
            stage.second()
        new = [one for one in stage.workers.values() if one.id > 10_000]
        assert len(new) == 4
        assert by_bid(new) == bids


def rented_in_a_shortage(price: float, on_demand: float) -> int:
    """A minute in which five times as much is asked as the only worker, at this price, can do."""
    endpoint = msgspec.structs.replace(FREE, workers_max=40)
    stage = Stage(endpoint, [worker(1, price=price, on_demand=on_demand)], offers=40)
    for second in range(1, 61):
        waits = Waiting(requests=second, units=1_200.0 * second, oldest_s=float(second))
        stage.second(1, units=1_500.0, waiting=waits)
    return stage.count(Kind.RENT)


def test_lateness_is_no_cheaper_for_who_rents_by_bid() -> None:
    by_bid, on_demand = rented_in_a_shortage(0.18, 0.36), rented_in_a_shortage(0.36, 0.36)
    assert by_bid >= on_demand
    assert by_bid > rented_in_a_shortage(0.18, 0.18)


def test_30_a_floor_of_load_is_kept_awake_with_its_headroom() -> None:
    endpoint = msgspec.structs.replace(FREE, workers_max=20, load_min=900.0, utilisation=0.9)
    stage = Stage(endpoint, [worker(name, State.STOPPED, perf=100.0) for name in range(1, 20)])
    for _ in range(120):
        stage.second()
    assert stage.awake() == 10


@pytest.mark.parametrize(("factor", "on_disk"), [(1.0, 7), (2.5, 17)])
def test_a_floor_of_load_is_rented_for_by_who_has_nobody_yet(factor: float, on_disk: int) -> None:
    endpoint = Endpoint(workers_max=20, workers_min=0, load_min=1_800.0, pool_factor=factor)
    stage = Stage(endpoint, [], offers=40)
    for _ in range(3_600):
        stage.second()
        for one in stage.workers.values():
            if one.state is State.LOADING and stage.now_s - one.since_s >= 240:
                one.state = State.READY
    assert len(stage.workers) == on_disk
    assert stage.awake() == math.ceil(1_800 / 0.9 / 300)
    (first, *_) = (one.reason for _, one in stage.done)
    assert "units/s are to be awake always" in first


@pytest.mark.parametrize("perf", [1e-6, 1.0, 3e7, 1e9, 1e12])
def test_the_only_worker_of_who_always_wants_one_is_left_alone(perf: float) -> None:
    stage = Stage(msgspec.structs.replace(FREE, idle_before_zero_s=-1.0), [worker(1, perf=perf)])
    for _ in range(900):
        stage.second()
    assert not stage.done


def test_an_offer_of_unknown_hardware_is_of_the_usual_size() -> None:
    """A worker that is lacking is one rental, whatever little is known of what is on offer."""
    endpoint = Endpoint(workers_max=20, workers_min=2, pool_factor=1.0)
    for fleet in ([worker(1)], []):
        stage = Stage(endpoint, fleet, offers=0)
        stage.offers = [offer(name, perf=0.0, kind="unknown") for name in range(1, 31)]
        for _ in range(5):
            stage.second()
        assert stage.count(Kind.RENT) == 2 - len(fleet)


def test_37_the_worst_price_per_performance_sleeps_first() -> None:
    fleet = [worker(1), worker(2, price=0.90), worker(3)]
    endpoint = msgspec.structs.replace(FREE, idle_before_zero_s=-1.0)
    stage = Stage(endpoint, fleet)
    for _ in range(400):
        stage.second()
    slept = [one.worker for _, one in stage.done if one.kind is Kind.SLEEP]
    assert slept[0] == 2
    assert stage.awake() == 1


def test_a_worker_too_many_is_kept_for_a_while_and_then_given_back() -> None:
    stage = Stage(FREE, [worker(name, State.STOPPED) for name in range(1, 4)])
    for _ in range(int(KEEP_S) - 10):
        stage.second()
    assert stage.count(Kind.DESTROY) == 0
    for _ in range(700):
        stage.second()
    assert stage.count(Kind.DESTROY) == 3


def test_one_too_many_that_every_batch_wakes_is_given_back_all_the_same() -> None:
    """A batch is late whoever is woken for it; that it wakes everybody makes nobody needed."""
    fleet = [worker(name, State.STOPPED) for name in range(1, 9)]
    stage = Stage(msgspec.structs.replace(FREE, late_weight=0.0), fleet)
    for second in range(4 * 3_600):
        since_s = second % 1_200
        waits = Waiting(requests=20, units=80_000.0, oldest_s=1.0) if since_s < 60 else Waiting()
        stage.second(20 * (since_s == 0), waiting=waits)
    assert max(Counter(at_s for at_s, one in stage.done if one.kind is Kind.WAKE).values()) > 5
    assert stage.count(Kind.DESTROY) >= 3
    assert stage.workers
    assert not any("1e-" in one.reason for _, one in stage.done)


def test_a_batch_that_is_late_whatever_is_woken_is_worked_off_by_one_worker() -> None:
    """300 requests within the first minute of every hour, and a start takes half of that minute."""
    stage = Stage(FREE, [worker(name, State.STOPPED) for name in range(1, 9)])
    backlog = 0.0
    for second in range(8 * 3_600):
        came = 5 if second % 3_600 < 60 else 0
        serving = sum(one.perf for one in stage.workers.values() if one.state is State.READY)
        backlog = max(0.0, backlog + came * 300.0 - serving)
        waits = Waiting(requests=math.ceil(backlog / 300), units=backlog, oldest_s=1.0)
        stage.second(came, waiting=waits if backlog else Waiting())
    woken = Counter((at_s - 1_001) // 3_600 for at_s, one in stage.done if one.kind is Kind.WAKE)
    assert max(woken.values()) > 5
    assert [woken[hour] for hour in range(4, 8)] == [1, 1, 1, 1]
    assert len(stage.workers) == 1
    assert any("worked off" in one.reason for _, one in stage.done)


@pytest.mark.parametrize("rest_s", [600, 3_000])
def test_the_only_worker_of_rare_requests_is_not_given_back_to_be_rented_again(rest_s: int) -> None:
    stage = Stage(FREE, [worker(1, State.STOPPED)])
    for second in range(12 * 3_600):
        stage.second(second % rest_s == 0)
    assert stage.count(Kind.DESTROY) == stage.count(Kind.RENT) == 0


def test_two_for_rare_requests_become_one_and_the_reason_is_no_number_of_units() -> None:
    stage = Stage(FREE, [worker(1, State.STOPPED), worker(2, State.STOPPED)])
    for second in range(3 * 3_600):
        stage.second(second % 3_000 == 0)
    (reason,) = (one.reason for _, one in stage.done if one.kind is Kind.DESTROY)
    assert reason.startswith("1 worker is wanted on disk and 600 units/s are there, for 2 h")


def test_a_taken_worker_is_replaced_by_one() -> None:
    """Nothing is known of a worker's size while there is none but that of the last ones."""
    stage = Stage(FREE, [worker(1, State.STOPPED)])
    for second in range(2 * 3_600):
        stage.second(second % 600 < 60 and second % 2)
    stage.workers = {one.id: one for one in [worker(1, State.TAKEN)]}
    costs, rented = list(stage.memory.auto.pool.costs), stage.count(Kind.RENT)
    for second in range(60):
        stage.second(second == 0, waiting=Waiting(requests=1, units=300.0, oldest_s=1.0))
    assert stage.count(Kind.RENT) == rented + 1
    worst = max(new - old for new, old in zip(stage.memory.auto.pool.costs, costs, strict=True))
    assert worst < 20 * nano(0.1), "a shadow pool of hundreds of workers was paid for"


def test_a_reason_says_what_is_wanted_what_is_there_and_by_which_rule() -> None:
    stage = Stage(FREE, [worker(1, State.STOPPED)])
    stage.second(1, waiting=Waiting(requests=1, units=300.0, oldest_s=0.5))
    (_, decision), *_ = stage.done
    assert "units/s are wanted awake" in decision.reason
    assert "1 requests wait" in decision.reason


def test_the_first_worker_is_rented_for_no_number_of_units() -> None:
    stage = Stage(FREE, [])
    stage.second(1, waiting=Waiting(requests=1, units=0.0, oldest_s=0.5))
    (_, decision), *_ = stage.done
    assert decision.kind is Kind.RENT
    assert decision.reason == "1 worker is wanted to begin with"
