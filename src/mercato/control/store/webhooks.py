"""Webhooks, and the notices posted to them."""

from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId, MachineId


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account wants to be told."""

    id: int
    account_id: AccountId
    name: str
    url: str
    kinds: list[str]
    """Which kinds of events; empty: all."""
    secret: bytes
    """Sealed."""
    created_at_ms: int


_COLUMNS: Final[LiteralString] = "id, account_id, name, url, kinds, secret, created_at_ms"


def create(
    tx: Tx,
    account: AccountId,
    *,
    name: str,
    url: str,
    kinds: Sequence[str],
    secret: bytes,
    now_ms: int,
) -> Webhook:
    """Write a webhook."""
    row = tx.one(
        "insert into webhooks (account_id, name, url, kinds, secret, created_at_ms)"  # noqa: S608 - the columns are fixed above
        f" values (%s, %s, %s, %s, %s, %s) returning {_COLUMNS}",
        account,
        name,
        url,
        list(kinds),
        secret,
        now_ms,
    )
    assert row is not None
    return msgspec.convert(row, Webhook)


def get(tx: Tx, webhook: int) -> Webhook | None:
    """A webhook that stands."""
    row = tx.one(
        f"select {_COLUMNS} from webhooks where id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        webhook,
    )
    return msgspec.convert(row, Webhook) if row else None


def of_account(tx: Tx, account: AccountId) -> list[Webhook]:
    """An account's webhooks, the oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from webhooks where account_id = %s and deleted_at_ms is null"  # noqa: S608 - the columns are fixed above
        " order by id",
        account,
    )
    return [msgspec.convert(row, Webhook) for row in rows]


def change(tx: Tx, webhook: Webhook) -> None:
    """Write another name, URL, choice of kinds or secret."""
    tx.run(
        "update webhooks set name = %s, url = %s, kinds = %s, secret = %s where id = %s",
        webhook.name,
        webhook.url,
        webhook.kinds,
        webhook.secret,
        webhook.id,
    )


def delete(tx: Tx, webhook: int, now_ms: int) -> None:
    """Have a webhook told nothing more."""
    tx.run("update webhooks set deleted_at_ms = %s where id = %s", now_ms, webhook)
    tx.run("update notices set next_at_ms = null where webhook_id = %s", webhook)


# --- Notices --------------------------------------------------------------------------------------


class StoredNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice that is to be posted, with what it says."""

    id: int
    webhook_id: int
    attempts: int
    next_at_ms: int | None
    created_at_ms: int
    account_id: AccountId
    url: str
    secret: bytes
    event_id: int | None
    kind: str | None
    reason: str | None
    message: str | None
    at_ms: int | None
    contract_id: ContractId | None
    machine_id: MachineId | None


def test(tx: Tx, webhook: int, now_ms: int) -> int:
    """Write a notice that says nothing but that it was sent; its id."""
    row = tx.one(
        "insert into notices (webhook_id, next_at_ms, created_at_ms) values (%s, %s, %s)"
        " returning id",
        webhook,
        now_ms,
        now_ms,
    )
    assert row is not None
    return int(row["id"])


def due(tx: Tx, now_ms: int, limit: int) -> list[int]:
    """Notices that must be posted now."""
    rows = tx.all(
        "select id from notices where next_at_ms <= %s order by next_at_ms, id limit %s",
        now_ms,
        limit,
    )
    return [row["id"] for row in rows]


def notice(tx: Tx, number: int) -> StoredNotice | None:
    """A notice with its webhook and its event."""
    row = tx.one(
        "select n.id, n.webhook_id, n.attempts, n.next_at_ms, n.created_at_ms, w.account_id,"
        " w.url, w.secret, n.event_id, e.kind, e.reason, e.message, e.at_ms, e.contract_id,"
        " e.machine_id from notices n join webhooks w on w.id = n.webhook_id"
        " left join events e on e.id = n.event_id where n.id = %s",
        number,
    )
    return msgspec.convert(row, StoredNotice) if row else None


def attempt(tx: Tx, number: int, attempts: int, next_at_ms: int | None) -> None:
    """Write that a notice is being posted, and when again should nobody say how that went."""
    tx.run(
        "update notices set attempts = %s, next_at_ms = %s where id = %s",
        attempts,
        next_at_ms,
        number,
    )


def posted(tx: Tx, number: int, status: int | None, problem: str, next_at_ms: int | None) -> None:
    """Write how posting a notice went."""
    tx.run(
        "update notices set status = %s, problem = %s, next_at_ms = %s where id = %s",
        status,
        problem,
        next_at_ms,
        number,
    )


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How telling went lately."""

    id: int
    kind: str | None
    attempts: int
    status: int | None
    problem: str
    next_at_ms: int | None
    created_at_ms: int


def lately(tx: Tx, webhook: int, limit: int) -> list[Told]:
    """The last notices of a webhook, the latest first."""
    rows = tx.all(
        "select n.id, e.kind, n.attempts, n.status, n.problem, n.next_at_ms, n.created_at_ms"
        " from notices n left join events e on e.id = n.event_id where n.webhook_id = %s"
        " order by n.id desc limit %s",
        webhook,
        limit,
    )
    return [msgspec.convert(row, Told) for row in rows]


def forget_before(tx: Tx, before_ms: int) -> int:
    """Delete notices that nobody waits for any more; how many."""
    return tx.run("delete from notices where next_at_ms is null and created_at_ms < %s", before_ms)
