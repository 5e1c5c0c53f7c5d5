"""Reserved instances: prepay one, see what is in its deposit."""

from typing import Final

import msgspec

from mercato.control.api.call import Call
from mercato.control.api.errors import PrepayWithoutCredit
from mercato.control.api.keys import ById
from mercato.control.db import Tx
from mercato.control.flows import limiting, reserving
from mercato.control.flows.reserving import Standing
from mercato.control.store import instances
from mercato.market import errors
from mercato.market.ids import AccountId, ContractId
from mercato.market.instance import Intended
from mercato.market.money import PPM, NanoUsd, dollars, nano
from mercato.market.reserving import PPB

PREPAY_MAX: Final = 1e8


class Prepayment(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars to move from the account's credit into an instance's deposit."""

    id: int
    amount: float


class Prepaid(msgspec.Struct, frozen=True, kw_only=True):
    """What the deposit now buys."""

    success: bool = True
    timescale: float
    """Months of 720 hours at the discounted price."""
    discount_rate: float
    """The part of the price that is saved, 0 to 0.5."""
    msg: str


async def prepay(call: Call, asked: Prepayment) -> Prepaid:
    """Prepay an instance: a deposit that is used first, at a discount that grows with it."""
    if not 0 < asked.amount <= PREPAY_MAX:
        raise errors.InvalidPrice(f"amount must be above 0 and at most {PREPAY_MAX:g} dollars.")
    try:
        deposit = await call.services.db.run(
            limiting.on_behalf(call.who.scopes, reserving.prepay),
            call.account,
            ContractId(asked.id),
            NanoUsd(nano(asked.amount)),
            call.cause,
            call.now_ms,
            call.services.house.rules,
        )
    except errors.InsufficientCredit as refusal:
        raise PrepayWithoutCredit(str(refusal)) from None
    months, discount = deposit.months_ppm / PPM, deposit.discount_ppb / PPB
    return Prepaid(
        timescale=months,
        discount_rate=discount,
        msg=f"Instance {asked.id} is reserved: {months:.3f} months prepaid save {discount:.1%}.",
    )


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """What was prepaid for an instance; dollars."""

    success: bool = True
    refundable_deposit: float = 0.0
    """What comes back when it is ended now."""
    total_discount: float = 0.0
    """What the discount has saved so far."""
    discount_months: float = 0.0
    """The months that were counted when it was last prepaid."""
    discount_rate: float = 0.0
    balance: float = 0.0
    """What is left in the deposit at this moment."""


async def show_deposit(call: Call, asked: ById) -> Deposit:
    """Show what is left of an instance's deposit and what would be paid back now."""
    now = await call.services.db.run(_standing, call.account, asked.id, call.now_ms)
    return Deposit(
        refundable_deposit=dollars(now.refundable),
        total_discount=dollars(now.saved),
        discount_months=now.months_ppm / PPM,
        discount_rate=now.discount_ppb / PPB,
        balance=dollars(now.left),
    )


def _standing(tx: Tx, renter: AccountId, instance: int, now_ms: int) -> Standing:
    found = instances.get(tx, ContractId(instance))
    if found is None or found.renter_id != renter or found.intended is Intended.DESTROYED:
        raise errors.NoSuchInstance(f"There is no instance {instance} among yours.")
    return reserving.standing(tx, found.id, now_ms)
