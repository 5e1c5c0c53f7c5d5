"""Recorded traffic and the API's names become what the replay takes."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.sdk.endpoint_calls import DAY_S, Endpoint, Second, Traffic, Worker, joined, spans
from mercato.sdk.errors import BadQuery
from mercato.sdk.whatif import Kind, arrivals, parameters, played, terms
from mercato.serverless.endpoint import Endpoint as Parameters
from mercato.serverless.endpoint import Policy
from mercato.wire.naming import PARAMETERS

SHOWN = Endpoint(
    id=1,
    endpoint_state="active",
    policy="auto",
    target_util=0.9,
    cold_mult=2.5,
    max_workers=4,
    max_queue_time=30,
    target_queue_time=10,
)


def test_every_parameter_has_its_name_on_both_sides() -> None:
    assert set(PARAMETERS) <= set(Endpoint.__struct_fields__)
    assert set(PARAMETERS.values()) <= set(Parameters.__struct_fields__)


def test_changes_stand_over_what_is() -> None:
    made = parameters(SHOWN, {"target_util": "0.8", "policy": "queue", "max_workers": 2})
    assert (made.utilisation, made.policy, made.workers_max) == (0.8, Policy.QUEUE, 2)
    assert made.wait_aim_s == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"speed": 3}, "no parameter 'speed'.*target_util"),
        ({"max_workers": "many"}, "^max_workers: expected"),
        ({"policy": "best"}, "^policy: invalid"),
        ({"target_util": 2}, "target_util"),
        ({"min_load": "nan"}, "number"),
        ({"cold_mult": -1}, "^cold_mult is at least 1$"),
        ({"late_weight": -5}, "^late_weight is at least 0$"),
        ({"min_cold_load": -1}, "^min_cold_load is at least 0$"),
        ({"interruptible_share": 2}, "^interruptible_share is from 0 to 1$"),
        ({"max_workers": -1}, "^max_workers is from 0"),
    ],
)
def test_what_no_endpoint_can_have_is_refused_in_words(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(BadQuery, match=words):
        parameters(SHOWN, changes)


def test_the_most_workers_win_over_the_least() -> None:
    assert parameters(SHOWN, {"cold_workers": 9}).workers_min == 4
    assert parameters(SHOWN, {"cold_workers": 9, "max_workers": 12}).workers_min == 9


def test_what_is_can_be_played_whatever_it_is() -> None:
    odd = msgspec.structs.replace(SHOWN, late_weight=-5, cold_mult=0)
    assert parameters(odd, {"target_util": 0.8}).late_weight == -5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e300])
@pytest.mark.parametrize(
    "name", ["gpu_price", "storage_price", "perf", "slots", "start_s", "load_s"]
)
def test_a_worker_that_cannot_be_is_refused_by_its_option(name: str, value: float) -> None:
    with pytest.raises(BadQuery, match=f"^--{name.replace('_', '-')} must be a number"):
        Kind(**{name: value})  # type: ignore[arg-type]


def test_nothing_is_a_price_and_no_performance() -> None:
    assert Kind(gpu_price=0, storage_price=0, start_s=0, load_s=0).gpu_price == 0
    for kind in ({"perf": 0.0}, {"slots": 0}):
        with pytest.raises(BadQuery, match="above 0"):
            Kind(**kind)


SECONDS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(1, 50), st.floats(0, 1e6)),
    unique_by=lambda row: row[0],
).map(lambda rows: [Second(*row) for row in sorted(rows)])


@given(SECONDS)
def test_the_requests_of_a_second_stay_in_it_in_order_with_their_units(
    seconds: list[Second],
) -> None:
    asked = arrivals(Traffic(seconds=seconds))
    assert len(asked) == Traffic(seconds=seconds).requests
    times = [one.at_s for one in asked]
    assert times == sorted(times)
    assert {int(at_s) for at_s in times} == {one.at for one in seconds}
    assert sum(one.units for one in asked) == pytest.approx(sum(one.units for one in seconds))


@given(st.floats(0, 1e6), st.floats(0, 40 * DAY_S))
def test_a_span_is_asked_for_a_day_at_a_time(since: float, length: float) -> None:
    parts = spans(since, since + length)
    assert all(begin < end <= begin + DAY_S for begin, end in parts)
    assert [end for _, end in parts[:-1]] == [begin for begin, _ in parts[1:]]
    if parts:
        assert (parts[0][0], parts[-1][1]) == (since, since + length)


@pytest.mark.parametrize(
    ("since", "until"),
    [(-math.inf, 0.0), (math.nan, 0.0), (0.0, math.inf), (0.0, math.nan), (0.0, 1e18)],
)
def test_a_span_without_an_end_is_refused(since: float, until: float) -> None:
    with pytest.raises(BadQuery):
        spans(since, until)


def test_before_the_epoch_there_was_nothing() -> None:
    assert spans(-1e18, 3 * DAY_S) == spans(0, 3 * DAY_S)


def test_a_worker_is_as_they_were_measured_unless_it_is_said_otherwise() -> None:
    traffic = Traffic(gpu_price=0.36, storage_price=0.02)
    workers = [Worker(id=1, perf=90, slots=4), Worker(id=2, perf=110, slots=4), Worker(id=3)]
    found = terms(traffic, workers, Kind())
    assert (found.perf, found.slots, found.gpu_price) == (110, 4, 360_000_000)
    assert terms(traffic, workers, Kind(perf=50, slots=1)).perf == 50
    with pytest.raises(BadQuery, match="--perf, --gpu-price, --storage-price"):
        terms(Traffic(), [], Kind())


def test_a_day_of_traffic_is_replayed_and_none_is_not() -> None:
    days = [
        Traffic(seconds=[Second(60 * n + 5, 3, 300.0) for n in range(30)]),
        Traffic(gpu_price=0.36),
    ]
    worker = msgspec.structs.replace(
        terms(joined(days), [Worker(id=1, perf=100)], Kind(storage_price=0.02)), awake=1
    )
    few = played(joined(days), parameters(SHOWN, {}), worker, 0, 3_600)
    assert few.requests == 90
    assert few.cost > 0
    with pytest.raises(BadQuery, match="no recorded traffic"):
        played(Traffic(), parameters(SHOWN, {}), worker, 0, 3_600)
