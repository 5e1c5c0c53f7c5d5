"""The one door to PostgreSQL: run an ordinary function in a serializable transaction.

A transaction is not async, so it cannot hold a lock while it waits for the network; it may run
again, so it has no other effect. What should happen after it commits is left on `Tx.pokes`.

Where many transactions want the same thing (a machine's GPUs, an account's money) a flow says
`tx.queue("machine:7")` before it reads what it decides on. When nobody else is at it, it goes on;
else it begins again at the end of a queue, in which it stands before its snapshot is taken: so it
sees the winner's work at once instead of failing to serialize, again and again.

PostgreSQL also has transactions lose that only touched the same page of an index, as any two do
that sign a contract. Whoever lost a race runs again while nobody who queues does, and so does not
lose another to them. docs/decisions/0004-transactions.md and 0011 have the figures.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, LiteralString, ParamSpec, TypeVar

import anyio.to_thread
import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import ConnectionPool, PoolTimeout

P = ParamSpec("P")
T = TypeVar("T")
Row = dict[str, Any]

RETRIES_MAX: Final = 50
"""A transaction that lost this many races is given up: something else is wrong."""

CONNECTION_WAIT_S: Final = 60.0
"""How long a transaction waits for a free connection before it fails."""

AWAY: Final = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction, PoolTimeout)
"""What a transaction raises while the database cannot be reached, or can only be read because its
place is being taken by another."""

_EVERYBODY: Final[LiteralString] = "hashtextextended('everybody', 0)"
"""The lock that all who queue share, and that who lost a race has for itself."""

STATEMENTS_PREPARED_MAX: Final = 1_000
"""More than there are: when there are fewer places they push one another out."""


class _QueueFirst(Exception):  # noqa: N818 - a turn of the road, not a fault
    """The transaction must begin again, at the end of a queue."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


@dataclass(slots=True)
class Tx:
    """One transaction: its connection, and what to tell the world when it has committed."""

    conn: psycopg.Connection[Row]
    pokes: list[str] = field(default_factory=list)
    """Topics: `machine:7` (what should be, or is on sale, there changed), `loop:credit`."""
    queued: set[str] = field(default_factory=set)
    """Topics of which this transaction has its turn until it ends."""
    alone: bool = False
    """It lost a race and has its turn of everything."""
    cursor: psycopg.Cursor[Row] = field(init=False)
    """All its statements go through this one: to make one for each is a third of its cost here."""

    def __post_init__(self) -> None:
        self.cursor = self.conn.cursor()

    def all(self, sql: LiteralString, *args: object) -> list[Row]:
        """Every row of a query."""
        return self.cursor.execute(sql, args).fetchall()

    def one(self, sql: LiteralString, *args: object) -> Row | None:
        """The only row of a query, or None."""
        return self.cursor.execute(sql, args).fetchone()

    def run(self, sql: LiteralString, *args: object) -> int:
        """Run a statement; the number of rows it touched."""
        return self.cursor.execute(sql, args).rowcount

    @property
    def wrote(self) -> bool:
        """Whether anything was written: only then has PostgreSQL given it a number."""
        found = self.one("select pg_current_xact_id_if_assigned() is not null as wrote")
        return found is not None and bool(found["wrote"])

    def poke(self, topic: str) -> None:
        """Tell `topic` that it changed, once this has committed."""
        if topic not in self.pokes:
            self.pokes.append(topic)

    def queue(self, topic: str) -> None:
        """Go on only when nobody else is at `topic`; the transaction may begin anew for it."""
        if self.alone or topic in self.queued:
            return
        free = self.one(
            f"select pg_try_advisory_xact_lock_shared({_EVERYBODY})"
            " and pg_try_advisory_xact_lock(hashtextextended(%s, 0)) as free",
            topic,
        )
        if free is None or not free["free"]:
            raise _QueueFirst(topic)
        self.queued.add(topic)


@dataclass(slots=True)
class Tally:
    """What the database's door has counted since the start."""

    committed: int = 0
    retried: int = 0
    """Transactions that ran again because they lost a race."""


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
            timeout=CONNECTION_WAIT_S,
            open=False,
            kwargs={"row_factory": dict_row, "autocommit": True},
            connection_class=psycopg.Connection[Row],
            configure=_configure,
        )
        self._on_poke = on_poke
        self._counting = threading.Lock()
        self.tally = Tally()

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
        topics: set[str] = set()
        lost = 0
        tx: Tx
        result: T
        while True:
            alone = lost > 0
            try:
                with self._pool.connection() as conn, _standing_in(conn, topics, alone=alone):
                    tx = Tx(conn, queued=set(topics), alone=alone)
                    with _transaction(conn):
                        result = flow(tx, *args, **kwargs)
                break
            except _QueueFirst as turn:
                topics.add(turn.topic)
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                lost += 1
                if lost == RETRIES_MAX:
                    raise
        with self._counting:
            self.tally.committed += 1
            self.tally.retried += lost
        if tx.pokes:
            self._on_poke(tx.pokes)
        return result


def _configure(conn: psycopg.Connection[Row]) -> None:
    """Have statements planned once, from their second time on, and JSON read quickly."""
    conn.prepare_threshold = 1
    conn.prepared_max = STATEMENTS_PREPARED_MAX
    set_json_loads(msgspec.json.decode, conn)


@contextmanager
def _transaction(conn: psycopg.Connection[Row]) -> Iterator[None]:
    """Commit what is done within, or roll it back when that raises.

    The driver's own transactions forget every prepared statement when they roll back, for the sake
    of those that make tables; ours make none, every refusal is a rollback, and planning all anew
    after each costs more than the rest of a transaction.
    """
    _say(conn, b"begin isolation level serializable")
    try:
        yield
    except BaseException:
        if not conn.closed:
            conn.pgconn.exec_(b"rollback")
        raise
    if _say(conn, b"commit") != b"COMMIT":
        # So it answers after a statement that failed: whoever caught that must not go on from it.
        raise psycopg.errors.InFailedSqlTransaction(
            "nothing was written: a statement of this transaction failed, and the flow went on"
        )


def _say(conn: psycopg.Connection[Row], command: bytes) -> bytes | None:
    """Give a command without rows; what PostgreSQL says that it did."""
    result = conn.pgconn.exec_(command)
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        state = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
        kind = psycopg.errors.lookup(state.decode()) if state else psycopg.OperationalError
        raise kind(result.get_error_message())
    return result.command_status


@contextmanager
def _standing_in(conn: psycopg.Connection[Row], topics: set[str], *, alone: bool) -> Iterator[None]:
    """Hold the session's advisory lock of every topic, or of everything.

    Taken in one order, so that nobody deadlocks; served in the order in which they came.
    """
    if not topics and not alone:
        yield
        return
    try:
        if alone:
            conn.execute(f"select pg_advisory_lock({_EVERYBODY})")
        else:
            conn.execute(
                f"select pg_advisory_lock_shared({_EVERYBODY}),"  # noqa: S608 - no word comes from outside
                " pg_advisory_lock(hashtextextended(topic, 0)) from unnest(%s::text[]) as topic",
                (sorted(topics),),
            )
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock_all()")
