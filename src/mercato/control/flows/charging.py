"""A charge: money moves from whoever rents to whoever lets, once for each cause."""

from typing import Any

from mercato.control.db import Tx
from mercato.control.store import purses, transfers
from mercato.market.contract import Contract
from mercato.market.ids import Cause
from mercato.market.ledger import Charge, Transfer, credit_of, deposit_of, shared_out
from mercato.market.money import NanoUsd


def charge(
    tx: Tx,
    contract: Contract,
    amount: NanoUsd,
    *,
    prepaid: bool,
    cause: str,
    about: dict[str, Any],
    now_ms: int,
) -> None:
    """Charge a contract's renter, from its deposit or from the credit.

    `about` says what for, so that the amount can be recomputed. What the purse lacks (the server
    was down when it ran dry) the house gives.
    """
    payer = deposit_of(contract.id) if prepaid else credit_of(contract.renter)
    owed = Charge(
        cause=Cause(cause),
        amount=amount,
        payer=payer,
        renter=contract.renter,
        host=contract.host,
        contract=contract.id,
        platform_fee_ppm=contract.terms.platform_fee_ppm,
        about=about,
    )
    for transfer in shared_out(owed, NanoUsd(purses.balance(tx, payer)), now_ms):
        transfers.move(tx, transfer)


def move(
    tx: Tx,
    contract: Contract,
    amount: NanoUsd,
    *,
    cause: str,
    between: tuple[str, str],
    kind: str,
    now_ms: int,
) -> bool:
    """Move money of a contract's renter from the first purse to the second; False when it was."""
    debit, credit = between
    return transfers.move(
        tx,
        Transfer(
            cause=Cause(cause),
            debit=debit,
            credit=credit,
            amount=amount,
            kind=kind,
            account_id=contract.renter,
            contract_id=contract.id,
            at_ms=now_ms,
        ),
    )
