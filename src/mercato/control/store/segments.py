"""Meters: one rate over one span, written only when a contract changes state."""

from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId, SegmentId
from mercato.market.money import NanoUsd, NanoUsdPerHour


class StoredSegment(msgspec.Struct, frozen=True, kw_only=True):
    """One span of one meter."""

    id: SegmentId
    contract_id: ContractId
    renter_id: AccountId
    kind: str
    """`gpu` or `disk`."""
    rate: NanoUsdPerHour
    from_ms: int
    to_ms: int | None
    """None while it runs."""
    posted: NanoUsd
    """How much of it has been charged."""


_COLUMNS: Final[LiteralString] = "id, contract_id, renter_id, kind, rate, from_ms, to_ms, posted"


def start(
    tx: Tx,
    contract: ContractId,
    renter: AccountId,
    kind: str,
    rate: NanoUsdPerHour,
    from_ms: int,
) -> None:
    """Start a meter that does not run."""
    tx.run(
        "insert into segments (contract_id, renter_id, kind, rate, from_ms)"
        " values (%s, %s, %s, %s, %s)",
        contract,
        renter,
        kind,
        rate,
        from_ms,
    )


def running(tx: Tx, contract: ContractId, kind: str) -> StoredSegment | None:
    """The meter of a contract that runs now."""
    row = tx.one(
        f"select {_COLUMNS} from segments where contract_id = %s and kind = %s and to_ms is null",  # noqa: S608 - the columns are fixed above
        contract,
        kind,
    )
    return msgspec.convert(row, StoredSegment) if row else None


def running_of(tx: Tx, renter: AccountId) -> list[StoredSegment]:
    """Every meter that runs for a renter."""
    rows = tx.all(
        f"select {_COLUMNS} from segments where renter_id = %s and to_ms is null order by id",  # noqa: S608 - the columns are fixed above
        renter,
    )
    return [msgspec.convert(row, StoredSegment) for row in rows]


def between(tx: Tx, renter: AccountId, from_ms: int, to_ms: int) -> list[StoredSegment]:
    """A renter's spans that touch a time range, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from segments where renter_id = %s and from_ms < %s"  # noqa: S608 - the columns are fixed above
        " and (to_ms is null or to_ms > %s) order by from_ms, id",
        renter,
        to_ms,
        from_ms,
    )
    return [msgspec.convert(row, StoredSegment) for row in rows]


def stop(tx: Tx, segment: SegmentId, to_ms: int) -> None:
    """Stop a meter."""
    tx.run("update segments set to_ms = %s where id = %s", to_ms, segment)


def posted(tx: Tx, segment: SegmentId, amount: NanoUsd) -> None:
    """Write how much of a meter has been charged in all."""
    tx.run("update segments set posted = %s where id = %s", amount, segment)


def renters_running_since(tx: Tx, before_ms: int) -> list[ContractId]:
    """Contracts whose meter has run since before a time; the meter loop settles them."""
    rows = tx.all(
        "select distinct contract_id from segments where to_ms is null and rate > 0"
        " and from_ms + posted::numeric * 3600000 / rate < %s order by contract_id",
        before_ms,
    )
    return [ContractId(row["contract_id"]) for row in rows]
