"""The values of a catalog's rows by column, each column in the smallest form that loses nothing.

A row has a place, the same in every column. Texts are the codes of words with -1 for null; numbers
are 64-bit floats with NaN for null. All truths of a row together are the bits of one number, two
for each column, so that a search which asks for several of them, as most do, looks once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mercato.catalog.language import Predicate
from mercato.catalog.schema import Ask, Column, Kind, Schema
from mercato.market.errors import InvalidQuery

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]
Row = Mapping[str, object]

_FIRST_ROOM: Final = 64
_FEW: Final = 8
"""So many equalities are quicker one by one than looked up together."""
_TRUTHS: Final = "truths"
"""Where the truths are among the columns; no column has this name."""
_TRUTHS_MAX: Final = 16
_EITHER: Final = 0b11
"""A truth's bits: none for null, the first for false, the second for true."""
_FORM: Final[dict[Kind, type[np.generic]]] = {
    Kind.STRING: np.int32,
    Kind.INT: np.float64,
    Kind.FLOAT: np.float64,
}
_COMPARE: Final = {
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}


@dataclass(frozen=True, slots=True)
class Truths:
    """Several truths that are wanted at once, as bits."""

    asked: np.uint32
    wanted: np.uint32


Test = Predicate | Truths


class Columns:
    """The columns of a schema, with room for more rows than there are."""

    def __init__(self, schema: Schema) -> None:
        """Begin empty."""
        self.room = _FIRST_ROOM
        known = schema.columns + schema.hidden
        self.stored = tuple(one for one in known if one.compute is None)
        self._named = {one.name: one for one in known}
        truths = [one.name for one in self.stored if one.kind is Kind.BOOL]
        assert len(truths) <= _TRUTHS_MAX, "a row's truths are the bits of one number"
        self._shifts = {name: np.uint32(2 * nth) for nth, name in enumerate(truths)}
        self._values: dict[str, NDArray[np.generic]] = {
            one.name: np.zeros(_FIRST_ROOM, dtype=_FORM[one.kind])
            for one in self.stored
            if one.kind is not Kind.BOOL
        }
        self._values[_TRUTHS] = np.zeros(_FIRST_ROOM, dtype=np.uint32)
        self._words = {one.name: _Words() for one in self.stored if one.kind is Kind.STRING}

    def read(self, rows: Sequence[Row]) -> dict[str, NDArray[np.generic]]:
        """What rows say, by column, to be put in place; nothing is changed but the known words."""
        read = {one.name: self._read(one, rows) for one in self.stored}
        bits = np.zeros(len(rows), dtype=np.uint32)
        for name, shift in self._shifts.items():
            bits |= read.pop(name).astype(np.uint32) << shift
        return {**read, _TRUTHS: bits}

    def put(self, places: Places, values: Mapping[str, NDArray[np.generic]]) -> None:
        """Write what `read` made at these places."""
        while len(places) and places.max() >= self.room:
            self._grow()
        for name, column in self._values.items():
            column[places] = values[name]

    def move(self, source: int, target: int) -> None:
        """Copy the row at one place to another."""
        for column in self._values.values():
            column[target] = column[source]

    def numbers(
        self, name: str, at: slice | Places, ask: Ask, known: dict[str, Floats] | None = None
    ) -> Floats:
        """A column's values there as numbers, NaN for null; texts as the codes of their words.

        `known` keeps what was found, for other columns of the same places that need it too.
        """
        known = {} if known is None else known
        if name not in known:
            column = self._named[name]
            known[name] = (
                self._plain(column, at)
                if column.compute is None
                else column.compute(lambda needed: self.numbers(needed, at, ask, known), ask)
            )
        return known[name]

    def _plain(self, column: Column, at: slice | Places) -> Floats:
        values = self._stored(column, at)
        if values.dtype == np.float64:
            return values
        return np.where(values == -1, np.nan, values)

    def _stored(self, column: Column, at: slice | Places) -> NDArray[Any]:
        """A column's values there as they are kept; truths as 1, 0 and -1 for null."""
        if column.kind is not Kind.BOOL:
            return self._values[column.name][at]
        bits = self._truths(at) >> self._shifts[column.name] & np.uint32(_EITHER)
        return np.subtract(bits.astype(np.int8), 1)

    def _truths(self, at: slice | Places) -> NDArray[np.uint32]:
        return np.asarray(self._values[_TRUTHS][at], dtype=np.uint32)

    def ranks(self, column: Column, at: slice | Places, ask: Ask) -> Floats:
        """Values by which rows are ordered: numbers as they are, texts by the alphabet."""
        if column.kind is not Kind.STRING or column.compute is not None:
            return self.numbers(column.name, at, ask)
        ranks: Floats = self._words[column.name].ranks[self._values[column.name][at]]
        return ranks

    def tests(self, predicates: Iterable[Predicate]) -> list[Test]:
        """The predicates, those that ask for a truth as one test."""
        rest: list[Test] = []
        truths: dict[str, float] = {}
        for one in predicates:
            name, value = one.column.name, one.value
            plain = name in self._shifts and name not in truths and one.operator == "eq"
            if plain and isinstance(value, float) and value in {0.0, 1.0}:
                truths[name] = value
            else:
                rest.append(one)
        if not truths:
            return rest
        asked = sum(_EITHER << int(self._shifts[name]) for name in truths)
        wanted = sum((1 + int(value)) << int(self._shifts[name]) for name, value in truths.items())
        return [Truths(np.uint32(asked), np.uint32(wanted)), *rest]

    def holds(self, test: Test, at: slice | Places, ask: Ask) -> Mask:
        """Where a test holds; a null is only ever equal to a null."""
        if isinstance(test, Truths):
            mask: Mask = np.equal(self._truths(at) & test.asked, test.wanted)
            return mask
        column, operator, wanted = test.column, test.operator, test.value
        values: NDArray[Any] = (
            self._stored(column, at)
            if column.compute is None
            else self.numbers(column.name, at, ask)
        )
        if operator not in _COMPARE:
            many = wanted if isinstance(wanted, tuple) else (wanted,)
            found = _among(values, [self._code(column, one) for one in many if one is not None])
            negated = operator in {"neq", "notin"}
            if negated or None in many:
                found |= _null(values)  # what is not known is not known to differ
            return ~found if negated else found
        if column.kind is Kind.STRING:
            table = self._words[column.name].compared(operator, str(wanted))
            return np.asarray(table[values], dtype=np.bool_)
        assert isinstance(wanted, float), "the language made it a number"
        mask = np.asarray(_COMPARE[operator](values, wanted), dtype=np.bool_)
        # A null truth is -1, which is less than false; a null number compares as false already.
        return mask & ~_null(values) if column.kind is Kind.BOOL else mask

    def _read(self, column: Column, rows: Sequence[Row]) -> NDArray[np.generic]:
        found = [column.value(row) for row in rows]
        if column.kind is Kind.STRING:
            code = self._words[column.name].code
            codes = [-1 if one is None else code(column.fold(str(one))) for one in found]
            return np.array(codes, dtype=np.int32)
        if column.kind is Kind.BOOL:
            return np.array([0 if one is None else 1 + bool(one) for one in found], dtype=np.uint8)
        numbers = [np.nan if one is None else one for one in found]
        assert all(isinstance(one, int | float) for one in numbers), f"{column.name} holds numbers"
        return np.array(numbers, dtype=_FORM[column.kind])

    def _grow(self) -> None:
        for name, column in self._values.items():
            self._values[name] = np.concatenate([column, np.zeros_like(column)])
        self.room *= 2

    def _code(self, column: Column, value: float | str) -> float:
        if isinstance(value, str):
            return self._words[column.name].codes.get(value, -2)
        return value


class _Words:
    """A text column's dictionary; a word's code never changes."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self._ranks: Floats = np.array([np.nan])

    def code(self, word: str) -> int:
        return self.codes.setdefault(word, len(self.codes))

    @property
    def ranks(self) -> Floats:
        """Each code's place in the alphabet, and at -1 that of null."""
        words = list(self.codes)
        if len(self._ranks) != len(words) + 1:
            self._ranks = np.full(len(words) + 1, np.nan)
            order = sorted(range(len(words)), key=words.__getitem__)
            self._ranks[np.array(order, dtype=np.intp)] = np.arange(len(words))
        return self._ranks

    def compared(self, operator: str, wanted: str) -> Mask:
        """Which codes come before or after a text; null, at -1, does neither."""
        return np.array([_before(operator, word, wanted) for word in self.codes] + [False])


def _among(values: NDArray[Any], wanted: Sequence[float]) -> Mask:
    if len(wanted) > _FEW:
        return np.asarray(np.isin(values, wanted), dtype=np.bool_)
    if not wanted:
        return np.zeros(len(values), dtype=np.bool_)
    found: Mask = np.equal(values, wanted[0])
    for one in wanted[1:]:
        found |= np.equal(values, one)
    return found


def _null(values: NDArray[Any]) -> Mask:
    if values.dtype == np.float64:
        return np.asarray(np.isnan(values), dtype=np.bool_)
    return np.asarray(values == -1)


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
