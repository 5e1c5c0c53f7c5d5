"""The rows of a catalog in memory, and the search over them.

Any thread may call any method: one lock covers each batch of changes and each search, so a search
sees a batch whole or not at all. What takes long is done before the lock is taken.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from mercato.catalog.columns import Columns, Floats, Places, Row
from mercato.catalog.language import Query
from mercato.catalog.rankings import Log, Ranking
from mercato.catalog.schema import Ask, Schema
from mercato.catalog.searching import Search, Way
from mercato.catalog.shown import Answers, Shown

RANKED: Final = 4_096
"""Fewer rows are not worth a ranking."""
STALE_SHARE: Final = 1 / 64
"""When more of the rows have changed, a ranking is sorted anew."""
USELESS_SHARE: Final = 1 / 8
"""When more of the rows have changed, a ranking is no longer walked along."""
IDLE_REFRESHES: Final = 100
"""A ranking that nobody asked for that long is let go."""

_NONE: Final = np.array(None, dtype=np.object_)
_encode: Final = msgspec.json.Encoder().encode


class Index:
    """Rows by id, searchable by any column of a schema."""

    def __init__(self, schema: Schema) -> None:
        """Begin without rows."""
        self.schema = schema
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._columns = Columns(schema)
        self._ids = np.zeros(self._columns.room, dtype=np.int64)
        self._rows: list[bytes] = []
        self._place: dict[int, int] = {}
        self._log = Log()
        self._rankings: dict[tuple[str, bool], Ranking | None] = {}
        """By column and whether it descends; None while it is only asked for."""
        self._idle: dict[tuple[str, bool], int] = {}
        self._kept = Shown(self._spliced)
        self._answers = Answers()

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def change(self, upserted: Mapping[int, Row], removed: Iterable[int] = ()) -> None:
        """Take away the removed ids, then put the given rows in place of any of their ids."""
        with self._changing:
            encoded = [self._encoded(row) for row in upserted.values()]
            values = self._columns.read(list(upserted.values()))
            with self._lock:
                self._answers.forget()
                for row in removed:
                    self._remove(row)
                places = np.array([self._placed(row) for row in upserted], dtype=np.intp)
                self._columns.put(places, values)
                if len(self._ids) < self._columns.room:
                    self._ids = np.resize(self._ids, self._columns.room)
                    self._log.cover(self._columns.room)
                self._ids[places] = np.fromiter(upserted, dtype=np.int64, count=len(places))
                for place, text in zip(places, encoded, strict=True):
                    self._rows[place] = text
                self._changed(places)

    def search(self, query: Query, now_ms: int, seed: int = 0) -> bytes:
        """The JSON array of the rows that match, in the query's order."""
        return array(self.rows(query, now_ms, seed))

    def rows(self, query: Query, now_ms: int, seed: int = 0) -> Sequence[bytes]:
        """The rows that match, each as JSON, in the query's order.

        To ask with the same `Query` object again costs next to nothing until a row changes.
        """
        ask = Ask(now_ms, query.storage_gb, query.rental, seed)
        with self._lock:
            rows = self._answers.given(query, ask)
            if rows is None:
                rows = self._shown(self._matching(query, ask), ask)
                self._answers.keep(query, ask, rows)
            return rows

    def search_ids(self, query: Query, now_ms: int, seed: int = 0) -> list[int]:
        """The ids of the rows that match, in the query's order; ties by id."""
        with self._lock:
            places = self._matching(query, Ask(now_ms, query.storage_gb, query.rental, seed))
            return [int(one) for one in self._ids[places]]

    def refresh(self) -> bool:
        """Sort anew what searches walk along, where it is wanted; whether anything was.

        To be called now and then from a thread that may take its time; without it broad searches
        over very many rows are slower, and nothing else.
        """
        with self._lock:
            due = self._due()
            since = self._log.length
            ask = Ask(0, 0.0, "on-demand")
            everything = slice(0, len(self._rows))
            values = {key: self._columns.numbers(key[0], everything, ask).copy() for key in due}
        fresh = {key: Ranking.of(values[key], since, descending=key[1]) for key in due}
        with self._lock:
            self._rankings.update(fresh)
            kept = [one.since for one in self._rankings.values() if one is not None]
            self._log.forget(min(kept, default=self._log.length))
        return bool(due)

    def _due(self) -> list[tuple[str, bool]]:
        for key in list(self._rankings):
            self._idle[key] += 1
            if self._idle[key] > IDLE_REFRESHES:
                del self._rankings[key], self._idle[key]
        return [
            key
            for key, ranking in self._rankings.items()
            if ranking is None or self._stale(ranking) > STALE_SHARE
        ]

    def _stale(self, ranking: Ranking) -> float:
        return (self._log.length - ranking.since) / max(1, len(self._rows))

    def _encoded(self, row: Row) -> bytes:
        """A row's JSON without its closing brace, for the members of a request to follow."""
        unshown = self.schema.unshown
        return _encode({name: value for name, value in row.items() if name not in unshown})[:-1]

    def _placed(self, row: int) -> int:
        """The place of an id, at the end when it had none."""
        place = self._place.setdefault(row, len(self._rows))
        if place == len(self._rows):
            self._rows.append(b"")
        return place

    def _remove(self, row: int) -> None:
        at = self._place.pop(row, None)
        if at is None:
            return
        last = len(self._rows) - 1
        final = self._rows.pop()
        if at != last:
            self._rows[at] = final
            self._ids[at] = self._ids[last]
            self._columns.move(last, at)
            self._place[int(self._ids[at])] = at
            self._changed(np.array([at], dtype=np.intp))

    def _changed(self, places: Places) -> None:
        if self._rankings:
            self._log.write(places)

    def _matching(self, query: Query, ask: Ask) -> Places:
        search = Search(query, ask, self._columns, self._ids[: len(self._rows)])
        with np.errstate(all="ignore"):
            way = search.way() if len(self._rows) >= RANKED and query.limit else None
            ranking = self._ranking(way) if way is not None else None
            if way is not None and ranking is not None:
                places = search.along(way, ranking, self._log)
                if places is not None:
                    return places
            return search.through()

    def _ranking(self, way: Way) -> Ranking | None:
        """The ranking along a way, if it is there and of use; asks for it otherwise."""
        key = (way.column, way.descending)
        ranking = self._rankings.setdefault(key, None)
        self._idle[key] = 0
        usable = ranking is not None and self._stale(ranking) < USELESS_SHARE
        return ranking if usable else None

    def _shown(self, places: Places, ask: Ask) -> list[bytes]:
        """The rows with the members that depend on the request."""
        stored = [self._rows[place] for place in places]
        if self.schema.spliced is None:
            return [row + b"}" for row in stored]
        return self._kept.rows(places.tolist(), stored, ask)

    def _spliced(self, places: Sequence[int], ask: Ask) -> list[bytes]:
        make = self.schema.spliced
        assert make is not None
        at = np.array(places, dtype=np.intp)
        found: list[list[Any]] = []
        known: dict[str, Floats] = {}
        for name in self.schema.splice_from:
            values = self._columns.numbers(name, at, ask, known)
            null = np.isnan(values)
            shown = np.where(null, _NONE, values) if null.any() else values
            found.append(shown.tolist())
        made = []
        for place, given in zip(places, zip(*found, strict=True), strict=True):
            row, members = self._rows[place], _encode(make(given, ask))
            joint = b"," if len(row) > 1 and len(members) > 2 else b""
            made.append(row + joint + members[1:])
        return made


def array(rows: Sequence[bytes], before: bytes = b"[", after: bytes = b"]") -> bytes:
    """Rows as one text between these two; they are many, so they are copied only once."""
    if len(rows) < 2:
        return b"".join((before, *rows, after))
    return b",".join((before + rows[0], *rows[1:-1], rows[-1] + after))
