"""Rows as they were shown for a request, kept so that they need not be put together again.

Whole answers are kept too, for as long as no row changes: many clients ask the same.

Requests that say the same beside their filters see the same rows the same way. A row that has
changed is another object, by which what was made of the old one is known to be out of date.
"""

from collections.abc import Callable, Sequence
from typing import Final

from mercato.catalog.language import Query
from mercato.catalog.schema import Ask

KEPT_MAX: Final = 8_192
"""So many rows are kept: some 20 MB."""

_NOT_MADE: Final = (b"", b"")
Make = Callable[[Sequence[int], Ask], list[bytes]]


class Shown:
    """What was made of rows, by request and place; the least lately asked for goes first."""

    def __init__(self, make: Make) -> None:
        """`make` puts together the rows at some places as a request sees them."""
        self._make = make
        self._kept: dict[Ask, dict[int, tuple[bytes, bytes]]] = {}
        self._count = 0

    def rows(self, places: Sequence[int], stored: Sequence[bytes], ask: Ask) -> list[bytes]:
        """The rows at these places, of which `stored` is what is the same for every request."""
        kept = self._kept.pop(ask, {})
        self._count -= len(kept)
        missing = [
            (place, row)
            for place, row in zip(places, stored, strict=True)
            if kept.get(place, _NOT_MADE)[0] is not row
        ]
        if missing:
            if len(kept) + len(missing) > KEPT_MAX:
                kept = {}
                missing = list(zip(places, stored, strict=True))
            made = self._make([place for place, _ in missing], ask)
            for (place, row), shown in zip(missing, made, strict=True):
                kept[place] = (row, shown)
        found = [kept[place][1] for place in places]
        self._keep(ask, kept)
        return found

    def _keep(self, ask: Ask, kept: dict[int, tuple[bytes, bytes]]) -> None:
        self._kept[ask] = kept
        self._count += len(kept)
        while self._count > KEPT_MAX:
            self._count -= len(self._kept.pop(next(iter(self._kept))))


class Answers:
    """The rows that answered queries, true until any row changes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._given: dict[tuple[Query, Ask], list[bytes]] = {}
        self._count = 0

    def given(self, query: Query, ask: Ask) -> list[bytes] | None:
        """What this query was answered; None when that is not known."""
        return self._given.get((query, ask))

    def keep(self, query: Query, ask: Ask, rows: list[bytes]) -> None:
        """Give the same answer to the same query from now on."""
        weight = 1 + len(rows)
        if self._count + weight > KEPT_MAX:
            self.forget()
        if weight <= KEPT_MAX:
            self._given[query, ask] = rows
            self._count += weight

    def forget(self) -> None:
        """Some row has changed."""
        if self._given:
            self._given = {}
            self._count = 0
