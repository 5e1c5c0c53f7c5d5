"""How long a need stays above a level: what the levels below have shown is believed a little."""

from hypothesis import given
from hypothesis import strategies as st

from mercato.serverless.levels import PRIOR_S, Levels


def lived(spells: list[tuple[float, int]]) -> Levels:
    """Levels that saw each need for so many half minutes."""
    levels = Levels()
    for need, bins in spells:
        for _ in range(bins):
            levels.live(need, 30.0)
    return levels


def test_nothing_seen_lasts_as_long_as_is_believed_beforehand() -> None:
    assert lived([]).lasts_s(1_000.0) == PRIOR_S


@given(st.integers(30, 60))
def test_a_batch_that_was_always_over_in_a_minute_is_not_long_a_little_higher(times: int) -> None:
    levels = lived([(100.0, 38), (1_000.0, 2)] * times)
    assert levels.lasts_s(700.0) < 150
    assert levels.lasts_s(900.0) < 300
    assert levels.lasts_s(20_000.0) > 0.8 * PRIOR_S, "that says little of what is far above"


@given(st.integers(1, 100))
def test_a_spell_that_goes_on_counts_for_the_time_it_has_lasted(bins: int) -> None:
    levels = lived([(100.0, 38), (1_000.0, 2)] * 20)
    before_s = levels.lasts_s(1_500.0)
    for _ in range(bins):
        levels.live(2_000.0, 30.0)
    assert levels.lasts_s(1_500.0) >= max(before_s, 30.0 * bins)
