"""A payment through a provider: wanted, asked for, settled. Money moves once, when it succeeded.

Nobody holds a transaction while a provider is asked. `want` writes the payment; the loop calls
`begin`, asks the provider with what `begin` answers, and hands the outcome to `end`. When the
answer was lost, the payment is asked for again under the same key and in the same words, whatever
its account has changed since. A payout's money leaves the
host's earnings when it is wanted, so that it cannot be spent while it is under way; so does a
refund's. Both come back when the payment fails.
"""

from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import metering
from mercato.control.flows.house import STANDARD, House, Rules
from mercato.control.payments.provider import Ask, Method, Outcome
from mercato.control.store import accounts, events, payments, purses, transfers
from mercato.control.store.events import Event
from mercato.control.store.payments import Payment
from mercato.market import errors
from mercato.market.ids import AccountId, Cause
from mercato.market.ledger import FUNDING, UNDER_WAY, Transfer, credit_of, earnings_of
from mercato.market.money import NanoUsd, dollars
from mercato.market.payment import (
    CENT,
    ENDED,
    NEXT,
    PAY_IN_MIN,
    PAYOUT_MIN,
    Purpose,
    State,
    payday,
    payout_of,
    retry_after_s,
)

PAY_IN_MAX: Final = NanoUsd(1_000_000 * 100 * CENT)
LOOK_EVERY_MS: Final = 60_000
"""How often a provider is asked what became of a payment that waits for a person or a bank."""


# --- Wanting --------------------------------------------------------------------------------------


def pay_in(
    tx: Tx,
    account: AccountId,
    amount: NanoUsd,
    purpose: Purpose,
    provider: str,
    key: str,
    now_ms: int,
) -> Payment:
    """Want credit from outside. The same key again is the same payment.

    Raises:
        InvalidPrice: when it is not whole cents, or too little or too much.
        Conflict: when the key named another payment.
    """
    if amount % CENT or not PAY_IN_MIN <= amount <= PAY_IN_MAX:
        raise errors.InvalidPrice(
            f"Pay in whole cents, from ${dollars(PAY_IN_MIN):.2f} to ${dollars(PAY_IN_MAX):,.0f}."
        )
    made = payments.create(
        tx,
        account=account,
        purpose=purpose,
        provider=provider,
        amount=amount,
        key=f"{purpose.value}:{key}",
        now_ms=now_ms,
        # Whoever began a checkout asks for it, and is shown where to pay.
        next_at_ms=now_ms + LOOK_EVERY_MS * (purpose is Purpose.CHECKOUT),
    )
    tx.poke("loop:payments")
    return made or _same(tx, account, f"{purpose.value}:{key}", amount)


def pay_out(
    tx: Tx, host: AccountId, provider: str, now_ms: int, *, at_once: bool = False
) -> Payment | None:
    """Announce a host's payout of this week; None when it is too little or was announced.

    Raises:
        Conflict: when the host did not say where its earnings go.
    """
    tx.queue(f"account:{host}")
    announced_ms, pays_ms = payday(now_ms)
    amount = payout_of(purses.balance(tx, earnings_of(host)))
    if amount is None:
        return None
    method = payments.method(tx, host)
    if method is None or method.payout_to is None:
        raise errors.Conflict("Say first where earnings are to be paid (payout_to).")
    made = payments.create(
        tx,
        account=host,
        purpose=Purpose.PAYOUT,
        provider=provider,
        amount=amount,
        key=f"payout:{host}:{announced_ms}",
        now_ms=now_ms,
        next_at_ms=now_ms if at_once else pays_ms,
    )
    if made is not None:
        _move(tx, made, "taken", earnings_of(host), UNDER_WAY, now_ms)
        _tell(tx, made, "payout_announced", "will be paid out.", now_ms)
    return made


def give_back(
    tx: Tx, payment_id: int, amount: NanoUsd, key: str, now_ms: int, rules: Rules = STANDARD
) -> Payment:
    """Refund a part of a payment from credit that was not spent; the operator's deed.

    Raises:
        NotFound: when there is no such payment.
        Conflict: when it did not succeed.
        InvalidPrice: when it is not whole cents, or more than is left of the payment.
        InsufficientCredit: when the credit is spent, or needed for what runs.
    """
    paid = payments.get(tx, payment_id)
    if paid is None or not paid.purpose.comes_in:
        raise errors.NotFound(f"There is no payment {payment_id} that came in.")
    if paid.state is not State.SUCCEEDED:
        raise errors.Conflict(f"Payment {payment_id} is {paid.state.value}; nothing came in.")
    tx.queue(f"account:{paid.account_id}")
    if tx.one("select from payments where key = %s", f"refund:{key}") is not None:
        return _same(tx, paid.account_id, f"refund:{key}", amount)
    left = paid.amount - payments.taken_back(tx, payment_id)
    if amount % CENT or not 0 < amount <= left:
        raise errors.InvalidPrice(f"Refund whole cents, at most ${dollars(left):.2f}.")
    free = metering.uncommitted(tx, paid.account_id, now_ms, rules)
    if free < amount:
        raise errors.InsufficientCredit(
            f"${dollars(max(0, free)):.4f} of the account's credit is neither spent nor needed."
        )
    made = payments.create(
        tx,
        account=paid.account_id,
        purpose=Purpose.REFUND,
        provider=paid.provider,
        amount=amount,
        key=f"refund:{key}",
        now_ms=now_ms,
        next_at_ms=now_ms,
        of_payment=payment_id,
    )
    assert made is not None, key
    _move(tx, made, "taken", credit_of(paid.account_id), UNDER_WAY, now_ms)
    metering.forecast(tx, paid.account_id, now_ms, rules)
    tx.poke("loop:payments")
    return made


def _same(tx: Tx, account: AccountId, key: str, amount: NanoUsd) -> Payment:
    row = tx.one("select id from payments where key = %s", key)
    found = payments.get(tx, row["id"]) if row else None
    if found is None or (found.account_id, found.amount) != (account, amount):
        raise errors.Conflict(f"The key {key!r} names another payment.")
    return found


# --- Asking ---------------------------------------------------------------------------------------


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask of which provider now."""

    provider: str
    ask: Ask
    makes: bool
    """Whether to make it; otherwise to look what became of it."""


def begin(
    tx: Tx,
    payment_id: int,
    now_ms: int,
    house: House,
    *,
    early: bool = False,
    return_url: str = "",
) -> Begun | None:
    """What to ask a provider now; None when it need not be asked, or not yet and not `early`.

    When it must be asked again, should this answer be lost, is written first. `return_url`: where
    a person comes back to, when it was not asked before.
    """
    tx.queue(f"payment:{payment_id}")
    found = payments.get(tx, payment_id)
    if found is None or found.state in ENDED:
        return None
    if not early and (found.next_at_ms is None or found.next_at_ms > now_ms):
        return None
    makes = found.state is not State.WAITING
    attempts = found.attempts + 1
    again_ms = now_ms + (retry_after_s(attempts) * 1_000 if makes else LOOK_EVERY_MS)
    state = State.ASKED if makes else found.state
    payments.write(
        tx, msgspec.structs.replace(found, state=state, attempts=attempts, next_at_ms=again_ms)
    )
    ask = _asked_before(tx, found, house)
    if ask is None:
        ask = _ask(tx, found, house, return_url)
        payments.keep_asked(tx, found.id, house.box.seal(msgspec.json.encode(ask).decode()))
    again = msgspec.structs.replace(ask, reference=found.reference or ask.reference)
    return Begun(provider=found.provider, ask=again, makes=makes)


def _asked_before(tx: Tx, payment: Payment, house: House) -> Ask | None:
    sealed = payments.asked(tx, payment.id)
    return None if sealed is None else msgspec.json.decode(house.box.open(sealed), type=Ask)


def _ask(tx: Tx, payment: Payment, house: House, return_url: str) -> Ask:
    stored = payments.method(tx, payment.account_id)
    account = accounts.get(tx, payment.account_id)
    taken = payments.get(tx, payment.of_payment) if payment.of_payment is not None else None
    method = Method()
    if stored is not None:
        sealed = stored.payout_to
        method = Method(
            customer=stored.customer,
            card=stored.card,
            card_label=stored.card_label,
            payout_to="" if sealed is None else house.box.open(sealed),
        )
    return Ask(
        payment=payment.id,
        key=f"mercato-{payment.key}",
        purpose=payment.purpose,
        amount=payment.amount,
        method=method,
        reference=taken.reference if taken is not None else "",
        email=account.email if account is not None else "",
        return_url=return_url,
    )


def look_soon(tx: Tx, payment_id: int, now_ms: int) -> bool:
    """Have a payment that waits looked at now: its provider says that something happened."""
    found = payments.get(tx, payment_id)
    if found is None or found.state in ENDED:
        return False
    payments.write(tx, msgspec.structs.replace(found, next_at_ms=now_ms))
    tx.poke("loop:payments")
    return True


# --- Settling -------------------------------------------------------------------------------------


def end(tx: Tx, payment_id: int, outcome: Outcome, now_ms: int, rules: Rules = STANDARD) -> Payment:
    """Take what a provider says became of a payment; money moves once. Again is no harm."""
    tx.queue(f"payment:{payment_id}")
    found = payments.get(tx, payment_id)
    assert found is not None, payment_id
    if found.state in ENDED:
        return found
    assert outcome.state in NEXT[found.state], (found, outcome)
    over = outcome.state in ENDED
    after = msgspec.structs.replace(
        found,
        state=outcome.state,
        reference=outcome.reference or found.reference,
        failure=outcome.failure[:1_000],
        # One by hand waits for the operator; others are looked at now and then.
        next_at_ms=None if over or found.provider == "manual" else now_ms + LOOK_EVERY_MS,
        ended_at_ms=now_ms if over else None,
    )
    payments.write(tx, after)
    if outcome.state is State.SUCCEEDED:
        _succeeded(tx, after, outcome, now_ms, rules)
    elif outcome.state is State.FAILED:
        _failed(tx, after, now_ms, rules)
    return after


def _succeeded(tx: Tx, payment: Payment, outcome: Outcome, now_ms: int, rules: Rules) -> None:
    account = payment.account_id
    if outcome.method is not None and outcome.method.card:
        saved = outcome.method
        payments.save_card(tx, account, saved.customer, saved.card, saved.card_label, now_ms)
    if payment.purpose.comes_in:
        tx.queue(f"account:{account}")
        _move(tx, payment, "paid", FUNDING, credit_of(account), now_ms)
        metering.forecast(tx, account, now_ms, rules)
        _tell(tx, payment, "payment_received", "was paid in: it is credit now.", now_ms)
    else:
        _move(tx, payment, "paid", UNDER_WAY, FUNDING, now_ms)
        what = "was paid out." if payment.purpose is Purpose.PAYOUT else "was refunded."
        _tell(tx, payment, f"{payment.purpose.value}_paid", what, now_ms)


def _failed(tx: Tx, payment: Payment, now_ms: int, rules: Rules) -> None:
    account = payment.account_id
    if not payment.purpose.comes_in:
        tx.queue(f"account:{account}")
        purse = earnings_of(account) if payment.purpose is Purpose.PAYOUT else credit_of(account)
        _move(tx, payment, "returned", UNDER_WAY, purse, now_ms)
        metering.forecast(tx, account, now_ms, rules)
    why = f"could not be paid: {payment.failure or 'the provider says no more'}"
    _tell(tx, payment, "payment_failed", why, now_ms)


def _move(tx: Tx, payment: Payment, step: str, debit: str, credit: str, now_ms: int) -> None:
    kind = "credit" if payment.purpose.comes_in else payment.purpose.value
    transfers.move(
        tx,
        Transfer(
            cause=Cause(f"payment:{payment.id}:{step}"),
            debit=debit,
            credit=credit,
            amount=payment.amount,
            kind=kind if step != "returned" else f"{kind}_returned",
            account_id=payment.account_id,
            contract_id=None,
            at_ms=now_ms,
            about={"payment": payment.id, "provider": payment.provider},
        ),
    )


def _tell(tx: Tx, payment: Payment, kind: str, what: str, now_ms: int) -> None:
    events.record(
        tx,
        Event(
            account_id=payment.account_id,
            kind=kind,
            message=f"${dollars(payment.amount):,.2f} {what}",
            at_ms=now_ms,
        ),
    )


# --- A host's earnings ----------------------------------------------------------------------------


def use_earnings(
    tx: Tx, host: AccountId, amount: NanoUsd, cause: str, now_ms: int, rules: Rules = STANDARD
) -> bool:
    """Make credit of what a host earned. The same cause again: False.

    Raises:
        InvalidPrice: when the amount is not positive.
        InsufficientCredit: when it earned less.
    """
    tx.queue(f"account:{host}")
    if amount <= 0:
        raise errors.InvalidPrice("Give an amount above zero.")
    if transfers.moved(tx, f"earnings:{cause}"):
        return False
    earned = purses.balance(tx, earnings_of(host))
    if earned < amount:
        raise errors.InsufficientCredit(
            f"${dollars(earned):.4f} of earnings are there; payouts that were announced are not."
        )
    transfers.move(
        tx,
        Transfer(
            cause=Cause(f"earnings:{cause}"),
            debit=earnings_of(host),
            credit=credit_of(host),
            amount=amount,
            kind="earnings",
            account_id=host,
            contract_id=None,
            at_ms=now_ms,
        ),
    )
    metering.forecast(tx, host, now_ms, rules)
    return True


def payouts_due(tx: Tx) -> list[AccountId]:
    """Hosts who earned enough to be paid and said where it goes."""
    return payments.earning(tx, PAYOUT_MIN)
