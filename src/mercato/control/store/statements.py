"""What accounts paid, received and earned, read for invoices; everything can be recomputed."""

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId


class BilledContract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract on a bill, with the traffic that has not been posted."""

    id: ContractId
    label: str | None
    machine_id: int
    image: str | None
    """What its instance runs; None for a volume."""
    endpoint_id: int | None
    """Whom it serves, when it is a worker."""
    group_id: int | None
    signed_at_ms: int
    destroyed_at_ms: int | None
    up_price: int
    down_price: int
    up_bytes: int
    down_bytes: int
    up_bytes_posted: int
    down_bytes_posted: int


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """One transfer in or out of an account's credit, or out of its earnings."""

    cause: str
    debit: str
    credit: str
    amount: int
    kind: str
    contract_id: ContractId | None
    at_ms: int
    provider: str | None
    """Through whom it came or went, when that was not by hand."""


_MOVEMENT = "cause, debit, credit, amount, kind, contract_id, at_ms, about->>'provider' as provider"


def contracts(tx: Tx, renter: AccountId) -> dict[ContractId, BilledContract]:
    """Every contract that a renter ever signed, by id."""
    rows = tx.all(
        "select c.id, coalesce(i.label, v.name) as label, c.machine_id,"
        " i.launch->>'image' as image, g.endpoint_id, w.group_id, c.signed_at_ms,"
        " coalesce(i.destroyed_at_ms, v.gone_at_ms) as destroyed_at_ms, c.up_price, c.down_price,"
        " coalesce(i.up_bytes, 0) as up_bytes, coalesce(i.down_bytes, 0) as down_bytes,"
        " coalesce(i.up_bytes_posted, 0) as up_bytes_posted,"
        " coalesce(i.down_bytes_posted, 0) as down_bytes_posted"
        " from contracts_now c left join instances i on i.id = c.id"
        " left join volumes v on v.id = c.id left join workers w on w.id = c.id"
        " left join worker_groups g on g.id = w.group_id where c.renter_id = %s order by c.id",
        renter,
    )
    return {row["id"]: msgspec.convert(row, BilledContract) for row in rows}


def movements(tx: Tx, account: AccountId, from_ms: int, to_ms: int) -> list[Movement]:
    """Money that came into or left an account's credit other than for rentals, and payouts."""
    rows = tx.all(
        f"select {_MOVEMENT} from transfers where (credit = %s or debit = %s"  # noqa: S608 - the columns are fixed above
        " or debit = %s and kind = 'payout')"
        " and kind not in ('charge', 'fee') and at_ms between %s and %s order by at_ms, cause",
        f"credit:{account}",
        f"credit:{account}",
        f"earnings:{account}",
        from_ms,
        to_ms,
    )
    return [msgspec.convert(row, Movement) for row in rows]


class Earning(msgspec.Struct, frozen=True, kw_only=True):
    """What a host earned with one machine on one day (of the epoch, UTC) by one kind of charge."""

    machine_id: int
    day: int
    kind: str
    amount: int


def earned(tx: Tx, host: AccountId, from_ms: int, to_ms: int) -> list[Earning]:
    """What a host earned in a window, by machine, day and kind."""
    rows = tx.all(
        "select c.machine_id, (t.at_ms / 86400000)::bigint as day,"
        " coalesce(t.about->>'item', t.kind) as kind,"
        " sum(t.amount)::bigint as amount"
        " from transfers t join contracts c on c.id = t.contract_id"
        " where t.credit = %s and t.at_ms between %s and %s"
        " group by 1, 2, 3 order by 1, 2, 3",
        f"earnings:{host}",
        from_ms,
        to_ms,
    )
    return [msgspec.convert(row, Earning) for row in rows]
