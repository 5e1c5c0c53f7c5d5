"""Payments through a provider, and how each account pays and is paid."""

from typing import Any, Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId
from mercato.market.money import NanoUsd
from mercato.market.payment import ENDED, Purpose, State


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One payment as it is stored."""

    id: int
    account_id: AccountId
    purpose: Purpose
    provider: str
    amount: NanoUsd
    key: str
    of_payment: int | None
    """The payment that a refund takes back."""
    state: State
    reference: str
    failure: str
    attempts: int
    next_at_ms: int | None
    created_at_ms: int
    ended_at_ms: int | None


_COLUMNS: Final[LiteralString] = (
    "id, account_id, purpose, provider, amount, key, of_payment, state, reference, failure,"
    " attempts, next_at_ms, created_at_ms, ended_at_ms"
)


def create(  # noqa: PLR0913 - one argument for each column
    tx: Tx,
    *,
    account: AccountId,
    purpose: Purpose,
    provider: str,
    amount: NanoUsd,
    key: str,
    now_ms: int,
    next_at_ms: int | None,
    of_payment: int | None = None,
) -> Payment | None:
    """Write a payment that is wanted; None when its key has one already."""
    row = tx.one(
        "insert into payments (account_id, purpose, provider, amount, key, of_payment, state,"  # noqa: S608 - the columns are fixed above
        " next_at_ms, created_at_ms) values (%s, %s, %s, %s, %s, %s, 'wanted', %s, %s)"
        f" on conflict (key) do nothing returning {_COLUMNS}",
        account,
        purpose.value,
        provider,
        amount,
        key,
        of_payment,
        next_at_ms,
        now_ms,
    )
    return _payment(row) if row else None


def get(tx: Tx, payment: int) -> Payment | None:
    """A payment, whatever became of it."""
    row = tx.one(f"select {_COLUMNS} from payments where id = %s", payment)  # noqa: S608 - the columns are fixed above
    return _payment(row) if row else None


def of_account(tx: Tx, account: AccountId, limit: int) -> list[Payment]:
    """An account's payments, the latest first."""
    rows = tx.all(
        f"select {_COLUMNS} from payments where account_id = %s order by id desc limit %s",  # noqa: S608 - the columns are fixed above
        account,
        limit,
    )
    return [_payment(row) for row in rows]


def under_way(tx: Tx, account: AccountId) -> int:
    """How many of an account's payments have not come to an end."""
    row = tx.one(
        "select count(*) as n from payments where account_id = %s and state <> all (%s)",
        account,
        [state.value for state in ENDED],
    )
    assert row is not None
    return int(row["n"])


def waiting(tx: Tx, provider: str) -> list[Payment]:
    """Every payment that waits, the oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from payments where provider = %s and state = 'waiting' order by id",  # noqa: S608 - the columns are fixed above
        provider,
    )
    return [_payment(row) for row in rows]


def due(tx: Tx, now_ms: int) -> list[int]:
    """Payments for which a provider must be asked now."""
    rows = tx.all(
        "select id from payments where next_at_ms <= %s order by next_at_ms, id limit 1000", now_ms
    )
    return [row["id"] for row in rows]


def last_of(tx: Tx, account: AccountId, purpose: Purpose) -> Payment | None:
    """The latest payment of a kind."""
    row = tx.one(
        f"select {_COLUMNS} from payments where account_id = %s and purpose = %s"  # noqa: S608 - the columns are fixed above
        " order by id desc limit 1",
        account,
        purpose.value,
    )
    return _payment(row) if row else None


def taken_back(tx: Tx, payment: int) -> NanoUsd:
    """What of a payment was, or is being, refunded."""
    row = tx.one(
        "select coalesce(sum(amount), 0)::bigint as amount from payments"
        " where of_payment = %s and state <> 'failed'",
        payment,
    )
    assert row is not None
    return NanoUsd(row["amount"])


def write(tx: Tx, payment: Payment) -> None:
    """Write how far a payment is."""
    tx.run(
        "update payments set state = %s, reference = %s, failure = %s, attempts = %s,"
        " next_at_ms = %s, ended_at_ms = %s where id = %s",
        payment.state.value,
        payment.reference,
        payment.failure,
        payment.attempts,
        payment.next_at_ms,
        payment.ended_at_ms,
        payment.id,
    )


def asked(tx: Tx, payment: int) -> bytes | None:
    """What a provider was asked first, sealed; None when none was yet."""
    row = tx.one("select asked from payments where id = %s", payment)
    return row["asked"] if row else None


def keep_asked(tx: Tx, payment: int, sealed: bytes) -> None:
    """Keep what a provider is asked first."""
    tx.run("update payments set asked = %s where id = %s", sealed, payment)


def _payment(row: dict[str, Any]) -> Payment:
    return msgspec.convert(row, Payment)


# --- Ways to pay ----------------------------------------------------------------------------------


class StoredMethod(msgspec.Struct, frozen=True, kw_only=True):
    """How an account pays and is paid."""

    customer: str
    card: str
    card_label: str
    payout_to: bytes | None
    """Sealed."""


def method(tx: Tx, account: AccountId) -> StoredMethod | None:
    """How an account pays and is paid; None when it never said."""
    row = tx.one(
        "select customer, card, card_label, payout_to from payment_methods where account_id = %s",
        account,
    )
    return msgspec.convert(row, StoredMethod) if row else None


def save_card(
    tx: Tx, account: AccountId, customer: str, card: str, label: str, now_ms: int
) -> None:
    """Keep a way to pay."""
    tx.run(
        "insert into payment_methods (account_id, customer, card, card_label, updated_at_ms)"
        " values (%s, %s, %s, %s, %s) on conflict (account_id) do update set"
        " customer = excluded.customer, card = excluded.card, card_label = excluded.card_label,"
        " updated_at_ms = excluded.updated_at_ms",
        account,
        customer,
        card,
        label,
        now_ms,
    )


def pay_out_to(tx: Tx, account: AccountId, sealed: bytes, now_ms: int) -> None:
    """Keep where an account's earnings go."""
    tx.run(
        "insert into payment_methods (account_id, payout_to, updated_at_ms) values (%s, %s, %s)"
        " on conflict (account_id) do update set payout_to = excluded.payout_to,"
        " updated_at_ms = excluded.updated_at_ms",
        account,
        sealed,
        now_ms,
    )


def earning(tx: Tx, at_least: int) -> list[AccountId]:
    """Accounts that earned at least so much and said where it goes."""
    rows = tx.all(
        "select p.account_id from purses p join payment_methods m on m.account_id = p.account_id"
        " where p.name like 'earnings:%%' and p.balance >= %s and m.payout_to is not null"
        " order by p.account_id",
        at_least,
    )
    return [AccountId(row["account_id"]) for row in rows]
