"""Payments: credit paid in, earnings paid out, through whoever the market pays through."""

from typing import Final

import anyio.to_thread
import msgspec

from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import settling
from mercato.control.payments.provider import NoAnswer, NotFromProvider, Outcome
from mercato.control.store import payments
from mercato.control.store.payments import Payment
from mercato.market import errors
from mercato.market.ids import AccountId
from mercato.market.money import NanoUsd, dollars, nano
from mercato.market.payment import Purpose, State

SHOWN_MAX: Final = 500
AMOUNT_MAX: Final = 1e8
PAYOUT_TO_MAX: Final = 256


class PaymentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A payment; dollars, seconds since the epoch."""

    id: int
    account_id: int
    purpose: Purpose
    provider: str
    amount: float
    state: State
    failure: str | None
    created_at: float
    pays_at: float | None
    """When a payout that was announced is paid."""
    ended_at: float | None


class Payments(msgspec.Struct, frozen=True, kw_only=True):
    """Payments, the latest first."""

    success: bool = True
    payments: list[PaymentRow]
    card: str | None = None
    """The last digits of the card that automatic top-ups charge."""
    payout_to: bool = False
    """Whether it is known where earnings go."""


def payment_row(payment: Payment) -> PaymentRow:
    """A payment as the API shows it."""
    announced = payment.purpose is Purpose.PAYOUT and payment.state is State.WANTED
    return PaymentRow(
        id=payment.id,
        account_id=payment.account_id,
        purpose=payment.purpose,
        provider=payment.provider,
        amount=dollars(payment.amount),
        state=payment.state,
        failure=payment.failure or None,
        created_at=seconds(payment.created_at_ms),
        pays_at=seconds(payment.next_at_ms) if announced else None,
        ended_at=seconds(payment.ended_at_ms),
    )


async def list_payments(call: Call, asked: Nothing) -> Payments:  # noqa: ARG001 - nothing is asked
    """List what the account paid in and was paid out, and how."""
    return await call.services.db.run(_payments, call.account)


def _payments(tx: Tx, account: AccountId) -> Payments:
    method = payments.method(tx, account)
    return Payments(
        payments=[payment_row(one) for one in payments.of_account(tx, account, SHOWN_MAX)],
        card=method.card_label or None if method else None,
        payout_to=method is not None and method.payout_to is not None,
    )


class PayIn(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars to pay in."""

    amount: float
    return_url: str | None = None
    """Where the provider sends the person back to; the market's own page otherwise."""


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that was begun."""

    success: bool = True
    payment: PaymentRow
    url: str | None
    """Where to go to pay; null when the operator takes the money by hand."""
    msg: str


async def pay_in(call: Call, asked: PayIn) -> Checkout:
    """Begin to pay credit in; the provider keeps the card for automatic top-ups."""
    services = call.services
    name = services.providers.preferred
    payment = await services.db.run(
        settling.pay_in,
        call.account,
        _nano(asked.amount),
        Purpose.CHECKOUT,
        name,
        call.cause,
        call.now_ms,
    )
    outcome = await _ask(call, payment.id, asked.return_url or f"{call.origin}/")
    payment = await services.db.run(_ended, payment.id, outcome, call)
    text = f"Pay {asked.amount:.2f} dollars" if outcome.url else "The operator takes your payment"
    return Checkout(
        payment=payment_row(payment),
        url=outcome.url or None,
        msg=f"{text}; it is credit when it has arrived.",
    )


async def _ask(call: Call, payment: int, return_url: str) -> Outcome:
    services = call.services
    begun = await services.db.run(
        settling.begin, payment, call.now_ms, services.house, early=True, return_url=return_url
    )
    if begun is None:
        raise errors.Conflict(f"Payment {payment} has ended; begin another.")
    try:
        return await anyio.to_thread.run_sync(
            lambda: services.providers.ask(begun.provider, begun.ask, makes=begun.makes)
        )
    except NoAnswer:
        raise errors.HostUnavailable(
            "The payment provider does not answer now. Nothing was charged; try again in a moment."
        ) from None


def _ended(tx: Tx, payment: int, outcome: Outcome, call: Call) -> Payment:
    return settling.end(tx, payment, outcome, call.now_ms, call.services.house.rules)


class PayoutTo(msgspec.Struct, frozen=True, kw_only=True):
    """Where earnings are paid: an account that the provider knows, or words for the operator."""

    payout_to: str


async def set_payout(call: Call, asked: PayoutTo) -> Done:
    """Say where the account's earnings are to be paid; it is kept sealed."""
    where = asked.payout_to.strip()
    if not 0 < len(where) <= PAYOUT_TO_MAX:
        raise errors.TooLong(f"payout_to has from 1 to {PAYOUT_TO_MAX} characters.")
    sealed = call.services.house.box.seal(where)
    await call.services.db.run(payments.pay_out_to, call.account, sealed, call.now_ms)
    return Done(msg="Earnings of $20 and more are announced each Friday and paid the next.")


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars."""

    amount: float


async def use_earnings(call: Call, asked: Amount) -> Done:
    """Make credit of what the account earned as a host."""
    await call.services.db.run(
        settling.use_earnings, call.account, _nano(asked.amount), call.cause, call.now_ms
    )
    return Done(msg=f"{asked.amount:.2f} dollars of earnings are credit now.")


def _nano(amount: float) -> NanoUsd:
    if not 0 < amount <= AMOUNT_MAX:
        raise errors.InvalidPrice(f"amount must be above 0 and at most {AMOUNT_MAX:g} dollars.")
    return NanoUsd(nano(amount))


# --- From the provider ----------------------------------------------------------------------------


class Noticed(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever a provider says; only its signature is believed, and what it is about."""

    provider: str


async def notice(call: Call, asked: Noticed) -> Done:
    """Take a provider's notice that something happened: it is asked anew what."""
    provider = call.services.providers.by_name.get(asked.provider)
    if provider is None:
        raise errors.NotFound(f"This market has no payment provider {asked.provider!r}.")
    try:
        payment = provider.noticed(call.raw, call.signature, call.now_ms)
    except NotFromProvider as problem:
        raise errors.InvalidRequest(str(problem)) from None
    if payment is not None:
        await call.services.db.run(settling.look_soon, payment, call.now_ms)
    return Done(msg="Taken.")


# --- For the operator -----------------------------------------------------------------------------


class ProviderName(msgspec.Struct, frozen=True, kw_only=True):
    """Whose payments; those made by hand otherwise."""

    provider: str = "manual"


async def list_waiting(call: Call, asked: ProviderName) -> Payments:
    """List the payments of everybody that wait: those by hand are the operator's to make."""
    found = await call.services.db.run(payments.waiting, asked.provider)
    return Payments(payments=[payment_row(one) for one in found])


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a payment by hand."""

    id: int
    succeeded: bool
    reference: str = ""
    failure: str = ""


async def settle(call: Call, asked: Settled) -> PaymentRow:
    """Say what became of a payment that was made by hand."""
    return payment_row(await call.services.db.run(_settle, asked, call))


def _settle(tx: Tx, asked: Settled, call: Call) -> Payment:
    found = payments.get(tx, asked.id)
    if found is None or found.provider != "manual":
        raise errors.NotFound(f"There is no payment {asked.id} by hand.")
    if found.state is not State.WAITING:
        raise errors.Conflict(f"Payment {asked.id} is {found.state.value}; it does not wait.")
    state = State.SUCCEEDED if asked.succeeded else State.FAILED
    outcome = Outcome(state=state, reference=asked.reference, failure=asked.failure)
    return _ended(tx, asked.id, outcome, call)


class GivenBack(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars of a payment to give back."""

    id: int
    amount: float


async def refund(call: Call, asked: GivenBack) -> PaymentRow:
    """Give back a part of a payment from credit that is neither spent nor needed."""
    made = await call.services.db.run(
        settling.give_back,
        asked.id,
        _nano(asked.amount),
        call.cause,
        call.now_ms,
        call.services.house.rules,
    )
    return payment_row(made)
