"""Every flow run twice, raced with itself, and killed at each of its statements.

Nothing is lost, nothing is done twice, nothing is charged twice, and the laws hold at every commit:
the guards of tests/guards.sql watch all of it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Final

import psycopg
import pytest

from mercato.market.errors import Refusal
from tests import invariants
from tests.control.contents import Contents, contents
from tests.control.flows.catalogue import CASES
from tests.control.flows.deeds import ANEW, REFUSED, Case, Deed
from tests.control.fragile import Fragile
from tests.control.market import Market, open_market
from tests.control.postgres import Postgres

CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@contextmanager
def prepared(server: Postgres, case: Case) -> Iterator[tuple[Market, Fragile, Deed, "Look"]]:
    """A market at the moment before a deed."""
    with server.fresh() as url:
        db = Fragile(url, on_poke=lambda _: None)
        db.open()
        market = open_market(db, platform_fee_ppm=100_000)
        deed = case.prepare(market)
        try:
            with psycopg.connect(url, autocommit=True) as conn:
                yield market, db, deed, Look(conn)
                assert invariants.broken(conn) == {}
        finally:
            db.close()


_NEXT: Final = (
    "select quote_ident(sequencename), last_value, last_value is not null from pg_sequences"
)


class Look:
    """What the database holds now."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self._conn = conn
        self._next = conn.execute(_NEXT).fetchall()

    def __call__(self, *, numbers: bool = True) -> Contents:
        return contents(self._conn, numbers=numbers)

    def as_if_no_id_was_drawn(self) -> None:
        """Have the next ids be those of the beginning: what is undone leaves gaps."""
        for name, last, called in self._next:
            self._conn.execute("select setval(%s, %s, %s)", (name, last or 1, called))


def refused(deed: Callable[[], object]) -> bool:
    """Whether it is refused: by the market, or by a key that is there already."""
    try:
        deed()
    except (Refusal, psycopg.IntegrityError):
        return True
    return False


@CASE
def test_done_twice(case: Case, server_of_databases: Postgres) -> None:
    with prepared(server_of_databases, case) as (_, db, deed, look):
        before = look()
        db.run_now(deed)
        once = look()
        assert once != before, "there was something to do"
        assert refused(lambda: db.run_now(deed)) == (case.again == REFUSED)
        assert (look() == once) == (case.again != ANEW)


@CASE
def test_killed_at_every_statement_it_did_nothing_until_it_did_all(
    case: Case, server_of_databases: Postgres
) -> None:
    with prepared(server_of_databases, case) as (_, db, deed, look):
        db.run_now(deed)
        undisturbed = look()
    with prepared(server_of_databases, case) as (_, db, deed, look):
        before = look()
        for statement in count():
            db.statements_left = statement
            try:
                db.run_now(deed)
            except psycopg.OperationalError:
                assert look() == before
                look.as_if_no_id_was_drawn()
            else:
                break
        assert statement > 1
        assert look() == undisturbed


@CASE
def test_an_answer_that_was_lost_can_be_asked_for_again(
    case: Case, server_of_databases: Postgres
) -> None:
    with prepared(server_of_databases, case) as (_, db, deed, look):
        db.answer_lost = True
        with pytest.raises(psycopg.OperationalError):
            db.run_now(deed)
        once = look()
        refused(lambda: db.run_now(deed))
        assert (look() == once) == (case.again != ANEW)


@CASE
def test_raced_with_itself_it_is_as_if_done_one_after_the_other(
    case: Case, server_of_databases: Postgres
) -> None:
    with prepared(server_of_databases, case) as (_, db, deed, look):
        outcomes = [refused(lambda: db.run_now(deed)) for _ in range(4)]
        in_turn = look(numbers=False)
    with (
        prepared(server_of_databases, case) as (_, db, deed, look),
        ThreadPoolExecutor(4) as pool,
    ):
        raced = list(pool.map(lambda _: refused(lambda: db.run_now(deed)), range(4)))
        assert sorted(raced) == sorted(outcomes)
        assert look(numbers=False) == in_turn
