"""How much is being asked, and when it is suddenly more."""

from hypothesis import given
from hypothesis import strategies as st

from mercato.serverless.load import CALM_S, SURGE_S, Load, Waiting


def asked(load: Load, from_s: int, seconds: int, a_second: int, units: float) -> float:
    """Let so many requests come every second; the highest surge that was seen."""
    highest = 0.0
    for second in range(from_s, from_s + seconds):
        for _ in range(a_second):
            load.arrive(float(second), units)
        load.tick(second + 1.0, Waiting())
        highest = max(highest, load.surge)
    return highest


@given(st.integers(0, 30), st.floats(1, 3_000))
def test_what_comes_evenly_is_no_surge_not_even_as_it_begins(a_second: int, units: float) -> None:
    assert asked(Load(), 1, 3 * CALM_S, a_second, units) == 0


@given(st.integers(0, 30), st.floats(1, 3_000))
def test_three_times_as_much_is_seen_within_seconds_at_its_full_rate(
    a_second: int, units: float
) -> None:
    load, more = Load(), 3 * a_second + 2
    asked(load, 1, 2 * CALM_S, a_second, units)
    seen = asked(load, 1 + 2 * CALM_S, SURGE_S, more, units)
    assert abs(seen - more * units) <= 1e-6 * seen
    # It is what is usual after a while.
    asked(load, 1 + 2 * CALM_S + SURGE_S, CALM_S, more, units)
    assert load.surge == 0


@given(st.integers(1, 20))
def test_a_few_more_are_chance(a_second: int) -> None:
    load = Load()
    asked(load, 1, 2 * CALM_S, a_second, 300.0)
    assert asked(load, 1 + 2 * CALM_S, SURGE_S, a_second + 1, 300.0) == 0


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0.1, 5_000)), max_size=60))
def test_when_all_is_done_nothing_is_needed(asked: list[tuple[float, float]]) -> None:
    """Not even what rounding leaves: it would keep a worker awake, or wake one each second."""
    load = Load(slot_perf=37.5)
    arrivals = sorted(asked)
    for second in range(1, 1_800):
        while arrivals and arrivals[0][0] < second:
            load.arrive(*arrivals.pop(0))
        load.tick(float(second), Waiting())
    assert load.need == load.quick == load.calm == 0
