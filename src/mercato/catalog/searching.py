"""How a query finds its rows: along a ranking when many match, through all of them when few do.

Both ways give the same rows. The better one is guessed from a sample of the rows; a walk along a
ranking that finds less than was guessed is given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mercato.catalog.columns import Columns, Floats, Mask, Places, Test, Truths
from mercato.catalog.language import Query
from mercato.catalog.rankings import BLOCK, Log, Ranking
from mercato.catalog.schema import Ask, Column, Kind

SMALL: Final = 50_000
"""Fewer rows are gone through in less time than it takes to guess."""
TRIED: Final = 7 * BLOCK
"""Places along a ranking that are tried without a guess: blocks of one, two and four."""
SAMPLE: Final = 2_048
GATHER_BELOW: Final = 1 / 16
"""When a smaller share is left, looking at those alone is quicker than looking at everything."""
WALKED_SHARE: Final = 1 / 16
"""A ranking is of use when no larger share of it has to be walked along."""
SORTED: Final = 512
"""So many are sorted whole in less time than it takes to find the best of them first."""
_EVERYTHING: Final = 1.0
_NONE: Final = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Way:
    """A ranking that bounds the order of a query."""

    column: str
    descending: bool
    factor: float
    """No row's value is better than this times the ranking's."""


@dataclass(frozen=True, slots=True)
class Search:
    """One query over the rows as they are now."""

    query: Query
    ask: Ask
    columns: Columns
    ids: Places
    """The id at each place, and no more."""

    def way(self) -> Way | None:
        """The ranking along which this query can be answered."""
        if not self.query.order:
            return None
        column, descending = self.query.order[0]
        if column.bound is not None:
            if column.bound.descending != descending:
                return None
            return Way(column.bound.column(self.ask), descending, column.bound.factor)
        if column.compute is not None or column.kind not in {Kind.INT, Kind.FLOAT}:
            return None
        return Way(column.name, descending, 1.0)

    def along(self, way: Way, ranking: Ranking, log: Log) -> Places | None:
        """The rows in the query's order, from the first of a ranking; None when it is no use.

        The first blocks are simply tried: most searches are broad, and a guess costs more. To go
        on, a guess must say that it is worth it.
        """
        ordered = [(one, _EVERYTHING) for one in self._tests()]
        found = log.changed(ranking.since)
        found = self._left(found[found < len(self.ids)], ordered)
        few, guessed = len(self.ids) < SMALL, False
        start, length, stop = 0, BLOCK, BLOCK if few else TRIED
        while start < len(ranking.places):
            edge = ranking.edges[start // BLOCK] * way.factor
            if np.isnan(edge):
                return None
            if len(found) >= self.query.limit:
                found, worst = self._best(found, self.query.order, self.query.limit)
                if worst < edge:
                    return found
            if start >= stop:
                ordered, met = self._by_share()
                if few or guessed or self._reach(way, met) > WALKED_SHARE:
                    return None
                guessed, stop = True, int(len(ranking.places) * 2 * WALKED_SHARE)
            block = log.unchanged(ranking.places[start : start + length], ranking.since)
            found = np.concatenate([found, self._left(block[block < len(self.ids)], ordered)])
            start, length = start + length, length * 2
        return self.best(found)

    def _reach(self, way: Way, met: Places) -> float:
        """What share of a ranking has to be walked along.

        Guessed on the safe side: until nothing can be better than the best of the sample.
        """
        keys = self._keys(met, self.query.order[0])
        keys = keys[~np.isnan(keys)]
        if not len(keys):
            return _EVERYTHING
        bounds = self.columns.numbers(way.column, self._sample(), self.ask)
        bounds = (-bounds if way.descending else bounds) * way.factor
        return float((bounds <= keys.min()).mean()) + self.query.limit / len(self.ids)

    def through(self) -> Places:
        """The rows in the query's order, by looking at all."""
        ordered, _ = self._by_share()
        mask: Mask | None = None
        left = _EVERYTHING
        for nth, (test, share) in enumerate(ordered):
            if left < GATHER_BELOW:
                assert mask is not None
                return self.best(self._left(np.flatnonzero(mask), ordered[nth:]))
            held = self.columns.holds(test, slice(0, len(self.ids)), self.ask)
            mask = held if mask is None else np.logical_and(mask, held, out=mask)
            left *= share
        return self.best(np.arange(len(self.ids)) if mask is None else np.flatnonzero(mask))

    def best(self, places: Places) -> Places:
        """As many of the places as are wanted, in the query's order; ties by id."""
        return self._best(places, self.query.order, self.query.limit)[0]

    def _best(
        self, places: Places, order: Sequence[tuple[Column, bool]], limit: int
    ) -> tuple[Places, float]:
        """The best of the places, and the first key of the worst of these; NaN for none."""
        if len(places) <= max(limit, SORTED) or limit == 0:
            return self._sorted(places, order, limit)
        keys = self._keys(places, order[0]) if order else self.ids[places].astype(np.float64)
        worst = float(np.partition(keys, limit - 1)[limit - 1])
        if np.isnan(worst):
            surely, perhaps = ~np.isnan(keys), np.isnan(keys)
        else:
            surely, perhaps = keys < worst, keys == worst
        first, _ = self._sorted(places[surely], order, limit)
        rest = places[perhaps]
        if order:
            rest, _ = self._best(rest, order[1:], limit - len(first))
        return np.concatenate([first, rest])[:limit], worst

    def _sorted(
        self, places: Places, order: Sequence[tuple[Column, bool]], limit: int
    ) -> tuple[Places, float]:
        keys = [self._keys(places, one) for one in reversed(order)]
        ranked = np.lexsort([self.ids[places], *keys])[:limit]
        worst = float(keys[-1][ranked[-1]]) if keys and len(ranked) else np.nan
        return places[ranked], worst

    def _keys(self, places: Places, by: tuple[Column, bool]) -> Floats:
        column, descending = by
        ranks = self.columns.ranks(column, places, self.ask)
        return -ranks if descending else ranks

    def _tests(self) -> list[Test]:
        return self.columns.tests(self.query.predicates)

    def _left(self, places: Places, ordered: Sequence[tuple[Test, float]]) -> Places:
        for test, _ in ordered:
            if not len(places):
                break
            places = places[self.columns.holds(test, places, self.ask)]
        return places

    def _by_share(self) -> tuple[list[tuple[Test, float]], Places]:
        """The tests, each with the share of rows that meets it, and the sample that meets all.

        Those that fewest meet come first, but for computed ones, which cost more.
        """
        if len(self.ids) < SMALL:
            return [(one, _EVERYTHING) for one in self._tests()], _NONE
        some = self._sample()
        met = np.ones(SAMPLE, dtype=np.bool_)
        shares = []
        for test in self._tests():
            held = self.columns.holds(test, some, self.ask)
            met &= held
            shares.append((test, max(float(held.mean()), 1 / SAMPLE)))
        shares.sort(key=lambda one: one[1] + _is_computed(one[0]))
        return shares, some[met]

    def _sample(self) -> Places:
        return np.linspace(0, len(self.ids) - 1, SAMPLE).astype(np.intp)


def _is_computed(test: Test) -> bool:
    return not isinstance(test, Truths) and test.column.compute is not None
