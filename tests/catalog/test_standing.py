"""Standing queries: a row answers exactly those that a search over it would find it by."""

from dataclasses import replace
from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mercato.catalog.index import Index
from mercato.catalog.language import parse
from mercato.catalog.standing import Standing, StandingQueries
from mercato.control.api.offer_fields import OFFERS, cost_of

ROW = {"num_gpus": 1, "dph_base": 1.0, "min_bid": 0.5, "storage_cost": 0.1}
NAMES = ("RTX 4090", "H100 SXM", "A100 PCIE")

numbers = st.one_of(st.integers(0, 4).map(float), st.none())
rows = st.fixed_dictionaries(
    {
        "num_gpus": st.integers(1, 4),
        "gpu_ram": numbers,
        "dph_base": st.floats(0.0, 4.0),
        "storage_cost": st.floats(0.0, 1.0),
        "min_bid": st.floats(0.0, 4.0),
        "cpu_ghz": numbers,
        "gpu_name": st.sampled_from((*NAMES, None)),
        "verification": st.sampled_from(("verified", "unverified")),
        "rentable": st.booleans(),
        "credit_discount_max": st.just(0.4),
        "dlperf": st.floats(0, 9),
    }
)
bounds = st.dictionaries(
    st.sampled_from(("eq", "neq", "gt", "gte", "lt", "lte")),
    st.integers(0, 4).map(float),
    min_size=1,
    max_size=2,
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "num_gpus": bounds,
        "gpu_ram": bounds,
        "cpu_ghz": st.one_of(bounds, st.just({"eq": None})),
        "dph_total": bounds,
        "gpu_name": st.one_of(
            st.sampled_from(NAMES).map(lambda name: {"eq": name}),
            st.lists(st.sampled_from(NAMES), max_size=3).map(lambda names: {"in": names}),
            st.sampled_from(NAMES).map(lambda name: {"neq": name}),
            st.just({"gte": "B"}),
        ),
        "verified": st.booleans().map(lambda truth: {"eq": truth}),
        "allocated_storage": st.integers(0, 4).map(float),
        "type": st.sampled_from(("on-demand", "bid")),
    },
)


@given(st.lists(queries, max_size=12), rows, st.sets(st.integers(0, 11)), st.floats(0, 9))
def test_a_row_answers_what_a_search_would_find_it_by(
    asked: list[dict[str, Any]], row: dict[str, Any], removed: set[int], cost_max: float
) -> None:
    standing = StandingQueries(OFFERS, cost_of)
    alone = Index(OFFERS)
    alone.change({1: row})
    expected = []
    for number, body in enumerate(asked):
        query = replace(parse(body, OFFERS), order=())
        standing.add(Standing(number, query, cost_max, (0.0, number)))
        dear = parse({**body, "dph_total": {"lte": cost_max}}, OFFERS)
        also = alone.search_ids(replace(dear, order=()), 0)
        if number not in removed and also and alone.search_ids(query, 0):
            expected.append(number)
    for number in removed:
        standing.remove(number)
    assert [one.id for one in standing.answered_by(row, 0)] == expected
    assert len(standing) == len(set(range(len(asked))) - removed)


def test_who_is_served_first_stands_in_front() -> None:
    standing = StandingQueries(OFFERS, cost_of)
    query = parse({}, OFFERS)
    for number, rank in ((1, (-0.2, 1)), (2, (-0.5, 2)), (3, (-0.5, 3))):
        standing.add(Standing(number, query, inf, rank))
    assert [one.id for one in standing.answered_by(ROW, 0)] == [2, 3, 1]


def test_more_than_there_was_room_for() -> None:
    standing = StandingQueries(OFFERS, cost_of)
    for number in range(3_000):
        query = parse({"num_gpus": {"eq": number % 3}}, OFFERS)
        standing.add(Standing(number, query, inf, (0.0, number)))
    for number in range(0, 3_000, 2):
        standing.remove(number)
    found = [one.id for one in standing.answered_by(ROW, 0)]
    assert found == [number for number in range(1, 3_000, 2) if number % 3 == 1]
