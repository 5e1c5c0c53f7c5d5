"""The one door to PostgreSQL: run an ordinary function in a serializable transaction.

A transaction is not async, so it cannot hold a lock while it waits for the network; it may run
again, so it has no other effect. What should happen after it commits is left on `Tx.pokes`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, LiteralString, ParamSpec, TypeVar

import anyio.to_thread
import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

P = ParamSpec("P")
T = TypeVar("T")
Row = dict[str, Any]

RETRIES_MAX: Final = 30
"""A transaction that lost this many races is given up: something else is wrong."""


@dataclass(slots=True)
class Tx:
    """One transaction: its connection, and what to tell the world when it has committed."""

    conn: psycopg.Connection[Row]
    pokes: list[str] = field(default_factory=list)
    """Topics: `machine:7` (what should be, or is on sale, there changed), `loop:credit`."""

    def all(self, sql: LiteralString, *args: object) -> list[Row]:
        """Every row of a query."""
        return self.conn.execute(sql, args).fetchall()

    def one(self, sql: LiteralString, *args: object) -> Row | None:
        """The only row of a query, or None."""
        return self.conn.execute(sql, args).fetchone()

    def run(self, sql: LiteralString, *args: object) -> int:
        """Run a statement; the number of rows it touched."""
        return self.conn.execute(sql, args).rowcount

    def poke(self, topic: str) -> None:
        """Tell `topic` that it changed, once this has committed."""
        if topic not in self.pokes:
            self.pokes.append(topic)


class Database:
    """A pool of connections and the rule by which they are used."""

    def __init__(
        self, url: str, *, connections_max: int = 8, on_poke: Callable[[Sequence[str]], None]
    ) -> None:
        """Open a pool on `url`; `on_poke` is called, from a worker thread, after each commit."""
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=connections_max,
            open=False,
            kwargs={"row_factory": dict_row, "autocommit": True},
            connection_class=psycopg.Connection[Row],
        )
        self._on_poke = on_poke

    def open(self) -> None:
        """Connect.

        Raises:
            psycopg.OperationalError: when the database cannot be reached.
        """
        self._pool.open(wait=True, timeout=10)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    async def run(
        self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `flow` in a serializable transaction, in a thread, again if it lost a race."""
        return await anyio.to_thread.run_sync(lambda: self.run_now(flow, *args, **kwargs))

    def run_now(
        self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, in the calling thread."""
        for attempt in range(RETRIES_MAX):
            try:
                with self._pool.connection() as conn:
                    tx = Tx(conn)
                    with conn.transaction():
                        conn.execute("set transaction isolation level serializable")
                        result = flow(tx, *args, **kwargs)
                break
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                if attempt == RETRIES_MAX - 1:
                    raise
        else:  # pragma: no cover - the loop breaks or raises
            raise AssertionError
        if tx.pokes:
            self._on_poke(tx.pokes)
        return result
