"""Meters: one rate over one span, written only when a contract changes state."""

from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId, SegmentId
from mercato.market.meter import Segment
from mercato.market.money import NanoUsd, NanoUsdPerHour

_COLUMNS: Final[LiteralString] = (
    "id, contract_id, renter_id, kind, rate, list_rate, prepaid, from_ms, to_ms, posted"
)


def start(  # noqa: PLR0913 - one argument for each column
    tx: Tx,
    contract: ContractId,
    renter: AccountId,
    kind: str,
    *,
    rate: NanoUsdPerHour,
    list_rate: NanoUsdPerHour,
    prepaid: bool,
    from_ms: int,
) -> None:
    """Start a meter that does not run."""
    tx.run(
        "insert into segments (contract_id, renter_id, kind, rate, list_rate, prepaid, from_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        contract,
        renter,
        kind,
        rate,
        list_rate,
        prepaid,
        from_ms,
    )


def running(tx: Tx, contract: ContractId, kind: str) -> Segment | None:
    """The meter of a contract that runs now."""
    row = tx.one(
        f"select {_COLUMNS} from segments where contract_id = %s and kind = %s and to_ms is null",  # noqa: S608 - the columns are fixed above
        contract,
        kind,
    )
    return msgspec.convert(row, Segment) if row else None


def kinds_running(tx: Tx, contracts: list[ContractId]) -> set[tuple[ContractId, str]]:
    """Which meters of some contracts run now: each contract with the kind of the meter."""
    rows = tx.all(
        "select contract_id, kind from segments where contract_id = any(%s) and to_ms is null",
        contracts,
    )
    return {(ContractId(row["contract_id"]), row["kind"]) for row in rows}


def running_of(tx: Tx, renter: AccountId) -> list[Segment]:
    """Every meter that runs for a renter and costs something."""
    rows = tx.all(
        f"select {_COLUMNS} from segments where renter_id = %s and to_ms is null and list_rate > 0"  # noqa: S608 - the columns are fixed above
        " order by id",
        renter,
    )
    return [msgspec.convert(row, Segment) for row in rows]


def prepaid_since(tx: Tx, contract: ContractId, since_ms: int) -> list[Segment]:
    """The spans of a contract that drew on its deposit since a time."""
    rows = tx.all(
        f"select {_COLUMNS} from segments where contract_id = %s and prepaid and from_ms >= %s"  # noqa: S608 - the columns are fixed above
        " order by id",
        contract,
        since_ms,
    )
    return [msgspec.convert(row, Segment) for row in rows]


def between(tx: Tx, renter: AccountId, from_ms: int, to_ms: int) -> list[Segment]:
    """A renter's spans that touch a time range, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from segments where renter_id = %s and from_ms < %s"  # noqa: S608 - the columns are fixed above
        " and (to_ms is null or to_ms > %s) order by from_ms, id",
        renter,
        to_ms,
        from_ms,
    )
    return [msgspec.convert(row, Segment) for row in rows]


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
