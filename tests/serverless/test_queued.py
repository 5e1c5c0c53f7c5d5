"""The policy `queue`, and the renewal of workers: scenarios and laws."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mercato.market.ids import ContractId, MachineId, OfferId
from mercato.market.money import NanoUsdPerHour
from mercato.serverless.decision import Kind
from mercato.serverless.endpoint import Endpoint, Group, GroupId
from mercato.serverless.load import Load, Waiting
from mercato.serverless.queued import GIVE_BACK_S, queued
from mercato.serverless.recruit import Candidate
from mercato.serverless.scale import renew
from mercato.serverless.worker import Outlook, State, Worker

NOW = 1_000_000.0
GROUP = GroupId(1)


def worker(number: int, state: State, **more: Any) -> Worker:
    more.setdefault("perf", 100.0)
    price = NanoUsdPerHour(more.pop("price", 1_000))
    return Worker(
        id=ContractId(number),
        group=GROUP,
        machine=MachineId(number),
        kind="1x RTX 4090",
        gpu_price=price,
        on_demand_price=price,
        storage_price=NanoUsdPerHour(10),
        state=state,
        **more,
    )


def offer(number: int, price: int, **more: Any) -> Candidate:
    return Candidate(
        offer=OfferId(number),
        group=GROUP,
        machine=MachineId(number),
        kind=more.pop("kind", "1x RTX 4090"),
        gpu_price=NanoUsdPerHour(price),
        storage_price=NanoUsdPerHour(10),
        estimate=more.pop("estimate", 100.0),
        **more,
    )


def load(requests: int = 0, oldest_s: float = 0.0, last_s: float = NOW) -> Load:
    found = Load(last_s=last_s, now_s=NOW)
    found.waiting = Waiting(requests=requests, units=100.0 * requests, oldest_s=oldest_s)
    return found


ZERO = Endpoint(workers_min=0)


def test_a_first_request_wakes_who_sleeps_and_else_rents() -> None:
    asleep = [worker(1, State.STOPPED, price=9), worker(2, State.STOPPED, price=5)]
    (woken,) = queued(NOW, ZERO, load(1), asleep, [offer(7, 1)])
    assert (woken.kind, woken.worker) == (Kind.WAKE, 2)
    (rented,) = queued(NOW, ZERO, load(1), [], [offer(7, 300), offer(8, 200)])
    assert (rented.kind, rented.offer) == (Kind.RENT, 8)
    assert "1 requests wait" in rented.reason
    assert queued(NOW, ZERO, load(1), [], []) == []


def test_a_delay_adds_one_worker_and_no_more_while_it_comes() -> None:
    ready = [worker(1, State.READY, requests=4)]
    assert queued(NOW, ZERO, load(3, oldest_s=3.9), ready, [offer(7, 1)]) == []
    (rented,) = queued(NOW, ZERO, load(3, oldest_s=4.1), ready, [offer(7, 1)])
    assert rented.kind is Kind.RENT
    coming = [*ready, worker(2, State.LOADING)]
    assert queued(NOW, ZERO, load(3, oldest_s=60.0), coming, [offer(7, 1)]) == []


def test_measured_work_per_dollar_decides_and_a_host_with_the_image_goes_first() -> None:
    slow = worker(1, State.READY, requests=1, perf=10.0)
    offers = [offer(7, 100), offer(8, 150, kind="1x H100", estimate=120.0)]
    (rented,) = queued(NOW, ZERO, load(1, 9.0), [slow], offers)
    assert rented.offer == 8
    (near,) = queued(NOW, ZERO, load(1, 9.0), [slow], [*offers, offer(9, 400, holds_image=True)])
    assert near.offer == 9


def test_idle_workers_sleep_and_the_last_one_only_as_the_endpoint_says() -> None:
    idle = [worker(1, State.READY, idle_since_s=NOW - 61), worker(2, State.READY, requests=1)]
    (slept,) = queued(NOW, ZERO, load(), idle, [])
    assert (slept.kind, slept.worker) == (Kind.SLEEP, 1)
    last = [worker(1, State.READY, idle_since_s=NOW - 61)]
    assert [one.kind for one in queued(NOW, ZERO, load(), last, [])] == [Kind.SLEEP]
    for stays in (
        Endpoint(workers_min=0, load_min=1.0),
        Endpoint(workers_min=0, idle_before_zero_s=-1.0),
        Endpoint(workers_min=0, idle_before_zero_s=600.0),
    ):
        assert queued(NOW, stays, load(last_s=NOW - 300), last, []) == []
    gone = Endpoint(workers_min=0, idle_before_zero_s=600.0)
    assert queued(NOW, gone, load(last_s=NOW - 601), last, [])


def test_the_minimum_is_kept_on_disk_and_more_is_given_back_after_a_day() -> None:
    endpoint = Endpoint(workers_min=2)
    (rented,) = queued(NOW, endpoint, load(), [worker(1, State.STOPPED)], [offer(7, 1)])
    assert "at least 2" in rented.reason
    old = [worker(n, State.STOPPED, since_s=NOW - GIVE_BACK_S, price=n) for n in (1, 2, 3)]
    (given,) = queued(NOW, endpoint, load(), old, [])
    assert (given.kind, given.worker) == (Kind.DESTROY, 3)


def test_what_loads_keeps_nobody_asleep_and_is_no_reason_to_sleep() -> None:
    loading = worker(2, State.LOADING)
    (woken,) = queued(NOW, ZERO, load(1, 60.0), [worker(1, State.STOPPED), loading], [offer(7, 1)])
    assert (woken.kind, woken.worker) == (Kind.WAKE, 1)
    starting = [worker(1, State.STARTING), worker(3, State.STOPPED, since_s=NOW), loading]
    assert queued(NOW, ZERO, load(1, 60.0), starting, [offer(7, 1)]) == []
    always = Endpoint(workers_min=0, idle_before_zero_s=-1.0)
    idle = [worker(1, State.READY, idle_since_s=NOW - 999), loading]
    assert queued(NOW, always, load(), idle, []) == []
    (woken,) = queued(NOW, always, load(), [worker(1, State.STOPPED), loading], [offer(7, 1)])
    assert woken.kind is Kind.WAKE


def test_a_floor_of_load_is_kept_awake_one_worker_after_the_other() -> None:
    floor = Endpoint(workers_min=0, load_min=180.0, utilisation=0.9)
    (rented,) = queued(NOW, floor, load(), [worker(1, State.READY)], [offer(7, 1)])
    assert rented.kind is Kind.RENT
    assert rented.reason == "200 units/s are to be awake always and 100 are"
    fleet = [worker(1, State.READY), worker(2, State.LOADING), worker(3, State.STOPPED)]
    (woken,) = queued(NOW, floor, load(), fleet, [offer(7, 1)])
    assert (woken.kind, woken.worker) == (Kind.WAKE, 3)
    assert queued(NOW, floor, load(), fleet[:2], [offer(7, 1)]) == []
    three = [worker(n, State.READY, idle_since_s=NOW - 999, price=n) for n in (1, 2, 3)]
    assert [one.worker for one in queued(NOW, floor, load(), three, [])] == [3]


def test_at_its_maximum_nobody_is_rented_though_some_cannot_wake() -> None:
    full = Endpoint(workers_min=0, workers_max=1)
    assert queued(NOW, full, load(1), [worker(1, State.TAKEN, since_s=NOW)], [offer(7, 1)]) == []


states = st.sampled_from(State)
fleets = st.lists(
    st.builds(
        lambda number, state, busy, idle: worker(
            number, state, requests=busy, idle_since_s=NOW - idle
        ),
        st.integers(1, 999),
        states,
        st.integers(0, 2),
        st.floats(0, 200_000),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)


@given(fleets, st.integers(0, 6), st.integers(0, 12), st.integers(0, 5), st.floats(0, 100))
def test_no_fleet_grows_past_its_maximum_nor_busy_workers_sleep(
    fleet: list[Worker], least: int, room: int, waiting: int, oldest_s: float
) -> None:
    endpoint = Endpoint(workers_min=least, workers_max=least + room)
    said = queued(NOW, endpoint, load(waiting, oldest_s), fleet, [offer(7, 1)])
    by_id = {one.id: one for one in fleet}
    kept = sum(one.state.outlook is not Outlook.NONE for one in fleet)
    over = len(fleet) > endpoint.workers_max
    for decision in said:
        assert decision.reason
        match decision.kind:
            case Kind.RENT:
                assert len(fleet) < endpoint.workers_max
            case Kind.SLEEP:
                assert decision.worker is not None
                assert over or by_id[decision.worker].requests == 0
            case Kind.DESTROY:
                assert decision.worker is not None
                taken = by_id[decision.worker].state is State.TAKEN
                assert over or taken or kept > endpoint.workers_min
            case _:
                pass
    assert sum(decision.kind in {Kind.RENT, Kind.WAKE} for decision in said) <= 1


def test_33_renewal_takes_sleepers_at_once_and_those_that_serve_one_by_one() -> None:
    group = [Group(id=GROUP, version=2)]
    fleet = [
        worker(1, State.STOPPED, version=1),
        worker(2, State.READY, version=1, work=9.0),
        worker(3, State.READY, version=1),
        worker(4, State.READY, version=2),
    ]
    assert [one.worker for one in renew(group, fleet)] == [1, 3]
    fleet[2].state = State.UPDATING
    assert [one.worker for one in renew(group, fleet)] == [1]
    assert renew(group, [worker(5, State.READY, version=2)]) == []


def test_the_only_one_that_serves_is_renewed_after_those_that_sleep() -> None:
    group = [Group(id=GROUP, version=2)]
    asleep = [worker(n, State.STOPPED, version=1) for n in range(1, 6)]
    alone = worker(6, State.READY, version=1)
    assert [one.worker for one in renew(group, [*asleep, alone])] == [1, 2, 3, 4, 5]
    renewed = worker(1, State.STOPPED, version=2)
    assert [one.worker for one in renew(group, [renewed, alone])] == [6]
