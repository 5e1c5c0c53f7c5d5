"""Rows as they were shown for a request, kept so that they need not be put together again.

Requests that say the same beside their filters see the same rows the same way. A row that has
changed is another object, by which what was made of the old one is known to be out of date.
"""

from collections.abc import Callable, Sequence
from typing import Final

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
