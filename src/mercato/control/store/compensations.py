"""Time that a host could not prove, and that nobody pays for."""

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId
from mercato.market.meter import Segment
from mercato.market.money import NanoUsdPerHour


class Compensation(msgspec.Struct, frozen=True, kw_only=True):
    """One span of one meter that was not proven."""

    contract_id: ContractId
    kind: str
    """`gpu` or `disk`."""
    rate: NanoUsdPerHour
    from_ms: int
    to_ms: int


def write(tx: Tx, meter: Segment, from_ms: int, to_ms: int) -> None:
    """Write that a meter's time was not proven."""
    tx.run(
        "insert into compensations (contract_id, renter_id, kind, rate, from_ms, to_ms)"
        " values (%s, %s, %s, %s, %s, %s)",
        meter.contract_id,
        meter.renter_id,
        meter.kind,
        meter.rate,
        from_ms,
        to_ms,
    )


def between(tx: Tx, renter: AccountId, from_ms: int, to_ms: int) -> list[Compensation]:
    """A renter's compensations of a time range, oldest first."""
    rows = tx.all(
        "select contract_id, kind, rate, from_ms, to_ms from compensations"
        " where renter_id = %s and to_ms > %s and to_ms <= %s order by id",
        renter,
        from_ms,
        to_ms,
    )
    return [msgspec.convert(row, Compensation) for row in rows]
