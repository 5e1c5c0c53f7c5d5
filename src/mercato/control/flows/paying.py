"""Money that comes in and goes from account to account."""

from mercato.control.db import Tx
from mercato.control.flows import metering
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import accounts, events, transfers
from mercato.control.store.events import Event
from mercato.market import errors
from mercato.market.ids import AccountId, Cause
from mercato.market.ledger import FUNDING, Transfer, credit_of
from mercato.market.money import MS_PER_HOUR, NanoUsd, dollars, nano

TRANSFER_MIN = nano("0.01")


def add_credit(
    tx: Tx, account: AccountId, amount: NanoUsd | int, cause: str, now_ms: int, note: str = ""
) -> bool:
    """Give an account credit from outside the market; the operator's deed.

    `cause` names the payment: the same one again gives nothing, and answers False.

    Raises:
        InvalidPrice: when the amount is not positive.
        NotFound: when there is no such account.
    """
    if amount <= 0:
        raise errors.InvalidPrice("Give an amount above zero.")
    if accounts.get(tx, account) is None:
        raise errors.NotFound(f"There is no account {account}.")
    tx.queue(f"account:{account}")
    moved = transfers.move(
        tx,
        Transfer(
            cause=Cause(f"credit:{cause}"),
            debit=FUNDING,
            credit=credit_of(account),
            amount=NanoUsd(amount),
            kind="credit",
            account_id=account,
            contract_id=None,
            at_ms=now_ms,
            about={"note": note},
        ),
    )
    if moved:
        _tell(tx, account, "credit_added", f"${dollars(amount):.2f} of credit was added.", now_ms)
        metering.forecast(tx, account, now_ms)
    return moved


def transfer_credit(
    tx: Tx,
    giver: AccountId,
    receiver: AccountId,
    amount: NanoUsd,
    cause: str,
    now_ms: int,
    rules: Rules = STANDARD,
) -> bool:
    """Give credit to another account; it cannot be taken back. The same cause again: False.

    Raises:
        InvalidPrice: when the amount is less than a cent.
        InvalidRequest: when giver and receiver are the same.
        NotFound: when there is no such receiver.
        InsufficientCredit: when what runs needs the money.
    """
    if amount < TRANSFER_MIN:
        raise errors.InvalidPrice("At least $0.01 can be transferred.")
    if giver == receiver:
        raise errors.InvalidRequest("An account cannot give credit to itself.")
    if accounts.get(tx, receiver) is None:
        raise errors.NotFound("There is no such account to give credit to.")
    for account in sorted((giver, receiver)):
        tx.queue(f"account:{account}")
    if transfers.moved(tx, f"transfer:{cause}"):
        return False
    free = metering.uncommitted(tx, giver, now_ms, rules)
    if free < amount:
        raise errors.InsufficientCredit(
            f"${dollars(amount):.2f} cannot be given: ${dollars(max(0, free)):.4f} of the "
            "account's credit is free; the rest is kept for what runs (the next "
            f"{rules.horizon_ms / MS_PER_HOUR:g} h, and storage)."
        )
    transfers.move(
        tx,
        Transfer(
            cause=Cause(f"transfer:{cause}"),
            debit=credit_of(giver),
            credit=credit_of(receiver),
            amount=amount,
            kind="transfer",
            account_id=giver,
            contract_id=None,
            at_ms=now_ms,
            about={"from": giver, "to": receiver},
        ),
    )
    for account, verb in ((giver, "given away"), (receiver, "received")):
        _tell(tx, account, "credit_moved", f"${dollars(amount):.2f} was {verb}.", now_ms)
        metering.forecast(tx, account, now_ms)
    return True


def _tell(tx: Tx, account: AccountId, kind: str, message: str, now_ms: int) -> None:
    events.record(tx, Event(account_id=account, kind=kind, message=message, at_ms=now_ms))
