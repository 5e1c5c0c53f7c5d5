"""Money as people see it: charges that can be recomputed, contracts, gifts of credit."""

from collections import defaultdict
from typing import Any, Final

import msgspec

from mercato.control.api.call import Call, Done
from mercato.control.api.caller import Caller
from mercato.control.api.paths import DIGITS_MAX
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
from mercato.control.flows import billing, limiting, paying
from mercato.control.flows.house import Rules
from mercato.control.store import accounts, statements
from mercato.control.store.statements import BilledContract
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


class ChargesQuery(Paged, frozen=True, kw_only=True):
    """Which charges: those of a window of `day`, which is needed, and of a `type`.

    The types are `instance`, `volume` and `serverless`, which is what a worker cost.
    """

    format: str = "table"


CHARGE_COLUMNS: Final = frozenset({"id", "type"})


async def list_charges(call: Call, asked: ChargesQuery) -> Charges:
    """List what each contract cost in a window, meter by meter, up to this moment."""
    window = window_of(asked.select_filters, "day", call.now_ms)
    conditions = conditions_of(asked, "day", CHARGE_COLUMNS)
    rows = await call.services.db.run(charges_of, call.account, *window, call.now_ms)
    found = [{"id": row.id, "start": row.start, "type": row.type, "row": row} for row in rows]
    return page_of(found, asked, conditions, by_start(asked))


def charges_of(
    tx: Tx, renter: AccountId, begin_ms: int, end_ms: int, now_ms: int
) -> list[ChargeRow]:
    """What each of a renter's contracts cost in a window."""
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
    serves = contract.endpoint_id is not None
    return ChargeRow(
        id=contract.id,
        start=min((part.start for part in parts), default=seconds(contract.signed_at_ms)),
        end=max((part.end for part in parts), default=seconds(contract.signed_at_ms)),
        type="serverless" if serves else kind,
        source=f"{kind}-{contract.id}",
        description=f"Instance {contract.id}: {contract.image}"
        if contract.image
        else f"Volume {contract.id}",
        amount=sum(part.amount for part in parts),
        metadata={
            "label": contract.label,
            "machine_id": contract.machine_id,
            "endpoint_id": contract.endpoint_id,
            "workergroup_id": contract.group_id,
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
    limiting.require_unlimited(tx, who.account, who.scopes)
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
