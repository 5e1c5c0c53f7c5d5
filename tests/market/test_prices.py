"""Price figures and survival: laws, and a case worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.prices import Spell, Weighted, depth, quantile, survival

weighted = st.lists(st.builds(Weighted, st.integers(0, 50), st.integers(0, 8)), max_size=30)
spells = st.lists(
    st.builds(
        Spell, price=st.integers(90, 110), lasted_ms=st.integers(0, 1_000), displaced=st.booleans()
    ),
    min_size=1,
    max_size=40,
)


@given(weighted, st.floats(0.01, 1))
def test_a_quantile_is_the_price_that_the_gpus_one_by_one_would_say(
    found: list[Weighted], share: float
) -> None:
    each = sorted(one.price for one in found for _ in range(one.gpus))
    expected = next(
        (price for at, price in enumerate(each, start=1) if at >= share * len(each)), None
    )
    assert quantile(found, share) == expected


@given(weighted)
def test_depth_rises_with_the_price_to_all_that_there_is(found: list[Weighted]) -> None:
    steps = depth(found)
    assert [one.price for one in steps] == sorted({one.price for one in found if one.gpus})
    for step in steps:
        assert step.gpus == sum(one.gpus for one in found if one.price <= step.price)


@given(spells)
def test_longer_is_never_likelier_and_bounds_hold(found: list[Spell]) -> None:
    before = 1.0
    for for_ms in range(0, 1_001, 100):
        said = survival(found, 100, for_ms)
        if said.probability is None:
            break
        assert said.low is not None
        assert 0 <= said.low <= said.probability <= before
        before = said.probability


@given(spells)
def test_where_nothing_is_cut_short_it_is_the_share_that_lasted(found: list[Spell]) -> None:
    ended = [Spell(price=100, lasted_ms=one.lasted_ms, displaced=True) for one in found]
    said = survival(ended, 100, 500)
    share = sum(one.lasted_ms > 500 for one in ended) / len(ended)
    assert said.probability == pytest.approx(share) or said.probability is None


def test_a_case_worked_by_hand() -> None:
    # 6 at risk: displaced at 1 (5/6), left at 2, displaced at 3 (3/4), two left at 4 and 5, 6 on.
    lasted = [(1, True), (2, False), (3, True), (4, False), (5, False), (6, False)]
    found = [Spell(price=100, lasted_ms=at, displaced=lost) for at, lost in lasted]
    said = survival(found, 100, 5)
    assert said.probability == pytest.approx(5 / 6 * 3 / 4)
    assert survival(found, 100, 7).probability is None
    assert survival([], 100, 5).probability is None


def test_cheaper_spells_stand_in_where_there_are_few_of_its_like() -> None:
    cheap = [Spell(price=10, lasted_ms=50, displaced=False)] * 3
    dear = [Spell(price=500, lasted_ms=1, displaced=True)] * 3
    assert survival(cheap + dear, 100, 40).probability == 1
    assert survival(dear, 100, 40).spells == 0
