"""Places in the order of a column, so that a broad search need only look at the first of them.

A ranking is true for the moment at which it was sorted. A log says which places have changed since:
those are passed over where the ranking has them, and looked at one by one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mercato.catalog.columns import Floats, Places

BLOCK: Final = 512
"""Places that are looked at together."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The places of a column in order, null last."""

    places: NDArray[np.int32]
    edges: Floats
    """The value at the beginning of each block; negated where the order descends."""
    since: int
    """How long the log was when it was true."""

    @classmethod
    def of(cls, values: Floats, since: int, *, descending: bool) -> "Ranking":
        """Sort; takes a tenth of a second for a million and lets other threads work meanwhile."""
        keys = -values if descending else values
        places = np.argsort(keys)
        return cls(places.astype(np.int32), keys[places[::BLOCK]], since)


class Log:
    """Which places changed, in the order in which they did."""

    def __init__(self) -> None:
        """Begin with nothing changed."""
        self._places = np.zeros(BLOCK, dtype=np.int32)
        self._from = 0
        """How many changes were forgotten."""
        self.length = 0
        self._last = np.full(BLOCK, -1, dtype=np.int64)
        """When each place changed last."""

    def cover(self, room: int) -> None:
        """Be asked of places below `room` from now on."""
        if room > len(self._last):
            more = np.full(room - len(self._last), -1, dtype=np.int64)
            self._last = np.concatenate([self._last, more])

    def write(self, places: Places) -> None:
        """These places have changed."""
        if not len(places):
            return
        while self.length - self._from + len(places) > len(self._places):
            self._places = np.concatenate([self._places, np.zeros_like(self._places)])
        at = self.length - self._from
        self._places[at : at + len(places)] = places
        self._last[places] = np.arange(self.length, self.length + len(places))
        self.length += len(places)

    def changed(self, since: int) -> Places:
        """The places that have changed since the log was that long, each once."""
        places = self._places[since - self._from : self.length - self._from]
        kept = self._last[places] == np.arange(since, self.length)
        return np.asarray(places[kept], dtype=np.intp)

    def unchanged(self, places: NDArray[np.int32], since: int) -> Places:
        """Those of the places that have not changed since."""
        return np.asarray(places[self._last[places] < since], dtype=np.intp)

    def forget(self, before: int) -> None:
        """Nobody will ask for what changed when the log was shorter than that."""
        kept = self._places[before - self._from : self.length - self._from]
        self._places = np.concatenate([kept, np.zeros(BLOCK, dtype=np.int32)])
        self._from = before
