"""The laws in SQL hold in a market at work, and notice what breaks them."""

import psycopg
import pytest

from mercato.control.db import Database
from tests import invariants
from tests.control.market import T0, open_market


def test_laws_hold_while_machines_are_let_and_notice_a_forged_balance(
    db: Database, database_url: str
) -> None:
    market = open_market(db)
    agent = market.machine(4)
    market.rent(market.offer(agent, 4), T0, market.account("renter-0"))
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert invariants.broken(connection) == {}
        connection.execute("update purses set balance = balance + 1")
        assert list(invariants.broken(connection)) == ["a purse is the sum of what moved"]


@pytest.mark.parametrize("law", invariants.LAWS)
def test_each_law_can_be_asked(law: str, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute(invariants.LAWS[law]).fetchall() == []
