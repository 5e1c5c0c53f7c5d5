"""When contracts go on, and when their renters are warned."""

from hypothesis import given
from hypothesis import strategies as st

from mercato.market.lasting import WARNED_BEFORE_MS, due_warning, is_later

END = 10_000_000_000
times = st.integers(END - 2 * max(WARNED_BEFORE_MS), END + 10**9)


@given(st.lists(times, min_size=1, max_size=60))
def test_each_warning_is_given_once_however_often_one_looks(looks: list[int]) -> None:
    warned: int | None = None
    given: list[int] = []
    for now_ms in sorted(looks):
        stage = due_warning(END, now_ms, warned)
        if stage is not None:
            assert END - now_ms <= stage
            assert now_ms < END
            given.append(stage)
            warned = stage
        assert due_warning(END, now_ms, warned) is None
    assert given == sorted(set(given), reverse=True)


def test_no_end_is_later_than_any() -> None:
    assert is_later(None, 5)
    assert is_later(6, 5)
    assert not is_later(5, 5)
    assert not is_later(None, None)
    assert not is_later(7, None)
