"""A reservation: credit becomes one contract's deposit, buys a discount, and is drawn on first.

`prepay` moves the money and counts months and discount anew from what is then in the deposit; the
contract's meters go on at the discounted rate and are paid from it. When it is used up they go on
at the full price from the credit, from that very moment (metering.use_up). `pay_back` ends it when
the contract does: less 1.05 of the discount received for whoever ends it early, in full when its
time was over or its host did not keep its word.
"""

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import metering, proving
from mercato.control.flows.charging import charge, move
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.flows.owned import tell
from mercato.control.store import (
    contracts,
    deposits,
    instances,
    listings,
    machines,
    purses,
    segments,
    transfers,
)
from mercato.control.store.deposits import Deposit
from mercato.market import errors, reserving
from mercato.market.contract import Contract, Kind
from mercato.market.ids import AccountId, ContractId
from mercato.market.instance import Intended, Reason
from mercato.market.ledger import credit_of, deposit_of
from mercato.market.money import (
    HOURS_PER_MONTH,
    MS_PER_HOUR,
    PPM,
    NanoUsd,
    NanoUsdPerHour,
    dollars,
    nano,
)
from mercato.market.usage import EndedEarly

PREPAY_MIN = nano("0.01")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A contract's deposit at one moment."""

    left: NanoUsd
    saved: NanoUsd
    """What the discount has saved since there has been something in it."""
    months_ppm: int
    discount_ppb: int

    @property
    def refundable(self) -> NanoUsd:
        """What an end now would give back."""
        return reserving.refund(self.left, self.saved)


NOTHING = Standing(left=NanoUsd(0), saved=NanoUsd(0), months_ppm=0, discount_ppb=0)


# --- Paying in ------------------------------------------------------------------------------------


def prepay(
    tx: Tx,
    renter: AccountId,
    instance_id: ContractId,
    amount: NanoUsd,
    cause: str,
    now_ms: int,
    rules: Rules = STANDARD,
) -> Deposit:
    """Move credit into a contract's deposit; what that bought. The same cause again pays nothing.

    Raises:
        NoSuchInstance: when the renter has none such.
        InvalidPrice: when the amount is less than a cent, or reaches past the contract's end.
        Conflict: when it is rented by bid, costs nothing, or its host gives no discount.
        InsufficientCredit: when the account lacks the amount, or needs it for what else runs.
    """
    contract = _mine(tx, renter, instance_id)
    max_ppm = _discount_max_ppm(tx, contract)
    hourly = NanoUsdPerHour(contract.terms.gpu + contract.terms.storage)
    before = deposits.of_contract(tx, contract.id)
    if before is not None and transfers.moved(tx, f"prepay:{cause}"):
        return before
    _check(contract, hourly, max_ppm, amount)
    at_ms = proving.gpu_time_until(machines.at_front(tx, contract.machine), now_ms, rules)
    metering.settle(tx, contract, at_ms, now_ms)
    before = deposits.of_contract(tx, contract.id)  # it may just have been used up
    _take(tx, contract, amount, cause, now_ms)
    held = NanoUsd(purses.balance(tx, deposit_of(contract.id)))
    months = reserving.months_ppm(held, hourly, max_ppm)
    _check_end(contract, hourly, months, now_ms)
    deposit = Deposit(
        contract_id=contract.id,
        renter_id=renter,
        months_ppm=months,
        discount_ppb=reserving.discount_ppb(months, max_ppm),
        since_ms=before.since_ms if before is not None else at_ms,
        used_up_at_ms=None,
    )
    deposits.write(tx, deposit)
    reserved = msgspec.structs.replace(contract.terms, kind=Kind.RESERVED)
    contracts.amend(tx, contract.id, reserved, "reservation", now_ms)
    metering.reprice(tx, contract, contracts.get(tx, contract.id), at_ms, now_ms)
    if metering.uncommitted(tx, renter, now_ms, rules) < 0:
        raise errors.InsufficientCredit(
            f"${dollars(amount):.2f} cannot be prepaid: what else runs needs the credit for the "
            f"next {rules.horizon_ms / MS_PER_HOUR:g} h. Prepay less, or add credit first."
        )
    metering.forecast(tx, renter, now_ms, rules)
    tell(
        tx,
        contract,
        "instance_prepaid",
        None,
        f"${dollars(amount):.2f} were prepaid: {months / PPM:.3f} months at a discount of "
        f"{deposit.discount_ppb / reserving.PPB:.1%}.",
        now_ms,
    )
    return deposit


def _check(contract: Contract, hourly: NanoUsdPerHour, max_ppm: int, amount: NanoUsd) -> None:
    if amount < PREPAY_MIN:
        raise errors.InvalidPrice("At least $0.01 can be prepaid.")
    if contract.terms.kind is Kind.INTERRUPTIBLE:
        raise errors.Conflict(
            f"Instance {contract.id} is rented by bid and cannot be reserved; rent on demand first."
        )
    if hourly == 0:
        raise errors.Conflict(f"Instance {contract.id} costs nothing; there is nothing to prepay.")
    if max_ppm == 0:
        raise errors.Conflict(
            f"The host of instance {contract.id} gives no discount for prepaying; pay as you go."
        )


def _check_end(contract: Contract, hourly: NanoUsdPerHour, months: int, now_ms: int) -> None:
    end_at_ms = contract.terms.end_at_ms
    if end_at_ms is None:
        return
    left_ppm = max(0, end_at_ms - now_ms) * PPM // (HOURS_PER_MONTH * MS_PER_HOUR)
    if months > left_ppm:
        raise errors.InvalidPrice(
            f"The contract ends in {left_ppm / PPM:.3f} months; prepaying reaches "
            f"{months / PPM:.3f} months at ${dollars(hourly):.4f}/h. Prepay less."
        )


def _take(tx: Tx, contract: Contract, amount: NanoUsd, cause: str, now_ms: int) -> None:
    spendable = metering.position(tx, contract.renter, now_ms).spendable
    if spendable < amount:
        raise errors.InsufficientCredit(
            f"${dollars(amount):.2f} cannot be prepaid: the account has ${dollars(spendable):.4f}. "
            "Add credit first."
        )
    move(
        tx,
        contract,
        amount,
        cause=f"prepay:{cause}",
        between=(credit_of(contract.renter), deposit_of(contract.id)),
        kind="prepay",
        now_ms=now_ms,
    )


# --- Looking --------------------------------------------------------------------------------------


def standing(tx: Tx, contract: ContractId, now_ms: int) -> Standing:
    """What is in a contract's deposit now, and what an end now would give back."""
    deposit = deposits.of_contract(tx, contract)
    if deposit is None:
        return NOTHING
    drawn = segments.prepaid_since(tx, contract, deposit.since_ms)
    unposted = sum(meter.unposted(now_ms) for meter in drawn if meter.to_ms is None)
    return Standing(
        left=NanoUsd(max(0, purses.balance(tx, deposit_of(contract)) - unposted)),
        saved=NanoUsd(sum(meter.saved(now_ms) for meter in drawn)),
        months_ppm=deposit.months_ppm,
        discount_ppb=deposit.discount_ppb,
    )


# --- Paying back ----------------------------------------------------------------------------------


def pay_back(tx: Tx, contract: Contract, reason: Reason, now_ms: int) -> NanoUsd:
    """End the deposit of a contract whose meters are closed; what went back to the credit."""
    deposit = deposits.of_contract(tx, contract.id)
    if deposit is None:
        return NanoUsd(0)
    now = standing(tx, contract.id, now_ms)
    forfeited = reserving.forfeited(now.left, now.saved)
    if reason is Reason.EXPIRED or _host_failed(tx, contract):
        forfeited = NanoUsd(0)
    if forfeited > 0:
        charge(
            tx,
            contract,
            EndedEarly(left=now.left, saved=now.saved),
            prepaid=True,
            cause=f"early_end:{contract.id}:{deposit.since_ms}",
            now_ms=now_ms,
        )
    back = NanoUsd(now.left - forfeited)
    metering.end_deposit(tx, contract, now_ms)
    tell(
        tx,
        contract,
        "deposit_refunded",
        None,
        f"${dollars(back):.2f} of what was prepaid went back to your credit; "
        f"${dollars(forfeited):.2f} were kept for the discount received.",
        now_ms,
    )
    return back


def _host_failed(tx: Tx, contract: Contract) -> bool:
    """Whether the host broke its word: its machine is deverified, silent, or off the market."""
    machine = machines.get(tx, contract.machine)
    return machine is None or (
        machine.verification == "deverified"
        or machine.offline_since_ms is not None
        or machine.deleted_at_ms is not None
    )


# --- Shared ---------------------------------------------------------------------------------------


def _mine(tx: Tx, renter: AccountId, instance_id: ContractId) -> Contract:
    """The contract of the renter's instance, with the renter's queue held."""
    found = instances.get(tx, instance_id)
    if found is None or found.renter_id != renter or found.intended is Intended.DESTROYED:
        raise errors.NoSuchInstance(f"You have no instance {instance_id}.")
    tx.queue(f"account:{renter}")
    return contracts.get(tx, instance_id)


def _discount_max_ppm(tx: Tx, contract: Contract) -> int:
    """What the contract's host grants at most: frozen with the listing that it was signed under."""
    stored = listings.get(tx, contract.listing)
    assert stored is not None, contract
    return round(stored.listing.credit_discount_max * PPM)
