"""Invoices: what came into or left an account other than for rentals."""

from typing import Any, Final

import msgspec

from mercato.control.api import selecting
from mercato.control.api.call import Call
from mercato.control.api.money import charges_of
from mercato.control.api.statement import (
    ChargeRow,
    Charges,
    Paged,
    by_start,
    conditions_of,
    page_of,
    window_of,
)
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import metering
from mercato.control.store import accounts, statements
from mercato.control.store.statements import Movement
from mercato.market.ids import AccountId
from mercato.market.money import MS_PER_S, dollars

INVOICE_TYPE: Final = {
    "transfer": "transfer",
    "prepay": "reserved",
    "refund": "refund",
    "payout": "payout",
}
MOVEMENT_COLUMNS: Final = frozenset({"id", "when", "paid_on", "amount_cents", "type", "service"})
SERVICE: Final = {"prepay": "instance_prepay", "stripe": "stripe_payments"}
"""The names that the API the world knows gives to kinds of movements."""


class InvoicesQuery(Paged, frozen=True, kw_only=True):
    """Which invoices: those of a window of `when`."""

    order_by: list[Any] | None = None
    """`[{"col": …, "dir": "asc" or "desc"}]`."""


async def list_invoices(call: Call, asked: InvoicesQuery) -> Charges:
    """List what came into or left the account's credit other than for rentals."""
    window = window_of(asked.select_filters or {"when": {}}, "when", call.now_ms)
    conditions = conditions_of(asked, "when", MOVEMENT_COLUMNS)
    order = by_start(asked)
    if asked.order_by:
        order = selecting.order_of(asked.order_by, MOVEMENT_COLUMNS)
    rows = await call.services.db.run(_invoices, call.account, *window)
    found = [
        {
            "id": row.id,
            "start": row.start,
            "when": row.start,
            "paid_on": row.end,
            "amount_cents": round(row.amount * 100),
            "type": row.type,
            "service": row.metadata["service"],
            "row": row,
        }
        for row in rows
    ]
    return page_of(found, asked, conditions, order)


def _numbered(tx: Tx, account: AccountId, begin_ms: int, end_ms: int) -> list[tuple[int, Movement]]:
    """What moved in a window, each with the number that it has among all that ever moved."""
    moved = enumerate(statements.movements(tx, account, 0, end_ms), start=1)
    return [(number, one) for number, one in moved if one.at_ms >= begin_ms]


def _invoices(tx: Tx, account: AccountId, begin_ms: int, end_ms: int) -> list[ChargeRow]:
    return [
        _invoice(tx, account, number, moved)
        for number, moved in _numbered(tx, account, begin_ms, end_ms)
    ]


def _invoice(tx: Tx, account: AccountId, number: int, moved: Movement) -> ChargeRow:
    received = moved.credit == f"credit:{account}"
    between = moved.debit.startswith("credit:") and moved.credit.startswith("credit:")
    # A payment has the sign of what was paid for it, as clients expect: they show it turned round.
    amount = dollars(moved.amount if received == between else -moved.amount)
    other = moved.debit if received else moved.credit
    if between:
        person = accounts.get(tx, AccountId(int(other.removeprefix("credit:"))))
        other = person.email if person else other
    return ChargeRow(
        id=number,
        start=seconds(moved.at_ms),
        end=seconds(moved.at_ms),
        type=INVOICE_TYPE.get(moved.kind, "credit"),
        source=other.replace(":", "-"),
        description=f"{'Received from' if received else 'Sent to'} {other}",
        amount=amount,
        metadata={
            "invoice_id": number,
            "service": SERVICE.get(moved.provider or moved.kind, moved.kind),
            "cause": moved.cause,
        },
        items=[],
    )


class OldInvoicesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A window in seconds since the epoch."""

    sdate: float | None = None
    edate: float | None = None
    inc_charges: bool = True


class OldInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the older invoice list."""

    id: int
    type: str
    timestamp: float
    amount: float
    instance_id: int | None = None
    description: str
    quantity: float = 1.0
    rate: float


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """Where the account stands now."""

    charges: float
    service_fee: float = 0.0
    total: float
    credit: float


class OldInvoices(msgspec.Struct, frozen=True, kw_only=True):
    """Payments and charges of a window."""

    success: bool = True
    invoices: list[OldInvoice]
    current: Current


async def list_old_invoices(call: Call, asked: OldInvoicesQuery) -> OldInvoices:
    """List payments and charges of a window, as older tools read them."""
    return await call.services.db.run(_old_invoices, call.account, asked, call.now_ms)


def _old_invoices(tx: Tx, account: AccountId, asked: OldInvoicesQuery, now_ms: int) -> OldInvoices:
    bounds = {"gte": asked.sdate or now_ms / MS_PER_S - 86_400, "lte": asked.edate or now_ms}
    begin_ms, end_ms = window_of({"when": bounds}, "when", now_ms)
    lines = []
    for row in _invoices(tx, account, begin_ms, end_ms):
        amount = row.amount if row.type == "transfer" else -row.amount
        lines.append(_old("payment", row, None, amount, 1.0, amount))
    charged = charges_of(tx, account, begin_ms, end_ms, now_ms)
    if asked.inc_charges:
        for charge in charged:
            for part in charge.items:
                quantity = float(part.metadata.get("quantity", 1.0))
                rate = float(part.metadata.get("rate", part.amount))
                text = f"{charge.description}: {part.description}"
                part.description = text
                lines.append(_old("charge", part, charge.id, part.amount, quantity, rate))
    spent = sum(charge.amount for charge in charged)
    credit = dollars(metering.balance(tx, account, now_ms).spendable)
    return OldInvoices(invoices=lines, current=Current(charges=spent, total=spent, credit=credit))


def _old(
    kind: str, row: ChargeRow, instance: int | None, amount: float, quantity: float, rate: float
) -> OldInvoice:
    return OldInvoice(
        id=row.id or 0,
        type=kind,
        timestamp=row.end,
        amount=amount,
        instance_id=instance,
        description=row.description,
        quantity=quantity,
        rate=rate,
    )


class FoundInvoices(msgspec.Struct, frozen=True, kw_only=True):
    """Payments."""

    success: bool = True
    invoices: list[dict[str, Any]]


INVOICE_COLUMNS: Final = frozenset(
    {"id", "user_id", "when", "paid_on", "amount_cents", "is_credit", "service", "event_id"}
)


async def search_invoices(call: Call, asked: InvoicesQuery) -> FoundInvoices:
    """Search everything that came into or left the account's credit other than for rentals."""
    conditions = selecting.conditions(asked.select_filters, INVOICE_COLUMNS)
    order = selecting.order_of(asked.order_by, INVOICE_COLUMNS)
    moved = await call.services.db.run(statements.movements, call.account, 0, call.now_ms)
    rows = [
        {
            "id": number,
            "user_id": call.account,
            "when": seconds(one.at_ms),
            "paid_on": seconds(one.at_ms),
            "amount_cents": round(dollars(one.amount) * 100),
            "is_credit": one.credit == f"credit:{call.account}",
            "service": one.kind,
            "event_id": one.cause,
        }
        for number, one in enumerate(moved, start=1)
    ]
    found = [row for row in rows if selecting.matches(row, conditions)]
    return FoundInvoices(invoices=[dict(row) for row in selecting.ordered(found, order)])
