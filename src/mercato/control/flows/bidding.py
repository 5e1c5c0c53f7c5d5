"""Bids after signing: another price, and whether any equal GPUs will do.

What the auction makes of it is clearing.py's.
"""

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import clearing, metering
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.flows.owned import mine, tell
from mercato.control.store import contracts, instances, limits, listings, machines, standings
from mercato.control.store.instances import Instance
from mercato.market import auction, errors
from mercato.market.contract import Contract, Kind
from mercato.market.ids import AccountId, ContractId
from mercato.market.instance import Intended, Reason
from mercato.market.money import NanoUsdPerHour, dollars, with_fee


def change_bid(
    tx: Tx,
    renter: AccountId,
    instance_id: ContractId,
    price: NanoUsdPerHour | None,
    now_ms: int,
    rules: Rules = STANDARD,
) -> tuple[NanoUsdPerHour, auction.Outcome | None]:
    """Bid another price for all GPUs of an instance by the hour; None bids what wins now.

    Returns:
        The price, and what the auction says of it; None while it is stopped.

    Raises:
        NoSuchInstance: when the renter has none such.
        Conflict: when it was not rented by bid, or no price would win.
        InvalidPrice: when it is below the floor.
        InsufficientCredit: when the renter cannot cover the horizon at that price.
    """
    instance, contract = mine(tx, renter, instance_id)
    if contract.terms.kind is not Kind.INTERRUPTIBLE:
        raise errors.Conflict(
            f"Instance {instance_id} is {contract.terms.kind.value} and has no bid to change."
        )
    floor = _floor(tx, contract)
    bid = winning(tx, instance, contract) if price is None else price
    if bid < floor:
        raise errors.InvalidPrice(
            f"The least that the host takes for instance {instance_id} is"
            f" ${dollars(floor):.6g} an hour, and ${dollars(bid):.6g} was bid."
        )
    free = contract.renter == contract.host
    terms = msgspec.structs.replace(contract.terms, gpu=NanoUsdPerHour(0 if free else bid))
    if terms != contract.terms:
        more = max(0, terms.gpu - contract.terms.gpu)
        wants = instance.intended is Intended.RUNNING
        scopes = limits.scopes_of(tx, instance_id)
        asked = metering.NewRates(gpu=more if wants else 0, scopes=scopes)
        metering.require_credit(tx, renter, asked, now_ms, rules)
        contracts.amend(tx, instance_id, terms, "bid", now_ms)
        message = f"Its bid is ${dollars(bid):.6g} an hour now."
        tell(tx, contract, "bid_changed", Reason.USER, message, now_ms)
    verdict = clearing.clear(tx, contract.machine, now_ms, rules)
    wanted = any(one.contract == instance_id for one in verdict.outcomes)
    return bid, verdict.of(instance_id) if wanted else None


def reschedule(
    tx: Tx,
    renter: AccountId,
    instance_id: ContractId,
    now_ms: int,
    rules: Rules = STANDARD,
    *,
    anywhere: bool,
) -> None:
    """Say whether an instance may come back on any equal GPUs of its machine.

    Raises:
        NoSuchInstance: when the renter has none such.
    """
    _, contract = mine(tx, renter, instance_id)
    instances.set_reschedule(tx, instance_id, anywhere=anywhere)
    where = "any equal GPUs of its machine" if anywhere else "the same GPUs only"
    message = f"It comes back on {where}."
    tell(tx, contract, "instance_reschedule", Reason.USER, message, now_ms)
    clearing.clear(tx, contract.machine, now_ms, rules)


def winning(tx: Tx, instance: Instance, contract: Contract) -> NanoUsdPerHour:
    """The least bid that would win an instance its GPUs now.

    Raises:
        Conflict: when no bid would.
    """
    machine = machines.at_front(tx, contract.machine)
    others = [
        claim for claim in standings.claims_on(tx, machine.id) if claim.contract != instance.id
    ]
    wanted = instance.gpus or contract.gpus
    gpus = max(machine.hardware.gpu_count, 1 + wanted[-1])
    needed = auction.to_win(gpus, others, wanted)
    if needed is None:
        raise errors.Conflict(
            "An on-demand or reserved contract has these GPUs; no bid wins them now."
        )
    return auction.least_bid(needed, _floor(tx, contract))


def _floor(tx: Tx, contract: Contract) -> NanoUsdPerHour:
    """The least that its host takes for all its GPUs: that of the listing that was signed."""
    stored = listings.get(tx, contract.listing)
    assert stored is not None, contract
    asked = stored.listing.prices.bid_floor * len(contract.gpus)
    return NanoUsdPerHour(with_fee(asked, contract.terms.platform_fee_ppm))
