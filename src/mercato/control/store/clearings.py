"""The public log of the auction: every verdict that changed something, with what it was about."""

from typing import Any, Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.auction import Claim, Outcome, Verdict
from mercato.market.ids import MachineId


class Clearing(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict; `market.auction.clear(gpus, claims, at_ms)` gives it again."""

    id: int
    machine_id: MachineId
    at_ms: int
    gpus: int
    claims: tuple[Claim, ...]
    verdict: tuple[Outcome, ...]


_COLUMNS: Final[LiteralString] = "id, machine_id, at_ms, gpus, claims, verdict"


def record(
    tx: Tx, machine: MachineId, gpus: int, claims: list[Claim], verdict: Verdict, now_ms: int
) -> bool:
    """Log a verdict; False when the last of this machine was the same."""
    told = msgspec.to_builtins(verdict.outcomes)
    last = tx.one(
        "select verdict = %s::jsonb as same from clearings where machine_id = %s"
        " order by id desc limit 1",
        Jsonb(told),
        machine,
    )
    if last["same"] if last else not claims:
        return False
    tx.run(
        "insert into clearings (machine_id, at_ms, gpus, claims, verdict)"
        " values (%s, %s, %s, %s, %s)",
        machine,
        now_ms,
        gpus,
        Jsonb(msgspec.to_builtins(claims)),
        Jsonb(told),
    )
    return True


def of_machine(tx: Tx, machine: MachineId, before: int, limit: int) -> list[Clearing]:
    """A machine's verdicts before an id, the latest first."""
    rows = tx.all(
        f"select {_COLUMNS} from clearings where machine_id = %s and id < %s"  # noqa: S608 - the columns are fixed above
        " order by id desc limit %s",
        machine,
        before,
        limit,
    )
    return [_clearing(row) for row in rows]


def since(tx: Tx, machine: MachineId, from_ms: int) -> list[Clearing]:
    """The verdicts that stood at any time since `from_ms`, the oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from clearings where machine_id = %s and id >= coalesce("  # noqa: S608 - the columns are fixed above
        "(select max(id) from clearings where machine_id = %s and at_ms <= %s), 0) order by id",
        machine,
        machine,
        from_ms,
    )
    return [_clearing(row) for row in rows]


def forget_before(tx: Tx, before_ms: int) -> int:
    """Forget old verdicts."""
    return tx.run("delete from clearings where at_ms < %s", before_ms)


def _clearing(row: dict[str, Any]) -> Clearing:
    return msgspec.convert(row, Clearing)
