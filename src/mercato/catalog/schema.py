"""What a catalog holds: ordered columns, other names for them, and values known only when asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class Kind(Enum):
    """The type of a column's values; numbers and truths are kept as 64-bit floats."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STRING = "string"


@dataclass(frozen=True)
class Ask:
    """What a request says beside its filters; computed columns depend on it.

    `storage_gb` is the disk that prices are shown for; `rental` is `on-demand`, `reserved` or
    `bid`; `seed` (64 bits) decides whatever is left to luck.
    """

    now_ms: int
    storage_gb: float
    rental: str
    seed: int = 0


Values = Callable[[str], NDArray[np.float64]]


def _unchanged(text: str) -> str:
    return text


@dataclass(frozen=True)
class Bound:
    """A stored column that bounds a computed one, so that a search can walk along its order.

    Ascending, no row's computed value is less than what the column says; descending, none is more
    than `factor` times it. Where the column is null, so is the computed value.
    """

    column: Callable[[Ask], str]
    descending: bool = False
    factor: float = 1.0


@dataclass(frozen=True)
class Column:
    """One searchable field.

    `read` finds the value in a row (default: the row's entry of that name); `missing` stands in for
    a null, which otherwise matches only a comparison with null; `fold` maps the texts that count as
    equal onto one; `compute`, where given, makes the column from others at each request, for any
    choice of rows; `bound` helps to order by it.
    """

    name: str
    kind: Kind
    read: Callable[[Mapping[str, object]], object] | None = None
    missing: float | str | None = None
    fold: Callable[[str], str] = _unchanged
    compute: Callable[[Values, Ask], NDArray[np.float64]] | None = None
    bound: Bound | None = None

    def value(self, row: Mapping[str, object]) -> object:
        """The row's value for this column; None when it has none."""
        found = row.get(self.name) if self.read is None else self.read(row)
        return self.missing if found is None else found


@dataclass(frozen=True)
class Schema:
    """The columns of a catalog and the names that a query may use for them.

    `units` maps a name to a column and the factor from the name's unit to the column's;
    `at_least` maps names whose plain value is a lower bound; `text_units` are the factors that
    the text form alone applies; `ignored` are scalars that change nothing; `spliced` gives the
    members of a row that depend on the request, from the values of the columns in `splice_from`,
    and `unshown` are the entries of a row that are left to it; `hidden` columns can be used by
    these and as bounds, and not be asked for.
    """

    columns: tuple[Column, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    at_least: Mapping[str, str] = field(default_factory=dict)
    text_units: Mapping[str, float] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    unshown: frozenset[str] = frozenset()
    splice_from: tuple[str, ...] = ()
    spliced: Callable[[Sequence[float | None], Ask], object] | None = None
    hidden: tuple[Column, ...] = ()

    def column(self, name: str) -> Column | None:
        """The column that this name or alias means; None when there is none."""
        return self._by_name.get(self.aliases.get(name, name))

    @cached_property
    def _by_name(self) -> Mapping[str, Column]:
        return {one.name: one for one in self.columns}
