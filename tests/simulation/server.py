"""The control plane of a simulated market: flows, loops, pokes, and the deaths it dies."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Concatenate, Final, LiteralString, ParamSpec, TypeVar

import psycopg

from mercato.control.db import Tx
from mercato.control.flows.house import House
from mercato.control.loops.all import loops
from mercato.control.loops.loop import Loop
from mercato.market.errors import Refusal
from tests.control.fragile import Fragile
from tests.simulation.world import DAY, HOUR, MINUTE, SECOND, World

P = ParamSpec("P")
T = TypeVar("T")

STATEMENTS: Final = 40
"""A transaction that dies does so at one of its first statements, if it has so many."""

FAULTS: Final[Mapping[str, float]] = {
    "connection-lost": 0.004,
    "answer-lost": 0.003,
    "race-lost": 0.01,
    "server-killed": 0.002,
}
"""What becomes of a transaction, and how often."""

ALARMS: Final[Mapping[str, LiteralString]] = {
    "credit": (
        "least((select min(dry_at_ms) from burns) - %(low_credit)s,"
        " (select min(used_up_at_ms) from deposits))"
    ),
    "limits": "(select min(act_at_ms) from limits where deleted_at_ms is null)",
    "auction": "(select min(least(pauses_at_ms, nullif(safe_until_ms, 0))) from standings)",
    "expiry": (
        "least((select min(end_at_ms) from listings where closed_at_ms is null),"
        " (select min(case when c.end_at_ms > %(now)s then c.end_at_ms"
        " when i.intended = 'running' then %(now)s else c.end_at_ms + %(purge)s end)"
        " from instances i join contracts_now c on c.id = i.id where i.intended <> 'destroyed'"
        " and c.end_at_ms is not null))"
    ),
}
"""When a loop next has something to do, asked of the database: as often as it would run, nobody
could wait. The others run at leisure."""

LEISURELY: Final[Mapping[str, int]] = {
    "meter": 30 * HOUR,
    "sealing": 2 * DAY,
    "prices": DAY,
    "expiry": 3 * HOUR,
    "sweep": DAY,
    "payments": 5 * HOUR,
    "payouts": DAY,
}
"""About how often a loop runs in any case."""


class Unavailable(Exception):  # noqa: N818 - what a caller sees of a server that is not there
    """The server cannot be reached, or died before it answered: nobody knows what it did."""


class Server:
    """One replica."""

    def __init__(self, world: World, db: Fragile, house: House) -> None:
        """Start it."""
        self.world = world
        self.db = db
        self.house = house
        self.up = True
        self.on_poke: Callable[[int], None] = lambda _machine: None
        self.on_death: Callable[[], None] = lambda: None
        self.before_loops: Callable[[], None] = lambda: None
        self._alarmed = False
        self._next: dict[str, int] = {}
        self._begin()
        for name, about_ms in LEISURELY.items():
            world.every(about_ms, partial(self.loop, name))

    def _begin(self) -> None:
        now_ms = self.world.now_ms
        self.loops: dict[str, Loop] = {
            loop.name: loop for loop in loops(self.db, self.house, now_ms)
        }
        self._patience: dict[str, int] = {}
        self.world.at(now_ms + self.house.rules.offline_after_ms + SECOND, self.silence)

    # --- Transactions -----------------------------------------------------------------------------

    def run(self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a flow as the API would for a caller.

        Raises:
            Unavailable: when the server is down, or it or its database died of it.
            Refusal: as the flow does.
        """
        if not self.up:
            raise Unavailable
        fault = self._fault()
        try:
            return self.db.run_now(flow, *args, **kwargs)
        except psycopg.OperationalError:
            self.world.note(fault, f"in {flow.__name__}")
            if fault == "server-killed":
                self.die()
            raise Unavailable from None
        finally:
            self.db.hold()

    def _fault(self) -> str:
        """Choose what becomes of the next transaction."""
        for fault, probability in FAULTS.items():
            if self.world.chance(probability):
                self.db.answer_lost = fault == "answer-lost"
                self.db.races_lost = fault == "race-lost"
                if not self.db.answer_lost:
                    self.db.statements_left = self.world.luck.randrange(STATEMENTS)
                return fault
        return ""

    def heard(self, topics: Sequence[str]) -> None:
        """Take the pokes of a commit; they are lost when nobody is there to hear them."""
        if not self.up:
            return
        for topic in topics:
            kind, _, name = topic.partition(":")
            if kind == "machine":
                self.on_poke(int(name))
        self.set_alarms()

    # --- Loops ------------------------------------------------------------------------------------

    def set_alarms(self) -> None:
        """Look soon when each loop must run; many changes at once are looked at once."""
        if not self._alarmed and self.up:
            self._alarmed = True
            self.world.at(self.world.now_ms + 2 * SECOND, self._look)

    def _look(self) -> None:
        self._alarmed = False
        if not self.up:
            return
        asked = ", ".join(f"{sql} as {name}" for name, sql in ALARMS.items())
        told = {
            "now": self.world.now_ms,
            "low_credit": self.house.rules.low_credit_ms,
            "purge": self.house.rules.purge_after_ms,
        }
        row = self.db.run_now(lambda tx: tx.cursor.execute(f"select {asked}", told).fetchone())
        assert row is not None
        for name, due_ms in row.items():
            if due_ms is not None:
                self._alarm(name, int(due_ms))

    def _alarm(self, name: str, due_ms: int) -> None:
        """Run a loop as soon as it would after a moment, unless it runs before."""
        now_ms = self.world.now_ms
        period_ms = int(self.loops[name].period_s * SECOND)
        due_ms = max(due_ms, now_ms + self._patience.get(name, 0))
        due_ms += self.world.luck.randint(0, period_ms)
        if not now_ms <= self._next.get(name, 0) <= due_ms:
            self._next[name] = due_ms
            self.world.at(due_ms, lambda: self.loop(name, due_ms))

    def loop(self, name: str, planned_ms: int | None = None) -> None:
        """Run a loop once, unless it was planned anew since."""
        if not self.up or (planned_ms is not None and self._next.get(name) != planned_ms):
            return
        self.before_loops()
        loop = self.loops[name]
        fault = self._fault()
        try:
            report = loop.activate(self.world.now_ms)
        except psycopg.OperationalError:
            self.world.note(fault, f"in loop-{name}")
            if fault == "server-killed":
                self.die()
        else:
            assert "failed" not in report, f"loop {name} failed at something: {report}"
            changed = any(report.values())
            did = " ".join(f"{what}={times}" for what, times in report.items() if times)
            self.world.note(f"loop-{name}", f"did {did}" if changed else "rested")
            self._patience[name] = (
                0
                if changed
                else min(HOUR, max(int(loop.period_s * SECOND), 2 * self._patience.get(name, 0)))
            )
        finally:
            self.db.hold()
        self.set_alarms()

    def silence(self) -> None:
        """Run the loop that gives up machines which are not heard."""
        self.loop("silence")

    # --- Death ------------------------------------------------------------------------------------

    def die(self) -> None:
        """End as kill -9 ends it, and be started again after a while."""
        self.up = False
        self.on_death()
        self.world.within(SECOND, 5 * MINUTE, self._come_back)

    def _come_back(self) -> None:
        self.up = True
        self.world.note("server", "back")
        self._begin()
        self.set_alarms()


def outcome_of(deed: Callable[[], object]) -> str:
    """What came of a deed: `done`, the code of a refusal, or that nobody knows."""
    try:
        deed()
    except Refusal as refusal:
        return refusal.code
    except Unavailable:
        return "unavailable"
    return "done"
