"""The rows of a catalog as columns in memory, and the search over them.

Any thread may call any method: one lock covers each batch of changes and each search, so a search
sees a batch whole or not at all.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mercato.catalog.language import Predicate, Query
from mercato.catalog.schema import Ask, Column, Kind, Schema
from mercato.market.errors import InvalidQuery

_FIRST_ROOM: Final = 1_024
_COMPARE: Final = {
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class _Words:
    """A string column's dictionary; a word's code never changes."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def code(self, word: str) -> int:
        return self.codes.setdefault(word, len(self.codes))


class Index:
    """Rows by id, searchable by any column of a schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._lock = threading.Lock()
        self._stored = tuple(one for one in schema.columns if one.compute is None)
        self._columns: dict[str, Floats] = {
            one.name: np.full(_FIRST_ROOM, np.nan) for one in self._stored
        }
        self._words = {one.name: _Words() for one in self._stored if one.kind is Kind.STRING}
        self._ids = np.zeros(_FIRST_ROOM, dtype=np.int64)
        self._rows: list[bytes] = []
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def change(
        self, upserted: Mapping[int, Mapping[str, object]], removed: Iterable[int] = ()
    ) -> None:
        """Take away the removed ids, then put the given rows in place of any of their ids."""
        ready = {row: (self._encoded(of), of) for row, of in upserted.items()}
        with self._lock:
            for row in removed:
                self._remove(row)
            for row, (encoded, of) in ready.items():
                self._put(row, encoded, of)

    def search(self, query: Query, now_ms: int, seed: int = 0) -> bytes:
        """The JSON array of the rows that match, in the query's order."""
        ask = Ask(now_ms, query.storage_gb, query.rental, seed)
        with self._lock:
            places = self._matching(query, ask)
            return b"[" + b",".join(self._spliced(places, ask)) + b"]"

    def search_ids(self, query: Query, now_ms: int, seed: int = 0) -> list[int]:
        """The ids of the rows that match, in the query's order; ties by id."""
        with self._lock:
            places = self._matching(query, Ask(now_ms, query.storage_gb, query.rental, seed))
            return [int(one) for one in self._ids[places]]

    def _encoded(self, row: Mapping[str, object]) -> bytes:
        """A row's JSON without its closing brace, for the members of a request to follow."""
        unshown = self.schema.unshown
        shown = {name: value for name, value in row.items() if name not in unshown}
        return msgspec.json.encode(shown)[:-1]

    def _remove(self, row: int) -> None:
        at = self._place.pop(row, None)
        if at is None:
            return
        last = len(self._rows) - 1
        final = self._rows.pop()
        if at != last:
            self._rows[at] = final
            self._ids[at] = self._ids[last]
            for values in self._columns.values():
                values[at] = values[last]
            self._place[int(self._ids[at])] = at

    def _put(self, row: int, encoded: bytes, of: Mapping[str, object]) -> None:
        # Before anything is written: a row that is refused leaves no trace.
        numbers = {one.name: self._number(one, one.value(of)) for one in self._stored}
        at = self._place.get(row)
        if at is None:
            at = len(self._rows)
            if at == len(self._ids):
                self._grow()
            self._rows.append(encoded)
            self._place[row] = at
            self._ids[at] = row
        self._rows[at] = encoded
        for name, number in numbers.items():
            self._columns[name][at] = number

    def _number(self, column: Column, value: object) -> float:
        if value is None:
            return float("nan")
        if column.kind is Kind.STRING:
            return float(self._words[column.name].code(column.fold(str(value))))
        assert isinstance(value, int | float), f"{column.name} holds numbers, not {value!r}"
        return float(value)

    def _grow(self) -> None:
        self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        for name, values in self._columns.items():
            self._columns[name] = np.concatenate([values, np.full_like(values, np.nan)])

    def _matching(self, query: Query, ask: Ask) -> NDArray[np.intp]:
        with np.errstate(all="ignore"):
            mask: Mask = np.ones(len(self._rows), dtype=np.bool_)
            for predicate in query.predicates:
                mask &= self._holds(predicate, self._values(predicate.column, ask))
            places = np.flatnonzero(mask)
            keys: list[NDArray[np.generic]] = [self._ids[places]]
            for column, descending in reversed(query.order):
                values = self._values(column, ask)[places]
                if column.kind is Kind.STRING:
                    values = self._alphabetical(column, values)
                keys.append(-values if descending else values)
        return places[np.lexsort(keys)][: query.limit]

    def _values(self, column: Column, ask: Ask) -> Floats:
        if column.compute is not None:
            return column.compute(lambda name: self._named(name, ask), ask)
        return self._columns[column.name][: len(self._rows)]

    def _named(self, name: str, ask: Ask) -> Floats:
        column = self.schema.column(name)
        assert column is not None, f"a computed column needs {name}"
        return self._values(column, ask)

    def _alphabetical(self, column: Column, codes: Floats) -> Floats:
        words = list(self._words[column.name].codes)
        rank = np.empty(len(words) + 1)
        rank[np.array(sorted(range(len(words)), key=words.__getitem__), dtype=np.intp)] = np.arange(
            len(words)
        )
        rank[-1] = np.nan
        return rank[np.where(np.isnan(codes), -1, codes).astype(np.intp)]

    def _holds(self, predicate: Predicate, values: Floats) -> Mask:
        column, operator, wanted = predicate.column, predicate.operator, predicate.value
        if operator in {"eq", "neq", "in", "notin"}:
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            null = np.isnan(values)
            known = [self._code(column, one) for one in wanted if one is not None]
            found = np.isin(values, known)
            if None in wanted:
                found |= null
            elif operator in {"neq", "notin"}:
                found |= null  # an unknown value is not known to differ
            return found if operator in {"eq", "in"} else ~found
        compare = _COMPARE[operator]
        if column.kind is not Kind.STRING:
            assert isinstance(wanted, float), "the language made it a number"
            return np.asarray(compare(values, wanted), dtype=np.bool_)
        codes = self._words[column.name].codes
        table = np.array([_before(operator, word, str(wanted)) for word in codes] + [False])
        return table[np.where(np.isnan(values), -1, values).astype(np.intp)]

    def _code(self, column: Column, value: float | str) -> float:
        if isinstance(value, str):
            return float(self._words[column.name].codes.get(value, -1))
        return value

    def _spliced(self, places: NDArray[np.intp], ask: Ask) -> list[bytes]:
        make = self.schema.spliced
        if make is None:
            return [self._rows[at] + b"}" for at in places]
        columns = {name: self._named(name, ask)[places] for name in self.schema.splice_from}
        rows = []
        for nth, at in enumerate(places):
            given = {
                name: None if np.isnan(values[nth]) else float(values[nth])
                for name, values in columns.items()
            }
            members = msgspec.json.encode(make(given, ask))
            joint = b"," if len(self._rows[at]) > 1 and len(members) > 2 else b""
            rows.append(self._rows[at] + joint + members[1:])
        return rows


def _before(operator: str, word: str, wanted: str) -> bool:
    match operator:
        case "gt":
            return word > wanted
        case "gte":
            return word >= wanted
        case "lt":
            return word < wanted
        case "lte":
            return word <= wanted
        case _:
            raise InvalidQuery(f"{operator} is not a valid search op")
