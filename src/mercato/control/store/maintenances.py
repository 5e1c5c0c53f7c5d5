"""Windows in which hosts announced that a machine may be down."""

from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import MachineId


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """When a machine may be down, and why."""

    from_ms: int
    to_ms: int
    category: str
    reason: str


class Maintenance(Window, frozen=True, kw_only=True):
    """A window that was announced."""

    id: int
    machine_id: MachineId
    announced_at_ms: int


_COLUMNS: Final[LiteralString] = "id, machine_id, from_ms, to_ms, category, reason, announced_at_ms"


def announce(tx: Tx, machine: MachineId, window: Window, now_ms: int) -> None:
    """Write a window."""
    tx.run(
        "insert into maintenances (machine_id, from_ms, to_ms, category, reason, announced_at_ms)"
        " values (%s, %s, %s, %s, %s, %s)",
        machine,
        window.from_ms,
        window.to_ms,
        window.category,
        window.reason,
        now_ms,
    )


def coming(tx: Tx, machines: list[MachineId], now_ms: int) -> list[Maintenance]:
    """The windows of machines that are not over and were not cancelled; earliest first."""
    rows = tx.all(
        f"select {_COLUMNS} from maintenances where machine_id = any(%s)"  # noqa: S608 - the columns are fixed above
        " and cancelled_at_ms is null and to_ms > %s order by from_ms, id",
        machines,
        now_ms,
    )
    return [msgspec.convert(row, Maintenance) for row in rows]


def cancel(tx: Tx, machine: MachineId, now_ms: int) -> int:
    """Call off every window of a machine that is not over; how many."""
    return tx.run(
        "update maintenances set cancelled_at_ms = %s where machine_id = %s"
        " and cancelled_at_ms is null and to_ms > %s",
        now_ms,
        machine,
        now_ms,
    )
