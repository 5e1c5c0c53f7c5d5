"""How a query finds its rows: along a ranking when many match, through all of them when few do.

Both ways give the same rows. The better one is guessed from a sample of the rows; a walk along a
ranking that finds less than was guessed is given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mercato.catalog.columns import Columns, Floats, Mask, Places
from mercato.catalog.language import Predicate, Query
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
        ordered = [(one, _EVERYTHING) for one in self.query.predicates]
        found = log.changed(ranking.since)
        found = self._left(found[found < len(self.ids)], ordered)
        few, guessed = len(self.ids) < SMALL, False
        start, length, stop = 0, BLOCK, BLOCK if few else TRIED
        while start < len(ranking.places):
            edge = ranking.edges[start // BLOCK] * way.factor
            if np.isnan(edge):
                return None
            if len(found) >= self.query.limit:
                found, worst = self._kept(found)
                if worst < edge:
                    return self.best(found)
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
        for nth, (predicate, share) in enumerate(ordered):
            if left < GATHER_BELOW:
                assert mask is not None
                return self.best(self._left(np.flatnonzero(mask), ordered[nth:]))
            held = self.columns.holds(predicate, slice(0, len(self.ids)), self.ask)
            mask = held if mask is None else np.logical_and(mask, held, out=mask)
            left *= share
        return self.best(np.arange(len(self.ids)) if mask is None else np.flatnonzero(mask))

    def best(self, places: Places) -> Places:
        """As many of the places as are wanted, in the query's order; ties by id."""
        return self._best(places, self.query.order, self.query.limit)

    def _best(self, places: Places, order: Sequence[tuple[Column, bool]], limit: int) -> Places:
        if len(places) <= limit or limit == 0:
            return self._sorted(places, order)[:limit]
        keys = self._keys(places, order[0]) if order else self.ids[places].astype(np.float64)
        worst = np.partition(keys, limit - 1)[limit - 1]
        if np.isnan(worst):
            surely, perhaps = ~np.isnan(keys), np.isnan(keys)
        else:
            surely, perhaps = keys < worst, keys == worst
        first = self._sorted(places[surely], order)
        if not order:
            return np.concatenate([first, places[perhaps]])[:limit]
        return np.concatenate([first, self._best(places[perhaps], order[1:], limit - len(first))])

    def _sorted(self, places: Places, order: Sequence[tuple[Column, bool]]) -> Places:
        keys = [self._keys(places, one) for one in reversed(order)]
        return places[np.lexsort([self.ids[places], *keys])]

    def _keys(self, places: Places, by: tuple[Column, bool]) -> Floats:
        column, descending = by
        ranks = self.columns.ranks(column, places, self.ask)
        return -ranks if descending else ranks

    def _kept(self, places: Places) -> tuple[Places, float]:
        """Those that can still be among the best, and the key of the worst that is."""
        keys = self._keys(places, self.query.order[0])
        worst = float(np.partition(keys, self.query.limit - 1)[self.query.limit - 1])
        return (places, np.inf) if np.isnan(worst) else (places[keys <= worst], worst)

    def _left(self, places: Places, ordered: Sequence[tuple[Predicate, float]]) -> Places:
        for predicate, _ in ordered:
            places = places[self.columns.holds(predicate, places, self.ask)]
        return places

    def _by_share(self) -> tuple[list[tuple[Predicate, float]], Places]:
        """The predicates, each with the share of rows that meets it, and the sample that meets all.

        Those that fewest meet come first, but for computed ones, which cost more.
        """
        if len(self.ids) < SMALL:
            return [(one, _EVERYTHING) for one in self.query.predicates], _NONE
        some = self._sample()
        met = np.ones(SAMPLE, dtype=np.bool_)
        shares = []
        for predicate in self.query.predicates:
            held = self.columns.holds(predicate, some, self.ask)
            met &= held
            shares.append((predicate, max(float(held.mean()), 1 / SAMPLE)))
        shares.sort(key=lambda one: one[1] + (one[0].column.compute is not None))
        return shares, some[met]

    def _sample(self) -> Places:
        return np.linspace(0, len(self.ids) - 1, SAMPLE).astype(np.intp)
