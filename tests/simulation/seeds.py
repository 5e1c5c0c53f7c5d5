"""Runs seeds: a week of one market each."""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from tests.control.contents import contents
from tests.control.fragile import Fragile
from tests.control.postgres import Postgres
from tests.simulation import dealings, laws, people
from tests.simulation.market import Market
from tests.simulation.world import DAY, HOUR, T0, World, moment

CALM: Final = 3 * HOUR
"""How long before its end nothing goes wrong any more."""

TRUTH_EVERY: Final = 10
"""After so many steps the database is compared with what truly is on the machines."""

WHOLE_EVERY: Final = 500
"""After so many steps all laws are asked of everything; the guards ask at every commit."""

HASTY: Final = "-c plan_cache_mode=force_generic_plan"
"""Every lost connection has all statements planned anew: once each, not five times first."""


@dataclass(frozen=True)
class Scale:
    """How large a market is simulated for how long."""

    machines: int = 50
    days: float = 7.0


@dataclass(frozen=True)
class Outcome:
    """What became of a seed."""

    seed: int
    digest: str
    tally: dict[str, int]
    transactions: int
    statements: int


class Broken(Exception):  # noqa: N818 - what a seed found, not a fault of the simulation
    """A law was broken; the message tells how to see it again."""


def run(seed: int, postgres: Postgres, scale: Scale = Scale()) -> Outcome:
    """Simulate a market.

    Raises:
        Broken: when a law was, with what happened last and the command that replays it.
    """
    world = World(seed)
    with postgres.fresh() as url, psycopg.connect(url, autocommit=True, options=HASTY) as conn:
        hasty = make_conninfo(url, options=HASTY)
        db = Fragile(hasty, connections_max=1, on_poke=world.tell)
        db.open()
        try:
            market = Market(world, db, scale.machines)
            _play(market, conn, T0 + int(scale.days * DAY))
            told = json.dumps(contents(conn), sort_keys=True)
        except Exception as problem:
            raise Broken(_story(world, scale, problem)) from problem
        finally:
            db.close()
    return Outcome(
        seed=seed,
        digest=world.digest(hashlib.sha256(told.encode()).hexdigest()),
        tally=dict(sorted(world.tally.items())),
        transactions=db.tally.committed,
        statements=db.statements,
    )


def _play(market: Market, conn: psycopg.Connection, end_ms: int) -> None:
    world = market.world
    people.begin(market)
    dealings.begin(market)
    for machine in market.machines.values():
        machine.on_begin = lambda machine, run: laws.as_it_begins(machine, run, conn)
    steps = 0

    def after_each() -> None:
        nonlocal steps
        steps += 1
        if steps % TRUTH_EVERY == 0:
            laws.in_truth(market, conn)
        if steps % WHOLE_EVERY == 0:
            laws.whole(conn)

    world.run(end_ms - CALM, after_each)
    world.calm = True
    for machine in market.machines.values():
        machine.heal()
    world.run(end_ms, after_each)
    market.beat()
    laws.in_the_end(market, conn)


def _story(world: World, scale: Scale, problem: Exception) -> str:
    size = "" if scale == Scale() else f" MACHINES={scale.machines} DAYS={scale.days:g}"
    return "\n".join(
        [
            f"seed {world.seed} at {moment(world.now_ms)}: {type(problem).__name__}: {problem}",
            "what happened before:",
            *(f"  {line}" for line in world.lately),
            f"see it again: make simulate SEED={world.seed}{size}",
        ]
    )
