"""Walking along a ranking finds what looking at everything finds, whatever has changed since."""

from collections.abc import Mapping

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mercato.catalog import index as indexes
from mercato.catalog import rankings, searching
from mercato.catalog.columns import Columns
from mercato.catalog.index import Index
from mercato.catalog.language import parse
from mercato.catalog.schema import Ask, Bound, Column, Kind, Schema

ROWS = 1_000
SCHEMA = Schema(
    columns=(
        Column("id", Kind.INT),
        Column("price", Kind.FLOAT),
        Column("storage", Kind.FLOAT),
        Column("speed", Kind.FLOAT),
        Column("free", Kind.BOOL),
        Column("name", Kind.STRING),
        Column(
            "total",
            Kind.FLOAT,
            compute=lambda of, ask: of("price") + of("storage") * ask.storage_gb,
            bound=Bound(lambda _ask: "price"),
        ),
        Column(
            "value",
            Kind.FLOAT,
            compute=lambda of, _ask: of("speed") * (1 + 0.1 * (of("id") % 2)),
            bound=Bound(lambda _ask: "speed", descending=True, factor=1.1),
        ),
    ),
    splice_from=("total", "value"),
    spliced=lambda values, _ask: {"shown": list(values)},
)


def rows(luck: np.random.Generator, ids: range) -> Mapping[int, Mapping[str, object]]:
    """Rows with many equal values and some unknown ones."""

    def some(values: int) -> object:
        return None if luck.random() < 0.02 else int(luck.integers(values))

    return {
        row: {
            "id": row,
            "price": some(400),
            "storage": some(3),
            "speed": some(300),
            "free": bool(luck.random() < 0.5),
            "name": str(luck.choice(["A", "B", "C"])),
        }
        for row in ids
    }


ORDERS = st.sampled_from(
    [
        *([["price", "asc"]], [["price", "desc"]], [["total", "asc"]], [["value", "desc"]]),
        *([["speed", "desc"], ["price", "asc"]], [["name", "asc"], ["price", "desc"]], []),
    ]
)
FILTERS = st.sampled_from(
    [{}, {"free": {"eq": True}}, {"name": {"in": ["A", "B"]}, "free": {"eq": True}},
     {"price": {"gt": 390.0}}, {"total": {"lt": 5.0}}, {"name": {"eq": "D"}}]
)  # fmt: skip


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(ORDERS, FILTERS, st.integers(0, 90)), min_size=1, max_size=6),
    st.sampled_from([0, 5, 100, 700]),
)
@pytest.mark.parametrize("reach", [1 / 16, 1.0])
def test_a_walk_finds_what_looking_at_everything_finds(
    reach: float, seed: int, asked: list[tuple[object, dict[str, object], int]], changed: int
) -> None:
    luck = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexes, "RANKED", 0)
        patch.setattr(searching, "SMALL", 0)
        patch.setattr(searching, "WALKED_SHARE", reach)
        patch.setattr(searching, "BLOCK", 16)
        patch.setattr(searching, "TRIED", 7 * 16)
        patch.setattr(rankings, "BLOCK", 16)
        patch.setattr(indexes, "USELESS_SHARE", 10.0)
        index = Index(SCHEMA)
        index.change(rows(luck, range(1, ROWS + 1)))
        queries = [
            parse({**filters, "order": order, "limit": limit}, SCHEMA)
            for order, filters, limit in asked
        ]
        for query in queries:
            index.search(query, 0)
        index.refresh()
        removed = set(luck.integers(1, ROWS, changed).tolist())
        first = int(luck.integers(1, ROWS + 1))
        index.change(rows(luck, range(first, first + changed)), removed)
        plain = Index(SCHEMA)
        plain.change(_rows_of(index))
        for query in queries:
            assert index.search_ids(query, 0) == plain.search_ids(query, 0)
            assert index.search(query, 0) == plain.search(query, 0)


def _rows_of(index: Index) -> Mapping[int, Mapping[str, object]]:
    everything = parse({"limit": 10_000}, SCHEMA)
    found = msgspec.json.decode(index.search(everything, 0))
    return {row["id"]: {name: row[name] for name in row if name != "shown"} for row in found}


def test_a_broad_search_looks_only_at_the_first_of_a_ranking() -> None:
    found = rows(np.random.default_rng(3), range(1, 40 * rankings.BLOCK))
    columns = Columns(SCHEMA)
    places = np.arange(len(found))
    columns.put(places, columns.read(list(found.values())))
    query = parse({"free": {"eq": True}, "order": [["value", "desc"]]}, SCHEMA)
    ask = Ask(0, query.storage_gb, query.rental)
    search = searching.Search(query, ask, columns, places)
    way = search.way()
    assert way == searching.Way("speed", descending=True, factor=1.1)
    ranking = rankings.Ranking.of(columns.numbers("speed", places, ask), 0, descending=True)
    log = rankings.Log()
    log.cover(columns.room)
    walked = search.along(way, ranking, log)
    assert walked is not None
    assert walked.tolist() == search.through().tolist()


def test_a_ranking_that_nobody_asks_for_is_let_go() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexes, "RANKED", 0)
        index = Index(SCHEMA)
        index.change(rows(np.random.default_rng(1), range(1, 50)))
        index.search_ids(parse({"order": [["price", "asc"]]}, SCHEMA), 0)
        assert index.refresh()
        assert not index.refresh(), "nothing has changed"
        for _ in range(indexes.IDLE_REFRESHES):
            index.refresh()
        assert not index._rankings
