"""A database whose connection is lost wherever a test wants it to be."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg

from mercato.control.db import Database, Row, Tx

P = ParamSpec("P")
T = TypeVar("T")


class Fragile(Database):
    """The control plane's own door to PostgreSQL, with a saw at its rope."""

    statements_left: int | None = None
    """The connection is lost in place of the statement after so many; None: it holds. A commit
    counts as a statement."""
    races_lost = False
    """In its place the transaction finds that it lost a race, and is run again."""
    answer_lost = False
    """The next commit happens, and its answer is lost with the connection."""
    statements = 0
    """How many there were in all."""

    def run_now(
        self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `flow` as ever, unless the connection is lost.

        Raises:
            psycopg.OperationalError: when it is.
        """
        result = super().run_now(self._counted(flow), *args, **kwargs)
        if self.answer_lost:
            self.answer_lost = False
            raise psycopg.OperationalError("the connection was lost after the commit")
        return result

    def hold(self) -> None:
        """Let nothing go wrong from now on."""
        self.statements_left = None
        self.races_lost = self.answer_lost = False

    def _counted(self, flow: Callable[Concatenate[Tx, P], T]) -> Callable[Concatenate[Tx, P], T]:
        def run(tx: Tx, /, *args: P.args, **kwargs: P.kwargs) -> T:
            tx.cursor = _Counting(tx.cursor, self)  # type: ignore[assignment] # it is used as one
            result = flow(tx, *args, **kwargs)
            self.count(tx.conn)  # the commit
            return result

        return run

    def count(self, conn: psycopg.Connection[Row]) -> None:
        """Take note of a statement, or of what happens in its place."""
        self.statements += 1
        if self.statements_left == 0:
            self.statements_left = None
            if self.races_lost:
                raise psycopg.errors.SerializationFailure("another transaction was faster")
            conn.close()
            raise psycopg.OperationalError("the connection was lost")
        if self.statements_left is not None:
            self.statements_left -= 1


class _Counting:
    """A cursor that has its statements counted."""

    def __init__(self, cursor: psycopg.Cursor[Row], counted_by: Fragile) -> None:
        self._cursor = cursor
        self._counted_by = counted_by

    def execute(self, *args: Any, **more: Any) -> psycopg.Cursor[Row]:
        self._counted_by.count(self._cursor.connection)
        return self._cursor.execute(*args, **more)
