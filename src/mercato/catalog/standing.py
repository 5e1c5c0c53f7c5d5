"""Queries that wait for rows: which of many standing queries does a new row answer?

The catalog turned around. What queries say of a number is kept as bounds in one array for each
column, so that one row is held against all of them at once; what cannot be said so is asked of the
few that are left by the ordinary search.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mercato.catalog.index import Index
from mercato.catalog.language import Predicate, Query
from mercato.catalog.schema import Column, Kind, Schema

Floats = NDArray[np.float64]
Cost = Callable[[Mapping[str, object], Floats, NDArray[np.bool_]], Floats]
"""What a row costs: of the row, gigabytes of disk, and whether by bid, one of each a query."""

_FIRST_ROOM: Final = 1_024
_BOUNDING: Final = frozenset({"eq", "gt", "gte", "lt", "lte"})


@dataclass(frozen=True, slots=True)
class Standing:
    """One query that waits."""

    id: int
    query: Query
    cost_max: float
    """The most that a row may cost at the query's disk and rental type; infinity for no bound."""
    rank: tuple[float, int]
    """Who is served first of those that a row answers: the smallest."""


class StandingQueries:
    """Queries by id, each answered by a row or not."""

    def __init__(self, schema: Schema, cost: Cost) -> None:
        """Begin with none; `cost` prices a row for all of them at once."""
        self._schema = schema
        self._cost = cost
        self._cost_max = np.zeros(_FIRST_ROOM)
        self._storage_gb = np.zeros(_FIRST_ROOM)
        self._bids = np.zeros(_FIRST_ROOM, dtype=np.bool_)
        self._lock = threading.Lock()
        self._standing: dict[int, Standing] = {}
        self._place: dict[int, int] = {}
        self._at: list[int] = []
        """The id at each place."""
        self._low: dict[str, Floats] = {}
        self._high: dict[str, Floats] = {}
        self._words: dict[str, dict[str, float]] = {}
        self._rest: dict[int, Query] = {}
        """What bounds cannot say, by id; absent when nothing is left."""
        self._room = _FIRST_ROOM

    def __len__(self) -> int:
        """How many wait."""
        return len(self._standing)

    def add(self, standing: Standing) -> None:
        """Have a query wait, in the place of an earlier one of its id."""
        with self._lock:
            self._discard(standing.id)
            place = len(self._at)
            self._at.append(standing.id)
            self._place[standing.id] = place
            self._standing[standing.id] = standing
            if place >= self._room:
                self._grow()
            self._cost_max[place] = standing.cost_max
            self._storage_gb[place] = standing.query.storage_gb
            self._bids[place] = standing.query.rental == "bid"
            rest = [
                predicate
                for predicate in standing.query.predicates
                if not self._bound(place, predicate)
            ]
            if rest:
                self._rest[standing.id] = replace(standing.query, predicates=tuple(rest))

    def remove(self, standing: int) -> None:
        """Have a query wait no more; nothing when it does not."""
        with self._lock:
            self._discard(standing)

    def answered_by(self, row: Mapping[str, object], now_ms: int) -> list[Standing]:
        """The queries that this row answers, those to be served first in front."""
        with self._lock:
            found = [self._standing[self._at[place]] for place in self._within(row)]
            rest = {one.id: self._rest[one.id] for one in found if one.id in self._rest}
        if rest:
            alone = Index(self._schema)
            alone.change({1: row})
            found = [
                one
                for one in found
                if one.id not in rest or alone.search_ids(_any_order(rest[one.id]), now_ms)
            ]
        return sorted(found, key=lambda one: one.rank)

    def ids(self) -> Iterable[int]:
        """The ids of those that wait."""
        return tuple(self._standing)

    def _within(self, row: Mapping[str, object]) -> NDArray[np.intp]:
        count = len(self._at)
        mask = np.ones(count, dtype=np.bool_)
        for name, low in self._low.items():
            column = self._schema.column(name)
            assert column is not None, name
            value = self._number(column, column.value(row))
            below, above = low[:count], self._high[name][:count]
            if value is None:
                mask &= np.isneginf(below) & np.isposinf(above)
            else:
                mask &= (below <= value) & (value <= above)
        costs = self._cost(row, self._storage_gb[:count], self._bids[:count])
        return np.flatnonzero(mask & (costs <= self._cost_max[:count]))

    def _bound(self, place: int, predicate: Predicate) -> bool:
        """Say a predicate by bounds; False when it cannot be."""
        column, operator, wanted = predicate.column, predicate.operator, predicate.value
        if column.compute is not None or operator not in _BOUNDING:
            return False
        if column.kind is Kind.STRING:
            if operator != "eq" or not isinstance(wanted, str):
                return False
            words = self._words.setdefault(column.name, {})
            wanted = words.setdefault(wanted, float(len(words)))
        if not isinstance(wanted, float | int):
            return False
        low, high = _interval(operator, float(wanted))
        self._columns(column.name)
        self._low[column.name][place] = max(self._low[column.name][place], low)
        self._high[column.name][place] = min(self._high[column.name][place], high)
        return True

    def _columns(self, name: str) -> None:
        if name not in self._low:
            self._low[name] = np.full(self._room, -np.inf)
            self._high[name] = np.full(self._room, np.inf)

    def _number(self, column: Column, value: object) -> float | None:
        if value is None:
            return None
        if column.kind is Kind.STRING:
            return self._words.get(column.name, {}).get(column.fold(str(value)), -1.0)
        assert isinstance(value, int | float), column.name
        number = float(value)
        return None if np.isnan(number) else number

    def _discard(self, standing: int) -> None:
        place = self._place.pop(standing, None)
        if place is None:
            return
        del self._standing[standing]
        self._rest.pop(standing, None)
        last = len(self._at) - 1
        final = self._at.pop()
        for bounds, free in ((self._low, -np.inf), (self._high, np.inf)):
            for values in bounds.values():
                values[place] = values[last]
                values[last] = free
        for column in (self._cost_max, self._storage_gb, self._bids):
            column[place] = column[last]
        if place != last:
            self._at[place] = final
            self._place[final] = place

    def _grow(self) -> None:
        for bounds, free in ((self._low, -np.inf), (self._high, np.inf)):
            for name, values in bounds.items():
                bounds[name] = np.concatenate([values, np.full_like(values, free)])
        self._cost_max = np.concatenate([self._cost_max, np.zeros(self._room)])
        self._storage_gb = np.concatenate([self._storage_gb, np.zeros(self._room)])
        self._bids = np.concatenate([self._bids, np.zeros(self._room, dtype=np.bool_)])
        self._room *= 2


def _interval(operator: str, wanted: float) -> tuple[float, float]:
    match operator:
        case "eq":
            return wanted, wanted
        case "gte":
            return wanted, np.inf
        case "gt":
            return float(np.nextafter(wanted, np.inf)), np.inf
        case "lte":
            return -np.inf, wanted
        case _:
            return -np.inf, float(np.nextafter(wanted, -np.inf))


def _any_order(query: Query) -> Query:
    return replace(query, order=(), limit=1)
