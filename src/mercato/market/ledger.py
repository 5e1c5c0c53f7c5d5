"""The ledger: purses, transfers between them, and how a charge is shared out.

Every transfer takes from one purse what it gives to another, so all purses sum to zero whatever
happens. A transfer is named by its cause, and the same cause never moves money twice.
"""

from typing import Any, Final

import msgspec

from mercato.market.ids import AccountId, Cause, ContractId
from mercato.market.money import NanoUsd, fee_of

FUNDING: Final = "funding"
"""Money from outside: given by the operator, paid in, or paid out."""

FEES: Final = "fees"
"""What the platform keeps, and from which it makes good."""


UNDER_WAY: Final = "under_way"
"""What was taken for payouts and refunds whose provider has not said yet what became of them."""


def credit_of(account: AccountId) -> str:
    """Name of the purse from which an account pays what it rents."""
    return f"credit:{account}"


def earnings_of(account: AccountId) -> str:
    """Name of the purse into which an account receives what it lets."""
    return f"earnings:{account}"


def deposit_of(contract: ContractId) -> str:
    """Name of the purse that was prepaid for one contract and pays for it before the credit."""
    return f"deposit:{contract}"


def has_floor(purse: str) -> bool:
    """Whether a purse belongs to somebody and may never fall below zero."""
    return purse.partition(":")[0] in {"credit", "earnings", "deposit"}


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that moves from one purse to another."""

    cause: Cause
    debit: str
    """The purse that gives."""
    credit: str
    """The purse that receives."""
    amount: NanoUsd
    kind: str
    """`credit`, `charge`, `fee`, `goodwill`, `transfer`, `prepay`, `refund`, …"""
    account_id: AccountId | None
    """Whom it concerns."""
    contract_id: ContractId | None
    at_ms: int
    about: dict[str, Any] = {}


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What a renter owes a host, before it is shared out."""

    cause: Cause
    amount: NanoUsd
    payer: str
    """The purse that pays: the renter's credit, or the contract's deposit."""
    renter: AccountId
    host: AccountId
    contract: ContractId
    platform_fee_ppm: int
    about: dict[str, Any]
    """What it is for, so that its amount can be recomputed."""
    allowed: NanoUsd | None = None
    """The most that the renter may be charged for it; None: all of it."""
    made_good: bool = True
    """Whether the house pays the host what the renter does not: not for what only the host saw."""

    def borne(self, in_purse: NanoUsd) -> NanoUsd:
        """The part that the renter pays, given what is in the purse."""
        return NanoUsd(
            min(self.amount, in_purse, self.amount if self.allowed is None else self.allowed)
        )


def shared_out(charge: Charge, in_purse: NanoUsd, at_ms: int) -> list[Transfer]:
    """The transfers of a charge: to the host, to the house, and what the house must add.

    What the payer lacks, or need not pay, the house gives as goodwill where it makes good: the host
    is paid for what was delivered. Else the host goes without. No purse falls below zero.
    """
    assert charge.amount > 0, charge
    borne = charge.borne(in_purse)
    due = charge.amount if charge.made_good else borne
    short = NanoUsd(due - borne)
    fee = fee_of(due, charge.platform_fee_ppm)
    moves = (
        (f"{charge.cause}:goodwill", FEES, charge.payer, short, "goodwill"),
        (charge.cause, charge.payer, earnings_of(charge.host), due - fee, "charge"),
        (f"{charge.cause}:fee", charge.payer, FEES, fee, "fee"),
    )
    return [
        Transfer(
            cause=Cause(cause),
            debit=debit,
            credit=credit,
            amount=NanoUsd(amount),
            kind=kind,
            account_id=charge.renter,
            contract_id=charge.contract,
            at_ms=at_ms,
            about=charge.about,
        )
        for cause, debit, credit, amount, kind in moves
        if amount > 0
    ]


class Overdrawn(Exception):  # noqa: N818 - a law that was about to be broken, not a refusal
    """A transfer would take a purse below zero."""


class Books:
    """A whole ledger in memory, for replays, simulations and proofs.

    The one in PostgreSQL (control/store/transfers.py) keeps the same three laws: what one purse
    gives another receives, a cause moves money once, and no purse with a floor falls below it.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.purses: dict[str, int] = {}
        self.causes: set[str] = set()

    def move(self, transfer: Transfer) -> bool:
        """Move money, once for each cause; False when this cause has moved it before.

        Raises:
            Overdrawn: when the giving purse would fall below its floor.
        """
        if transfer.cause in self.causes:
            return False
        left = self.purses.get(transfer.debit, 0) - transfer.amount
        if left < 0 and has_floor(transfer.debit):
            raise Overdrawn(f"{transfer.debit} would be {left} after {transfer.cause}")
        self.causes.add(transfer.cause)
        self._set(transfer.debit, left)
        self._set(transfer.credit, self.purses.get(transfer.credit, 0) + transfer.amount)
        return True

    def _set(self, purse: str, balance: int) -> None:
        """Keep what is in a purse; an empty one is forgotten."""
        if balance:
            self.purses[purse] = balance
        else:
            self.purses.pop(purse, None)

    def balance(self, purse: str) -> NanoUsd:
        """What is in a purse; 0 when it was never used."""
        return NanoUsd(self.purses.get(purse, 0))
