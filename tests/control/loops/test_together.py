"""Loops on two servers at once, and loops that die on the way: all is done, and nothing twice."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

import psycopg
import pytest

from mercato.control.db import Database
from mercato.control.flows import limiting, noticing, renting
from mercato.control.flows.house import House
from mercato.control.loops.all import loops
from mercato.control.loops.loop import Loop
from mercato.market.limits import Action, Period, Scope
from mercato.market.money import NanoUsd, NanoUsdPerHour, nano
from tests import invariants
from tests.control.contents import Contents, contents
from tests.control.fragile import Fragile
from tests.control.market import HOUR, T0, Market, open_market
from tests.control.postgres import Postgres

NOW: Final = T0 + 30 * HOUR

WITH_WORK: Final = (
    *("auction", "credit", "expiry", "limits", "meter", "prices", "sealing", "silence", "sweep"),
    "webhooks",
)
"""Loops that find something to do in the market below."""

STRIDE: Final = 5
"""Statements between one crash and the next: each run goes on where the last one died."""


@dataclass
class Prepared:
    """A market of which much time has passed that nobody has looked at."""

    server: Postgres
    url: str
    house: House

    @contextmanager
    def copy(self, name: str, replicas: int = 1) -> Iterator[tuple[str, list[Loop]]]:
        """The URL of a copy, and one loop of it on each of some servers."""
        with self.server.fresh(self.url) as url:
            doors = [Fragile(url, on_poke=lambda _: None) for _ in range(replicas)]
            for door in doors:
                door.open()
            try:
                yield url, [self.loop(name, door) for door in doors]
            finally:
                for door in doors:
                    door.close()
                with psycopg.connect(url, autocommit=True) as conn:
                    assert invariants.broken(conn) == {}

    def loop(self, name: str, db: Database) -> Loop:
        return next(one for one in loops(db, self.house, T0) if one.name == name)


@pytest.fixture(scope="module")
def prepared(server_of_databases: Postgres) -> Iterator[Prepared]:
    with server_of_databases.fresh() as url:
        db = Database(url, on_poke=lambda _: None)
        db.open()
        market = open_market(db, webhooks_anywhere=True)
        _much_to_do(market)
        db.close()
        yield Prepared(server_of_databases, url, market.house)


def _much_to_do(market: Market) -> None:
    db, renter = market.db, market.renter
    hook = noticing.Wish(name="hook", url="http://127.0.0.1:9/")
    db.run_now(noticing.subscribe, renter, hook, market.house.box.seal("secret"), T0)
    limit = limiting.Wish(
        scope=Scope.ACCOUNT,
        scope_id=renter,
        period=Period.DAY,
        amount=NanoUsd(nano(9)),
        action=Action.STOP,
    )
    db.run_now(limiting.set_limit, renter, limit, T0)
    runs, ends, bids = (market.machine(4, **asked) for asked in ({}, {"end_at_ms": T0 + HOUR}, {}))
    stopped = market.rent(market.offer(runs, 2)).contract
    market.rent(market.offer(ends, 2))
    market.rent(market.offer(runs, 3), renter=market.account("poor", "2.00"))
    market.rent(market.offer(bids, 1), bid=NanoUsdPerHour(nano("0.80")))
    for agent in (runs, ends, bids):
        agent.settle(T0)
    market.rent(market.offer(bids, 1), T0 + 6_000, market.account("stronger"))
    runs.report(T0 + HOUR)
    db.run_now(renting.stop, renter, stopped.id, T0 + HOUR)
    bids.report(NOW)


def _contents(url: str) -> Contents:
    with psycopg.connect(url, autocommit=True) as conn:
        return contents(conn, numbers=False)


@pytest.mark.parametrize("name", WITH_WORK)
def test_on_two_servers_at_once_nothing_is_done_twice(prepared: Prepared, name: str) -> None:
    with prepared.copy(name) as (url, (loop,)):
        alone = Counter(loop.activate(NOW))
        assert alone.total() > 0, "there was something to do"
        once = _contents(url)
    with prepared.copy(name, 2) as (url, replicas), ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda one: Counter(one.activate(NOW)), replicas))
        assert +(reports[0] + reports[1]) == +alone
        assert _contents(url) == once


@pytest.mark.parametrize("name", [name for name in WITH_WORK if name != "webhooks"])
def test_what_a_crash_left_undone_the_next_run_does(prepared: Prepared, name: str) -> None:
    """A notice is another matter: one that may have been posted is posted again later."""
    with prepared.copy(name) as (url, (loop,)):
        loop.activate(NOW)
        once = _contents(url)
    with prepared.copy(name) as (url, _):
        door = Fragile(url, on_poke=lambda _: None)
        door.open()
        loop = prepared.loop(name, door)
        for statement in count(0, STRIDE):
            door.statements_left = statement
            try:
                loop.activate(NOW)
            except psycopg.OperationalError:
                continue
            break
        door.close()
        assert statement > 0
        assert _contents(url) == once
