"""Accepting offers: how many a second, beside the same SQL run bare.

Run as `.venv/bin/python bench/accept.py`. The flow `rent` accepts offers of a market one after
another; every statement of it is recorded. A copy of the same database is then given the same
statements with the same values, transaction by transaction, with nothing of ours between: the
floor. Also how many renters accept when eight ask at once, and how fast machines report.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import LiteralString

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from measure import Table, ms, quantile, report
from mercato.control.db import Database, Row, Tx
from mercato.control.embedded import EmbeddedPostgres
from mercato.control.flows import renting
from mercato.control.migrate import migrate
from mercato.market.ids import AccountId, OfferId
from tests.control.market import T0, Agent, Market, open_market, request

MACHINES = 60
GPUS = 8
RENTERS = 60
THREADS = 8
ROUNDS = 5
COLUMNS = ("what", "a second", "p50 ms", "p99 ms", "done", "given up", "races lost")
BEGIN = "set transaction isolation level serializable"

Statement = tuple[LiteralString, tuple[object, ...]]


@dataclass(slots=True)
class Recorded(Tx):
    """A transaction that keeps what it was told to run."""

    said: list[Statement] = field(default_factory=list)

    def all(self, sql: LiteralString, *args: object) -> list[Row]:
        self.said.append((sql, args))
        return self.conn.execute(sql, args).fetchall()

    def one(self, sql: LiteralString, *args: object) -> Row | None:
        self.said.append((sql, args))
        return self.conn.execute(sql, args).fetchone()

    def run(self, sql: LiteralString, *args: object) -> int:
        self.said.append((sql, args))
        return self.conn.execute(sql, args).rowcount


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="mercato-bench-") as home,
        EmbeddedPostgres(Path(home)) as url,
    ):
        figures(url)


def figures(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("create database market")
        migrate(named(url, "market"))
        with opened(named(url, "market")) as db:
            market = open_market(db)
            agents = [market.machine(GPUS) for _ in range(MACHINES)]
            renters = [market.account(f"renter-{number}") for number in range(RENTERS)]
            nodes = range(GPUS, 2 * GPUS)
            offers = [market.offer(agent, node) for node in nodes for agent in agents]
        with psycopg.connect(named(url, "market"), autocommit=True) as filled:
            filled.execute("vacuum analyze")
        for name in ("bare", "crowd"):
            conn.execute(f"create database {name} template market")
    work = [(offer, renters[nth % RENTERS]) for nth, offer in enumerate(offers)]
    with opened(named(url, "market")) as db:
        market.db = db
        ours, said = one_by_one(market, work)
    bare = replayed(named(url, "bare"), said)
    with opened(named(url, "crowd")) as db:
        market.db = db
        crowd, lasted = at_once(market, work)
        raced = db.tally.retried
        reports, reporting = reported(agents)
        raced_reports = db.tally.retried - raced
    statements = quantile([len(each) for each in said], 0.5)
    rows = [
        row("rent, one after another", ours, sum(ours) / 1_000, len(ours), 0),
        row("the same SQL, bare", bare, sum(bare) / 1_000, len(bare), 0),
        row(f"rent, {THREADS} renters at once", crowd, lasted, len(work), raced),
        row(
            f"a machine's report, {THREADS} at once",
            reports,
            reporting,
            len(agents) * ROUNDS,
            raced_reports,
        ),
    ]
    share = quantile(bare, 0.5) / quantile(ours, 0.5)
    report(
        __file__,
        "Accepting an offer",
        f"{len(work)} offers of one GPU each on {MACHINES} machines, {RENTERS} renters; an "
        f"embedded PostgreSQL that flushes every commit to disk, on the same cores. A rental is "
        f"{statements:.0f} statements in one serializable transaction. **The bare statements take "
        f"{share:.0%} of a rental's time**; the rest is deciding, and reading rows into data.",
        [Table("", COLUMNS, rows)],
    )


def row(
    name: str, times: Sequence[float], lasted_s: float, asked: int, races_lost: int
) -> list[str]:
    """`asked` is how many were to be done: what is missing lost too many races and was given up."""
    return [
        *(name, f"{len(times) / lasted_s:,.0f}"),
        *(ms(quantile(times, 0.5)), ms(quantile(times, 0.99))),
        *(str(len(times)), str(asked - len(times)), f"{races_lost:,}"),
    ]


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1_000


def one_by_one(
    market: Market, work: Sequence[tuple[OfferId, AccountId]]
) -> tuple[list[float], list[list[Statement]]]:
    times, said = [], []
    for offer, renter in work:
        kept: list[Statement] = []

        def flow(
            tx: Tx,
            offer: OfferId = offer,
            renter: AccountId = renter,
            kept: list[Statement] = kept,
        ) -> None:
            recorded = Recorded(tx.conn, queued=tx.queued, said=kept)
            house = market.house
            renting.rent(recorded, renter, offer, request(), T0, market.mint(), house=house)

        times.append(timed(partial(market.db.run_now, flow)))
        said.append(kept)
    return times, said


def replayed(url: str, said: Sequence[Sequence[Statement]]) -> list[float]:
    with psycopg.connect(url, autocommit=True) as conn:

        def once(statements: Sequence[Statement]) -> None:
            with conn.transaction():
                conn.execute(BEGIN)
                for sql, args in statements:
                    made = conn.execute(sql, args)
                    if made.description is not None:
                        made.fetchall()

        return [timed(partial(once, each)) for each in said]


def at_once(market: Market, work: Sequence[tuple[OfferId, AccountId]]) -> tuple[list[float], float]:
    return crowded([partial(market.rent, offer, T0, renter) for offer, renter in work])


def reported(agents: Sequence[Agent]) -> tuple[list[float], float]:
    """Every machine, full of instances, says what is there, again and again."""
    return crowded([partial(agent.report, T0 + 1_000) for agent in list(agents) * ROUNDS])


def crowded(calls: Sequence[Callable[[], object]]) -> tuple[list[float], float]:
    """How long each took that came to an end, THREADS at once, and all together."""

    def one(call: Callable[[], object]) -> float | None:
        try:
            return timed(call)
        except psycopg.errors.SerializationFailure:
            return None

    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        times = [each for each in pool.map(one, calls) if each is not None]
    return times, time.perf_counter() - began


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url, connections_max=THREADS, on_poke=lambda _topics: None)
    database.open()
    try:
        yield database
    finally:
        database.close()


def named(url: str, database: str) -> str:
    return url.replace("///postgres?", f"///{database}?")


if __name__ == "__main__":
    main()
