"""Spending limits, and what was spent on the scope of one."""

from collections.abc import Mapping
from typing import Any, Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.contract import Contract
from mercato.market.ids import AccountId, ContractId
from mercato.market.limits import Limit, Scope, Spending
from mercato.market.money import NanoUsd, NanoUsdPerHour
from mercato.market.usage import TRAFFIC_MAX

_COLUMNS: Final[LiteralString] = (
    "id, account_id, scope, scope_id, period, amount, action, set_at_ms"
)


def create(tx: Tx, limit: Limit) -> Limit:
    """Write a limit; the id in `limit` is ignored, a new one comes back."""
    row = tx.one(
        "insert into limits (account_id, scope, scope_id, period, amount, action, set_at_ms)"  # noqa: S608 - the columns are fixed above
        f" values (%s, %s, %s, %s, %s, %s, %s) returning {_COLUMNS}",
        limit.account_id,
        limit.scope.value,
        limit.scope_id,
        limit.period.value,
        limit.amount,
        limit.action.value,
        limit.set_at_ms,
    )
    assert row is not None
    return _limit(row)


def get(tx: Tx, limit: int) -> Limit | None:
    """A limit that stands."""
    row = tx.one(
        f"select {_COLUMNS} from limits where id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        limit,
    )
    return _limit(row) if row else None


def of_account(tx: Tx, account: AccountId) -> list[Limit]:
    """Every limit of an account that stands, the oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from limits where account_id = %s and deleted_at_ms is null"  # noqa: S608 - the columns are fixed above
        " order by id",
        account,
    )
    return [_limit(row) for row in rows]


def due_of(tx: Tx, contract: Contract, now_ms: int) -> int | None:
    """The earliest moment, of those that have come, at which a limit that stops a contract is due.

    None when none is.
    """
    row = tx.one(
        "select min(l.act_at_ms) as at_ms from limits l where l.account_id = %s"
        " and l.action = 'stop' and l.deleted_at_ms is null and l.act_at_ms <= %s"
        " and (l.scope = 'account' or l.scope = 'instance' and l.scope_id = %s or exists"
        " (select from contract_scopes m where m.contract_id = %s"
        " and m.scope = l.scope and m.scope_id = l.scope_id))",
        contract.renter,
        now_ms,
        contract.id,
        contract.id,
    )
    return None if row is None or row["at_ms"] is None else int(row["at_ms"])


def change(tx: Tx, limit: Limit) -> None:
    """Write another amount or action."""
    tx.run(
        "update limits set amount = %s, action = %s, told_from_ms = null where id = %s",
        limit.amount,
        limit.action.value,
        limit.id,
    )


def delete(tx: Tx, limit: int, now_ms: int) -> None:
    """Have a limit stand no longer."""
    tx.run("update limits set deleted_at_ms = %s where id = %s", now_ms, limit)


def look_at(tx: Tx, limit: int, act_at_ms: int | None) -> None:
    """Write when to look at a limit next."""
    tx.run(
        "update limits set act_at_ms = %s where id = %s and act_at_ms is distinct from %s",
        act_at_ms,
        limit,
        act_at_ms,
    )


def looked_at_next(tx: Tx, limit: int) -> int | None:
    """When a limit that stands must be looked at; None when it need not be."""
    row = tx.one("select act_at_ms from limits where id = %s and deleted_at_ms is null", limit)
    return row["act_at_ms"] if row else None


def due(tx: Tx, now_ms: int) -> list[int]:
    """Limits that must be looked at now."""
    rows = tx.all(
        "select id from limits where deleted_at_ms is null and act_at_ms <= %s"
        " order by act_at_ms, id",
        now_ms,
    )
    return [row["id"] for row in rows]


def tell(tx: Tx, limit: int, window_from_ms: int) -> bool:
    """Remember that a limit was said to be reached in a window; False when it was before."""
    return (
        tx.run(
            "update limits set told_from_ms = %s where id = %s"
            " and told_from_ms is distinct from %s",
            window_from_ms,
            limit,
            window_from_ms,
        )
        > 0
    )


# --- On whose behalf ------------------------------------------------------------------------------


def mark(tx: Tx, contract: ContractId, scopes: Mapping[Scope, int]) -> None:
    """Write on whose behalf a contract was signed beside its renter's."""
    for scope, number in scopes.items():
        tx.run(
            "insert into contract_scopes (contract_id, scope, scope_id) values (%s, %s, %s)",
            contract,
            scope.value,
            number,
        )


def scopes_of(tx: Tx, contract: ContractId) -> dict[Scope, int]:
    """The scopes of a contract beside its renter's account."""
    rows = tx.all("select scope, scope_id from contract_scopes where contract_id = %s", contract)
    return {Scope.INSTANCE: contract} | {Scope(row["scope"]): row["scope_id"] for row in rows}


def contracts_of(tx: Tx, limit: Limit) -> list[ContractId]:
    """The contracts in a limit's scope that still have something on a machine."""
    chosen = _chosen(limit.scope, "l.renter_id", "l.id")
    rows = tx.all(
        "with asked as"  # noqa: S608 - no word comes from outside
        " (select %s::bigint as account, %s::text as scope, %s::bigint as number)"
        f" select l.id from live_contracts l where {chosen} order by l.id",
        limit.account_id,
        limit.scope.value,
        limit.scope_id,
    )
    return [ContractId(row["id"]) for row in rows]


# --- What was spent -------------------------------------------------------------------------------


def spending(tx: Tx, limit: Limit, since_ms: int, now_ms: int) -> Spending:
    """What was spent on a limit's scope since a time, and what draws on it now.

    A meter that opened after `now_ms`, which another's clock or an older request can bring about,
    has cost nothing and draws all the same. What `Segment.run_up` and `transfer_cost` say of each
    row, summed where the rows are.
    """
    row = tx.one(
        _SPENDING[limit.scope],
        limit.account_id,
        limit.scope.value,
        limit.scope_id,
        since_ms,
        now_ms,
    )
    assert row is not None
    return Spending(
        spent=NanoUsd(row["metered"] + row["moved"] + row["unposted"]),
        burn=NanoUsdPerHour(row["burn"]),
        storage_burn=NanoUsdPerHour(row["storage_burn"]),
        promised=NanoUsdPerHour(row["promised"]),
        uncharged=NanoUsd(row["unposted"]),
    )


def _chosen(scope: Scope, account: str, contract: str) -> str:
    """The condition that a row is in the scope that `asked` names."""
    match scope:
        case Scope.ACCOUNT:
            return f"{account} = (select number from asked)"  # noqa: S608 - as below
        case Scope.INSTANCE:
            return f"{contract} = (select number from asked)"  # noqa: S608 - as below
        case Scope.KEY | Scope.ENDPOINT:
            return (
                f"{contract} in (select m.contract_id from contract_scopes m, asked"  # noqa: S608 - no word comes from outside
                " where m.scope = asked.scope and m.scope_id = asked.number)"
            )
        case Scope.MEMBER:  # who may be one of several teams
            within = _chosen(Scope.KEY, account, contract)
            return f"{account} = (select account from asked) and {within}"  # noqa: S608 - as above


def _spending(scope: Scope) -> str:
    metered = _chosen(scope, "s.renter_id", "s.contract_id")
    moved = _chosen(scope, "t.account_id", "t.contract_id")
    there = _chosen(scope, "i.renter_id", "i.id")
    return f"""
with asked as (
    select %s::bigint as account, %s::text as scope, %s::bigint as number,
           %s::bigint as since_ms, %s::bigint as now_ms
), spans as (
    select s.rate, s.kind, s.to_ms, s.posted,
           greatest(0, least(coalesce(s.to_ms, a.now_ms), a.now_ms) - s.from_ms) as until,
           greatest(0, least(coalesce(s.to_ms, a.now_ms), a.since_ms) - s.from_ms) as before
      from segments s, asked a
     where {metered} and s.rate > 0
       and (s.to_ms is null or s.from_ms <= a.now_ms and s.to_ms > a.since_ms)
), meters as (
    select coalesce(sum(greatest(posted, div(rate::numeric * until, 3600000))
                        - div(rate::numeric * before, 3600000)), 0)::bigint as metered,
           coalesce(sum(rate) filter (where to_ms is null), 0)::bigint as burn,
           coalesce(sum(rate) filter (where to_ms is null and kind = 'disk'), 0)::bigint
               as storage_burn
      from spans
), others as (
    select coalesce(sum(case t.kind when 'goodwill' then -t.amount else t.amount end), 0)::bigint
               as moved
      from transfers t, asked a
     where {moved} and t.at_ms between a.since_ms and a.now_ms
           and (t.kind = 'goodwill' and t.credit not like 'earnings:%%'
                or t.kind in ('charge', 'fee') and t.cause not like 'segment:%%')
), waiting as (
    select coalesce(sum(c.gpu_rate) filter (where i.intended = 'running' and not exists (
                        select from segments s where s.contract_id = i.id and s.kind = 'gpu'
                           and s.to_ms is null)), 0)::bigint as promised,
           least(coalesce(sum(div(c.up_price::numeric * i.up_bytes, 1000000000)
                              - div(c.up_price::numeric * i.up_bytes_posted, 1000000000)
                              + div(c.down_price::numeric * i.down_bytes, 1000000000)
                              - div(c.down_price::numeric * i.down_bytes_posted, 1000000000)), 0),
                 {TRAFFIC_MAX})::bigint as unposted
      from instances i join contracts_now c on c.id = i.id
     where {there} and i.destroyed_at_ms is null and (i.intended = 'running'
           or (i.up_bytes, i.down_bytes) <> (i.up_bytes_posted, i.down_bytes_posted))
)
select * from meters, others, waiting
"""  # noqa: S608 - no word comes from outside


_SPENDING: Final = {scope: _spending(scope) for scope in Scope}


def _limit(row: dict[str, Any]) -> Limit:
    return msgspec.convert(row, Limit)
