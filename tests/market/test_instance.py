"""An instance's states: every combination of facts has one, and it is true to what it says."""

from itertools import product

import pytest

from mercato.market.instance import Actual, Bills, Facts, Intended, State, state_of

EVERY_FACT = [
    Facts(
        intended=intended, actual=actual, holds_gpus=holds, machine_online=online, pausing=pausing
    )
    for intended, actual, holds, online, pausing in product(
        Intended, Actual, (True, False), (True, False), (True, False)
    )
]


def test_every_combination_of_facts_has_a_state() -> None:
    assert len({(facts, state_of(facts)) for facts in EVERY_FACT}) == 3 * 6 * 2 * 2 * 2


def test_every_state_can_be_reached() -> None:
    assert {state_of(facts) for facts in EVERY_FACT} == set(State)


def test_what_holds_gpus_is_in_a_state_that_may() -> None:
    for facts in EVERY_FACT:
        assert state_of(facts).may_hold_gpus or not facts.holds_gpus, facts


def test_gpu_time_is_billed_exactly_while_a_wanted_container_runs_on_gpus_it_holds() -> None:
    for facts in EVERY_FACT:
        runs = facts == Facts(
            intended=Intended.RUNNING, actual=Actual.RUNNING, holds_gpus=True, machine_online=True
        )
        assert (state_of(facts).bills is Bills.STORAGE_AND_GPU) == runs, facts


def test_storage_is_billed_from_creation_to_destroy_while_the_host_can_be_heard() -> None:
    for facts in EVERY_FACT:
        ended = facts.intended is Intended.DESTROYED
        billed = state_of(facts).bills is not Bills.NOTHING
        assert billed == (facts.machine_online and not ended), facts


def test_what_was_told_to_end_never_shows_another_state() -> None:
    for facts in EVERY_FACT:
        ending = state_of(facts) in {State.DESTROYING, State.DESTROYED}
        assert ending == (facts.intended is Intended.DESTROYED), facts


def test_what_is_destroyed_leaves_nothing_behind() -> None:
    for facts in EVERY_FACT:
        if state_of(facts) is State.DESTROYED:
            assert facts.actual is Actual.ABSENT
            assert not facts.holds_gpus


@pytest.mark.parametrize("state", State)
def test_states_tell_a_person_what_they_mean(state: State) -> None:
    assert state.label
    assert state.meaning
    assert [one for one in State if one.label == state.label] == [state]
