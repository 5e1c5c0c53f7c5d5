"""Rows that are kept as they were shown are those that would be made now, and are not too many."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mercato.catalog import shown
from mercato.catalog.language import parse
from mercato.catalog.schema import Ask, Schema
from mercato.catalog.shown import Answers, Shown


@given(
    st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(0, 9), unique=True), st.booleans()))
)
def test_what_is_kept_is_what_would_be_made(
    requests: list[tuple[int, list[int], bool]],
) -> None:
    stored = {place: bytes([place]) * 2 for place in range(10)}

    def make(places: Sequence[int], ask: Ask) -> list[bytes]:
        return [b"%b for %d" % (stored[place], ask.seed) for place in places]

    kept = Shown(make)
    for seed, places, changes in requests:
        if changes and places:
            stored[places[0]] += b"!"
        ask = Ask(0, 8.0, "on-demand", seed)
        rows = kept.rows(places, [stored[place] for place in places], ask)
        assert rows == make(places, ask)


def test_the_rows_kept_are_not_too_many() -> None:
    def make(places: Sequence[int], ask: Ask) -> list[bytes]:
        return [b"%d %d" % (place, ask.seed) for place in places]

    kept = Shown(make)
    many = list(range(1_000))
    rows = [b"%d" % place for place in many]
    for seed in range(20):
        kept.rows(many, rows, Ask(0, 8.0, "on-demand", seed))
        assert kept._count == sum(map(len, kept._kept.values())) <= shown.KEPT_MAX
    assert Ask(0, 8.0, "on-demand", 19) in kept._kept
    assert Ask(0, 8.0, "on-demand", 0) not in kept._kept


def test_answers_are_kept_until_a_row_changes_and_are_not_too_many() -> None:
    answers = Answers()
    schema = Schema(columns=())
    ask = Ask(0, 8.0, "on-demand")
    one, other = parse({}, schema), parse({}, schema)
    answers.keep(one, ask, [b"{}"])
    assert answers.given(one, ask) == [b"{}"]
    assert answers.given(other, ask) is None, "another query, though it says the same"
    assert answers.given(one, Ask(0, 9.0, "on-demand")) is None
    answers.forget()
    assert answers.given(one, ask) is None
    for _ in range(100):
        answers.keep(parse({}, schema), ask, [b"{}"] * 1_000)
        assert sum(1 + len(rows) for rows in answers._given.values()) <= shown.KEPT_MAX
    answers.keep(one, ask, [b"{}"] * (shown.KEPT_MAX + 1))
    assert answers.given(one, ask) is None
