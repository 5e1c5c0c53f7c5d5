"""Load is the sum over a set: it cannot drift, whatever happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mercato.pyworker.measure import FINISHED_MAX, Measure, Outcome
from tests.pyworker.surroundings import ManualClock

units = st.floats(0, 1e6)


class Requests(RuleBasedStateMachine):
    """Any requests come, begin, end and are turned away, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.measure = Measure(ManualClock())
        self.here: dict[int, tuple[int, float, bool, bool]] = {}
        self.ended = 0
        self.told = 0.0
        self.served = 0.0

    @rule(idx=st.integers(0, 9), load=units, session=st.booleans())
    def come(self, *, idx: int, load: float, session: bool) -> None:
        number = self.measure.start(idx, load, session=session)
        self.here[number] = (idx, load, session, False)

    @rule(load=units)
    def come_in_session(self, load: float) -> None:
        self.here[self.measure.start_in_session(load)] = (0, load, False, True)

    @rule(which=st.integers(0, 99), outcome=st.sampled_from(Outcome))
    def end(self, which: int, outcome: Outcome) -> None:
        if self.here:
            number = sorted(self.here)[which % len(self.here)]
            _, load, _, inside = self.here.pop(number)
            self.measure.end(number, outcome)
            self.ended += not inside
            self.served += load if outcome is Outcome.SUCCESS else 0.0

    @rule(idx=st.integers(0, 9), load=units)
    def turn_away(self, idx: int, load: float) -> None:
        self.measure.reject(idx, load)
        self.ended += 1

    @rule()
    def report(self) -> None:
        since = self.measure.since.copy()
        self.told += since.served
        self.measure.since = self.measure.since.less(since)

    @invariant()
    def load_is_what_is_here(self) -> None:
        known = [(idx, load) for idx, load, _, inside in self.here.values() if not inside]
        assert self.measure.load == sum(load for _, load in known)
        assert sorted(self.measure.request_idxs) == sorted(idx for idx, _ in known)
        working = [load for _, load, session, _ in self.here.values() if not session]
        assert self.measure.units_ahead == sum(working)
        for limit in (0.0, sum(working) / 2, sum(working), 2 * sum(working) + 1):
            assert self.measure.exceeds(limit) == (sum(working) > limit)
        assert self.measure.requests == len(working)
        assert len(self.measure.finished) == self.ended
        assert self.told + self.measure.since.served == pytest.approx(self.served)

    def teardown(self) -> None:
        for number in tuple(self.here):
            self.measure.end(number, Outcome.CANCELLED)
        assert self.measure.load == 0.0
        assert self.measure.units_ahead == 0.0
        assert self.measure.request_idxs == []


TestRequests = Requests.TestCase


def test_what_was_told_while_old_ones_went_drops_nothing_untold() -> None:
    measure = Measure(ManualClock())
    for idx in range(FINISHED_MAX):
        measure.reject(idx, 1.0)
    measure.told(2)
    assert measure.finished[0].request_idx == 2
    for idx in range(FINISHED_MAX, FINISHED_MAX + 3):
        measure.reject(idx, 1.0)
    kept = list(measure.finished)
    assert kept[-1].request_idx == FINISHED_MAX + 2
    measure.told(1_000)  # an answer to a report of some that went meanwhile
    assert measure.finished == kept


@given(st.sampled_from(Outcome))
def test_times_are_told_in_their_order(outcome: Outcome) -> None:
    clock = ManualClock()
    measure = Measure(clock)
    number = measure.start(7, 1.0)
    clock.time_s += 1
    measure.begin(number)
    clock.time_s += 1
    measure.end(number, outcome)
    (told,) = measure.finished
    assert (told.request_idx, told.status) == (7, str(outcome))
    assert told.work_started_at - told.entered_queue_at == 1


def test_what_does_not_wait_has_begun_by_coming() -> None:
    clock = ManualClock()
    measure = Measure(clock)
    numbers = [measure.start(7, 1.0, waits=False), measure.start_in_session(1.0, waits=False)]
    clock.time_s += 1
    for number in numbers:
        measure.end(number, Outcome.SUCCESS)
    (told,) = measure.finished
    assert told.work_started_at == told.entered_queue_at == told.work_completed_at - 1
