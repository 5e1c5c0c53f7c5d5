"""The last warning that each contract was given before its end."""

from mercato.control.db import Tx
from mercato.market.ids import ContractId
from mercato.market.lasting import WARNED_BEFORE_MS


def ending(tx: Tx, now_ms: int) -> list[ContractId]:
    """Contracts that have something on a machine and of whose end a warning is due."""
    rows = tx.all(
        "select c.id from live_contracts l join contracts_now c on c.id = l.id"
        " left join end_warnings w on w.contract_id = c.id and w.end_at_ms = c.end_at_ms"
        " where c.end_at_ms > %s and c.end_at_ms <= %s + (select coalesce(max(stage), 0)"
        " from unnest(%s::bigint[]) stage where w.before_ms is null or stage < w.before_ms)"
        " order by c.id",
        now_ms,
        now_ms,
        list(WARNED_BEFORE_MS),
    )
    return [ContractId(row["id"]) for row in rows]


def last(tx: Tx, contract: ContractId, end_at_ms: int) -> int | None:
    """How long before this end the last warning was; None when there was none for it."""
    row = tx.one(
        "select before_ms from end_warnings where contract_id = %s and end_at_ms = %s",
        contract,
        end_at_ms,
    )
    return None if row is None else int(row["before_ms"])


def warned(tx: Tx, contract: ContractId, end_at_ms: int, before_ms: int) -> None:
    """Write that a warning was given."""
    tx.run(
        "insert into end_warnings (contract_id, end_at_ms, before_ms) values (%s, %s, %s)"
        " on conflict (contract_id) do update set end_at_ms = excluded.end_at_ms,"
        " before_ms = excluded.before_ms",
        contract,
        end_at_ms,
        before_ms,
    )
