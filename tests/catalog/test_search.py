"""Searches give what a plain reading of the rows gives."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mercato.catalog.index import Index
from mercato.catalog.language import KNOWN_MAX, Queries, parse, parse_text, written
from mercato.catalog.schema import Column, Kind, Schema
from mercato.market.errors import InvalidQuery

SCHEMA = Schema(
    columns=(
        Column("price", Kind.FLOAT),
        Column("gpus", Kind.INT),
        Column("name", Kind.STRING, fold=lambda text: text.replace("_", " ").replace("-", " ")),
        Column("external", Kind.BOOL, missing=0.0),
        Column("free", Kind.BOOL),
    ),
    text_units={"price": 1_000.0},
)
ROW = st.fixed_dictionaries(
    {
        "price": st.none() | st.integers(0, 4),
        "gpus": st.none() | st.integers(0, 4),
        "name": st.none() | st.sampled_from(["A 1", "A-1", "B", "C"]),
        "external": st.none() | st.booleans(),
        "free": st.none() | st.booleans(),
    }
)
VALUES = {
    "price": st.integers(0, 4),
    "gpus": st.integers(0, 4),
    "name": st.sampled_from(["A_1", "B", "D"]),
    "external": st.booleans(),
    "free": st.booleans() | st.just(7),
}
OPERATION = st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte"])
PART = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.tuples(OPERATION, VALUES[name])
        | st.tuples(
            st.sampled_from(["in", "notin"]), st.lists(st.none() | VALUES[name], max_size=3)
        ),
    )
)


def fold(value: Any) -> Any:
    return value.replace("_", " ").replace("-", " ") if isinstance(value, str) else value


def holds(row: dict[str, Any], name: str, operator: str, wanted: Any) -> bool:
    value = fold(row[name])
    value = False if name == "external" and value is None else value
    if operator in {"in", "notin"}:
        found = value in [fold(one) for one in wanted]
        return found if operator == "in" else not found and (value is not None)
    if value is None:
        return False
    wanted = fold(wanted)
    return bool({
        "eq": value == wanted, "neq": value != wanted, "gt": value > wanted,
        "gte": value >= wanted, "lt": value < wanted, "lte": value <= wanted,
    }[operator])  # fmt: skip


@given(
    st.lists(st.tuples(st.dictionaries(st.integers(1, 30), ROW), st.sets(st.integers(1, 30)))),
    st.lists(PART, max_size=3),
    st.booleans(),
)
def test_same_ids_as_a_plain_reading(
    changes: list[Any],
    parts: list[Any],
    descending: bool,  # noqa: FBT001 - drawn
) -> None:
    index = Index(SCHEMA)
    rows: dict[int, dict[str, Any]] = {}
    body = {name: {operator: value} for name, (operator, value) in parts}
    query = parse({**body, "order": [["price", "desc" if descending else "asc"]]}, SCHEMA)
    sign = -1 if descending else 1
    for upserted, removed in [({}, set()), *changes]:
        index.change(upserted, removed)
        rows = {row: of for row, of in rows.items() if row not in removed} | upserted
        matching = [
            row
            for row, of in rows.items()
            if all(holds(of, name, *next(iter(asked.items()))) for name, asked in body.items())
        ]
        expected = sorted(
            matching,
            key=lambda row: (rows[row]["price"] is None, sign * (rows[row]["price"] or 0), row),
        )
        assert index.search_ids(query, 0) == expected
        for _ in range(2):
            assert msgspec.json.decode(index.search(query, 0)) == [rows[row] for row in expected]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELD = st.sampled_from(["price", "name", "external", "order", "limit", "type"]) | st.text()


@given(st.dictionaries(FIELD, JSON | st.dictionaries(OPERATION, JSON)), st.text())
def test_nonsense_is_only_ever_refused(body: dict[str, Any], text: str) -> None:
    index = Index(SCHEMA)
    index.change({1: {"price": 1.0, "name": "A"}})
    for make in (lambda: body, lambda: parse_text(text, SCHEMA)):
        with contextlib.suppress(InvalidQuery):
            index.search(parse(make(), SCHEMA), 0)


@settings(max_examples=40)
@given(st.lists(st.dictionaries(FIELD, JSON | st.dictionaries(OPERATION, JSON)), max_size=2))
def test_a_query_that_is_remembered_is_what_would_be_understood(
    bodies: list[dict[str, Any]],
) -> None:
    queries = Queries(SCHEMA)
    for body in [*bodies, *bodies]:
        with contextlib.suppress(InvalidQuery):
            query, fresh = queries.read(body), parse(body, SCHEMA)
            assert repr(query) == repr(fresh)
            assert queries.read(body) is query


def test_words_that_look_alike_are_not_taken_for_each_other() -> None:
    queries = Queries(SCHEMA)
    alike: list[object] = [1, True, "1", 1.5, "true", float("inf")]
    read = [queries.read({"name": {"eq": value}}).predicates[0].value for value in alike]
    assert read == ["1", "True", "1", "1.5", "true", "inf"]
    assert not queries.read({"name": None}).predicates
    for number in range(2 * KNOWN_MAX):
        queries.read({"gpus": number})
    assert len(queries._known) <= KNOWN_MAX


def test_refusals_name_what_was_wrong() -> None:
    with pytest.raises(InvalidQuery, match=r"^colour is not a valid search key$"):
        parse({"colour": {"eq": 1}}, SCHEMA)
    with pytest.raises(InvalidQuery, match=r"^0 is not a valid search op$"):
        parse({"price": {"0": 1}}, SCHEMA)


NUMBERS = {
    "price": st.integers(0, 10**9) | st.floats(0, 10**6).map(lambda value: round(value, 3)),
    "gpus": st.integers(0, 64),
    "free": st.booleans(),
}
ASKED = {name: NUMBERS.get(name, value) for name, value in VALUES.items()}


@given(st.data())
def test_a_query_as_text_finds_what_it_finds_as_an_object(data: st.DataObject) -> None:
    query: dict[str, Any] = {}
    for name in data.draw(st.sets(st.sampled_from(sorted(ASKED)))):
        value = ASKED[name]
        query[name] = data.draw(
            st.none()
            | value
            | st.just({"eq": "any"})
            | st.lists(value, min_size=1, max_size=3)
            | st.dictionaries(OPERATION, value, min_size=1, max_size=2)
            | st.dictionaries(
                st.sampled_from(["in", "notin"]),
                st.lists(value, min_size=1, max_size=3),
                min_size=1,
            )
        )
    text = written(query, SCHEMA)
    assert parse(parse_text(text, SCHEMA), SCHEMA).predicates == parse(query, SCHEMA).predicates


def test_text_becomes_operations() -> None:
    assert parse_text("name in [A_1,B] gpus>=2 gpus < 9 price<=24 external=any", SCHEMA) == {
        "name": {"in": ["A 1", "B"]},
        "gpus": {"gte": "2", "lt": "9"},
        "price": {"lte": 24_000.0},
        "external": {"eq": "any"},
    }
    assert parse_text("name in A_1,B", SCHEMA) == {"name": {"in": ["A 1", "B"]}}
