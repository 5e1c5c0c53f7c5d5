"""A charge: money moves from whoever rents to whoever lets, and a usage record says what for."""

import msgspec

from mercato.control.db import Tx
from mercato.control.store import purses, transfers, usage_records
from mercato.market.contract import Contract
from mercato.market.ids import Cause
from mercato.market.ledger import Charge, Transfer, credit_of, deposit_of, shared_out
from mercato.market.money import NanoUsd
from mercato.market.usage import Moved, Record, Use, cost


def charge(
    tx: Tx,
    contract: Contract,
    use: Use,
    *,
    prepaid: bool,
    cause: str,
    now_ms: int,
    allowed: NanoUsd | None = None,
) -> NanoUsd:
    """Charge a contract's renter for a use, from its deposit or from the credit; how much.

    What the purse lacks (the server was down when it ran dry) and what is more than `allowed` (a
    spending limit has room for no more) the house gives; of traffic, which is the host's word, the
    host goes without. The caller stands in the renter's queue; a cause that was charged before
    charges nothing.
    """
    amount = cost(use)
    if amount <= 0 or transfers.moved(tx, cause):
        return NanoUsd(0)
    payer = deposit_of(contract.id) if prepaid else credit_of(contract.renter)
    owed = Charge(
        cause=Cause(cause),
        amount=amount,
        payer=payer,
        renter=contract.renter,
        host=contract.host,
        contract=contract.id,
        platform_fee_ppm=contract.terms.platform_fee_ppm,
        about=msgspec.to_builtins(use),
        allowed=allowed,
        made_good=not isinstance(use, Moved),
    )
    in_purse = NanoUsd(purses.balance(tx, payer))
    for transfer in shared_out(owed, in_purse, now_ms):
        transfers.move(tx, transfer)
    _record(tx, owed, use, NanoUsd(amount - owed.borne(in_purse)), prepaid=prepaid, now_ms=now_ms)
    return amount


def _record(
    tx: Tx, charged: Charge, use: Use, goodwill: NanoUsd, *, prepaid: bool, now_ms: int
) -> None:
    number, previous = usage_records.head(tx, charged.renter)
    usage_records.append(
        tx,
        Record(
            account=charged.renter,
            number=number + 1,
            contract=charged.contract,
            use=use,
            amount=charged.amount,
            goodwill=goodwill,
            prepaid=prepaid,
            issued_at_ms=now_ms,
            previous=previous,
        ),
    )
    tx.poke("loop:sealing")


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
