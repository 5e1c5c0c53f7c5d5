"""Money as people see it: charges that can be recomputed, invoices, earnings, transfers."""

from collections import defaultdict
from typing import Any, Final

import msgspec

from mercato.control.api import selecting
from mercato.control.api.call import Call, Done
from mercato.control.api.caller import Caller
from mercato.control.api.paths import DIGITS_MAX
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import billing, limiting, metering, paying
from mercato.control.flows.house import Rules
from mercato.control.store import accounts, statements
from mercato.control.store.statements import BilledContract, Movement
from mercato.market import errors
from mercato.market.ids import AccountId, ContractId
from mercato.market.money import (
    MS_PER_S,
    NanoUsd,
    NanoUsdPerGb,
    dollars,
    nano,
    transfer_cost,
)

PAGE_DEFAULT: Final = 20
PAGE_MAX: Final = 500
LEAST_TRANSFER: Final = 0.01
TITLE: Final = {"gpu": "GPU", "disk": "Storage", "bwu": "Upload", "bwd": "Download"}
WIRE_KIND: Final = {"gpu": "gpu", "disk": "disk", "up": "bwu", "down": "bwd", "early_end": "gpu"}
UNITS: Final = {
    "gpu": ("h", "h"),
    "disk": ("h", "h"),
    "up": ("bytes", "GB"),
    "down": ("bytes", "GB"),
    "early_end": ("end", "end"),
}
"""What a line's quantity counts, and what its rate is for."""


class ChargeRow(msgspec.Struct, kw_only=True):
    """What a contract cost over a span, and of what that is made; dollars and seconds."""

    id: int | None = None
    start: float
    end: float
    type: str
    source: str | None
    description: str
    amount: float
    metadata: dict[str, Any]
    items: list["ChargeRow"]


class ChargesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which charges."""

    select_filters: dict[str, Any] | None = None
    """`{"day": {"gte": …, "lte": …}}` in seconds since the epoch; both are needed."""
    latest_first: bool = False
    limit: int | None = None
    after_token: str | None = None
    format: str = "table"


class Charges(msgspec.Struct, frozen=True, kw_only=True):
    """One page of charges or invoices."""

    success: bool = True
    results: list[ChargeRow]
    count: int
    """How many there are on this page."""
    total: int
    """How many there are on all pages."""
    next_token: str | None


async def list_charges(call: Call, asked: ChargesQuery) -> Charges:
    """List what each contract cost in a window, meter by meter, up to this moment."""
    window = _window(asked.select_filters, "day", call.now_ms)
    wanted = (asked.select_filters or {}).get("type")
    kinds = wanted.get("in") if isinstance(wanted, dict) else None
    rows = await call.services.db.run(_charges, call.account, *window, call.now_ms)
    if kinds is not None:
        rows = [row for row in rows if row.type in kinds]
    return _page(rows, asked)


def _page(rows: list[ChargeRow], asked: "ChargesQuery | InvoicesQuery") -> Charges:
    limit = PAGE_DEFAULT if asked.limit is None else asked.limit
    if not 1 <= limit <= PAGE_MAX:
        raise errors.InvalidRequest(f"limit must be from 1 to {PAGE_MAX}.")
    rows = [row for row in rows if row.amount]
    rows.sort(key=lambda row: (row.start, row.id or 0), reverse=asked.latest_first)
    plain = [{"id": row.id, "row": row} for row in rows]
    rest = selecting.after(plain, asked.after_token)
    page = rest[:limit]
    return Charges(
        results=[one["row"] for one in page],
        count=len(page),
        total=len(rows),
        next_token=selecting.token_after(page[-1]) if len(rest) > limit else None,
    )


def _window(filters: dict[str, Any] | None, name: str, now_ms: int) -> tuple[int, int]:
    """Begin and end of the window that the filters name, in milliseconds."""
    bounds = (filters or {}).get(name)
    if not isinstance(bounds, dict):
        raise errors.InvalidQuery(
            f'select_filters needs {{"{name}": {{"gte": …, "lte": …}}}} in seconds since 1970.'
        )
    try:
        begin_ms = int(float(bounds.get("gte", 0)) * MS_PER_S)
        last_s = float(bounds.get("lte", now_ms / MS_PER_S))
        # A whole second is meant to its end: clients round this very moment down.
        end_ms = int(last_s * MS_PER_S) + (MS_PER_S - 1 if last_s.is_integer() else 0)
    except (TypeError, ValueError, OverflowError):
        raise errors.InvalidQuery(f"The bounds of {name!r} must be numbers.") from None
    begin_ms = max(0, min(begin_ms, now_ms))
    return begin_ms, max(begin_ms, min(end_ms, now_ms))


def _charges(tx: Tx, renter: AccountId, begin_ms: int, end_ms: int, now_ms: int) -> list[ChargeRow]:
    signed = statements.contracts(tx, renter)
    items: dict[ContractId, list[ChargeRow]] = defaultdict(list)
    for line in billing.lines(tx, renter, begin_ms, end_ms + 1, now_ms):
        items[line.contract].append(_line(line))
    # Bytes that moved and are not posted yet belong to a window that reaches to this moment.
    if end_ms >= now_ms - MS_PER_S:
        for contract in signed.values():
            items[contract.id].extend(_unposted(contract, now_ms))
    return [_contract(signed[one], parts) for one, parts in items.items() if parts]


def _contract(contract: BilledContract, parts: list[ChargeRow]) -> ChargeRow:
    parts = [part for part in parts if part.amount]
    kind = "instance" if contract.image else "volume"
    return ChargeRow(
        id=contract.id,
        start=min((part.start for part in parts), default=seconds(contract.signed_at_ms)),
        end=max((part.end for part in parts), default=seconds(contract.signed_at_ms)),
        type=kind,
        source=f"{kind}-{contract.id}",
        description=f"Instance {contract.id}: {contract.image}"
        if contract.image
        else f"Volume {contract.id}",
        amount=sum(part.amount for part in parts),
        metadata={
            "label": contract.label,
            "machine_id": contract.machine_id,
            "endpoint_id": None,
            "workergroup_id": None,
            "template_id": None,
        },
        items=parts,
    )


def _line(line: billing.Line) -> ChargeRow:
    """One line of the bill: a meter's part of the window, or bytes that were charged."""
    kind = WIRE_KIND[line.kind]
    unit, per = UNITS[line.kind]
    text = f"{TITLE[kind]}: {line.quantity:.6g} {unit} at ${dollars(line.rate):.6g}/{per}"
    if line.list_rate is not None:
        text += f", prepaid (${dollars(line.list_rate):.6g}/{per} otherwise)"
    if line.note:
        text += f" ({line.note})"
    if line.kind == "early_end":
        text = "Reservation ended early: 1.05 of the discount received, at most what was left"
    return ChargeRow(
        start=seconds(line.start_ms),
        end=seconds(line.end_ms),
        type=kind,
        source=None,
        description=text,
        amount=dollars(line.amount),
        metadata={"rate": dollars(line.rate), "quantity": line.quantity, "unit": unit},
        items=[],
    )


def _unposted(contract: BilledContract, now_ms: int) -> list[ChargeRow]:
    rows = []
    for kind, price, counted, posted in (
        ("bwu", contract.up_price, contract.up_bytes, contract.up_bytes_posted),
        ("bwd", contract.down_price, contract.down_bytes, contract.down_bytes_posted),
    ):
        amount = _bytes_cost(price, counted, posted)
        if amount:
            row = ChargeRow(
                start=seconds(contract.signed_at_ms),
                end=seconds(now_ms),
                type=kind,
                source=None,
                description=f"{TITLE[kind]}: {counted - posted} bytes, not posted yet",
                amount=dollars(amount),
                metadata={"rate": dollars(price), "quantity": counted - posted, "unit": "bytes"},
                items=[],
            )
            rows.append(row)
    return rows


def _bytes_cost(price: int, counted: int, posted: int) -> NanoUsd:
    each = NanoUsdPerGb(price)
    return NanoUsd(transfer_cost(each, counted) - transfer_cost(each, posted))


INVOICE_TYPE: Final = {
    "transfer": "transfer",
    "prepay": "reserved",
    "refund": "refund",
    "payout": "payout",
}
SERVICE: Final = {"prepay": "instance_prepay", "stripe": "stripe_payments"}
"""The names that the API the world knows gives to kinds of movements."""


class InvoicesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which invoices."""

    select_filters: dict[str, Any] | None = None
    """`{"when": {"gte": …, "lte": …}}` in seconds since the epoch."""
    latest_first: bool = False
    limit: int | None = None
    after_token: str | None = None
    order_by: list[Any] | None = None


async def list_invoices(call: Call, asked: InvoicesQuery) -> Charges:
    """List what came into or left the account's credit other than for rentals."""
    window = _window(asked.select_filters or {"when": {}}, "when", call.now_ms)
    wanted = (asked.select_filters or {}).get("service")
    services = wanted.get("in") if isinstance(wanted, dict) else None
    rows = await call.services.db.run(_invoices, call.account, *window)
    if services is not None:
        rows = [row for row in rows if row.metadata["service"] in services]
    return _page(rows, asked)


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
    begin_ms, end_ms = _window({"when": bounds}, "when", now_ms)
    lines = []
    for row in _invoices(tx, account, begin_ms, end_ms):
        amount = row.amount if row.type == "transfer" else -row.amount
        lines.append(_old("payment", row, None, amount, 1.0, amount))
    charges = _charges(tx, account, begin_ms, end_ms, now_ms)
    if asked.inc_charges:
        for charge in charges:
            for part in charge.items:
                quantity = float(part.metadata.get("quantity", 1.0))
                rate = float(part.metadata.get("rate", part.amount))
                text = f"{charge.description}: {part.description}"
                part.description = text
                lines.append(_old("charge", part, charge.id, part.amount, quantity, rate))
    spent = sum(charge.amount for charge in charges)
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
    return FoundInvoices(invoices=[row for row in rows if selecting.matches(row, conditions)])


class WhichContracts(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts by label or id."""

    label: str | None = None
    contract_ids: list[int] | None = None


class Contracts(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts that match."""

    success: bool = True
    contracts: list[dict[str, Any]]


async def fetch_contracts(call: Call, asked: WhichContracts) -> Contracts:
    """Find contracts by label or id, destroyed ones too."""
    signed = await call.services.db.run(statements.contracts, call.account)
    return Contracts(
        contracts=[
            {"id": one.id, "label": one.label, "machine_id": one.machine_id}
            for one in signed.values()
            if (asked.label is None or one.label == asked.label)
            and (not asked.contract_ids or one.id in asked.contract_ids)
        ]
    )


class Gift(msgspec.Struct, frozen=True, kw_only=True):
    """Credit for somebody else, in dollars."""

    recipient: str | int
    amount: float


class _InvalidRecipient(errors.InvalidRequest):
    code = "invalid_recipient"


class _InvalidAmount(errors.InvalidRequest):
    code = "invalid_params"


class _InsufficientBalance(errors.InsufficientCredit):
    code = "insufficient_balance"


async def transfer_credit(call: Call, asked: Gift) -> Done:
    """Give credit to another account, by its e-mail address or id; it cannot be taken back."""
    if not LEAST_TRANSFER <= asked.amount <= 1e9:
        raise _InvalidAmount(f"amount must be at least {LEAST_TRANSFER} dollars.")
    await call.services.db.run(
        _give, call.who, asked, call.cause, call.now_ms, call.services.house.rules
    )
    return Done(msg=f"{asked.amount:.2f} dollars went to {asked.recipient}.")


def _give(tx: Tx, who: Caller, asked: Gift, cause: str, now_ms: int, rules: Rules) -> None:
    limiting.require_unlimited(tx, who.key)
    sender = who.account
    name = str(asked.recipient).strip()
    numbered = name.isascii() and name.isdigit() and len(name) <= DIGITS_MAX
    found = accounts.get(tx, AccountId(int(name))) if numbered else accounts.find(tx, name)
    if found is None or found.id == sender:
        raise _InvalidRecipient(f"There is no other account {name!r}.")
    amount = NanoUsd(nano(asked.amount))
    try:
        paying.transfer_credit(tx, sender, found.id, amount, cause, now_ms, rules)
    except errors.InsufficientCredit as short:
        raise _InsufficientBalance(str(short)) from None
