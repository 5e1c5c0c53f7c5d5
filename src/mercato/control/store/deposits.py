"""Deposits: what was bought with the money prepaid for a contract. The money is in its purse."""

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract's deposit bought."""

    contract_id: ContractId
    renter_id: AccountId
    months_ppm: int
    discount_ppb: int
    since_ms: int
    """Since when, without a gap, there has been something in it."""
    used_up_at_ms: int | None


_COLUMNS = "contract_id, renter_id, months_ppm, discount_ppb, since_ms, used_up_at_ms"


def of_contract(tx: Tx, contract: ContractId) -> Deposit | None:
    """The deposit of a contract; None when nothing is prepaid for it."""
    row = tx.one(f"select {_COLUMNS} from deposits where contract_id = %s", contract)  # noqa: S608 - the columns are fixed above
    return msgspec.convert(row, Deposit) if row else None


def left(tx: Tx, renter: AccountId) -> dict[ContractId, int]:
    """What lies in each deposit of a renter, before what has run up and is not posted."""
    rows = tx.all(
        "select d.contract_id, p.balance from deposits d"
        " join purses p on p.name = 'deposit:' || d.contract_id where d.renter_id = %s",
        renter,
    )
    return {ContractId(row["contract_id"]): row["balance"] for row in rows}


def write(tx: Tx, deposit: Deposit) -> None:
    """Write what a deposit bought; there may have been one before."""
    tx.run(
        "insert into deposits (contract_id, renter_id, months_ppm, discount_ppb, since_ms)"
        " values (%s, %s, %s, %s, %s) on conflict (contract_id) do update set"
        " months_ppm = excluded.months_ppm, discount_ppb = excluded.discount_ppb,"
        " since_ms = excluded.since_ms",
        deposit.contract_id,
        deposit.renter_id,
        deposit.months_ppm,
        deposit.discount_ppb,
        deposit.since_ms,
    )


def forecast(tx: Tx, renter: AccountId, used_up_at_ms: dict[ContractId, int]) -> None:
    """Write when a renter's deposits are used up; those not named are not drawn on."""
    tx.run(
        "update deposits d set used_up_at_ms = f.at_ms from deposits e left join"
        " unnest(%s::bigint[], %s::bigint[]) as f (contract_id, at_ms)"
        " on f.contract_id = e.contract_id"
        " where d.renter_id = %s and e.contract_id = d.contract_id"
        " and d.used_up_at_ms is distinct from f.at_ms",
        list(used_up_at_ms),
        list(used_up_at_ms.values()),
        renter,
    )


def end(tx: Tx, contract: ContractId) -> None:
    """Forget a deposit that is used up or paid back."""
    tx.run("delete from deposits where contract_id = %s", contract)


def used_up(tx: Tx, before_ms: int) -> list[ContractId]:
    """Contracts whose deposit is used up before a time."""
    rows = tx.all(
        "select contract_id from deposits where used_up_at_ms < %s order by contract_id", before_ms
    )
    return [ContractId(row["contract_id"]) for row in rows]
