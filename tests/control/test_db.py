"""The one door to PostgreSQL."""

from contextlib import suppress

import psycopg
import pytest

from mercato.control.db import Database, Tx


def test_a_flow_that_goes_on_from_a_failed_statement_is_told_that_nothing_was_written(
    db: Database, pokes: list[str]
) -> None:
    def careless(tx: Tx) -> str:
        tx.poke("machine:1")
        with suppress(psycopg.errors.DivisionByZero):
            tx.run("select 1 / 0")
        return "written"

    with pytest.raises(psycopg.errors.InFailedSqlTransaction, match="nothing was written"):
        db.run_now(careless)
    assert (pokes, db.tally.committed) == ([], 0)
    # The connection is as good as new.
    assert db.run_now(lambda tx: tx.one("select 1 as one")) == {"one": 1}
