"""What becomes of contracts as time goes by: they are extended, repriced, warned of, maintained.

A host that lists a machine until later has its contracts go on: at once and at their own prices
when no price is higher; else only if the renter accepts, from the present end on. A renter who
rejects keeps the contract as it was signed.
"""

from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import clearing, metering
from mercato.control.flows.owned import tell
from mercato.control.store import (
    contracts,
    end_warnings,
    listings,
    machines,
    maintenances,
    price_increases,
    standings,
)
from mercato.control.store.maintenances import Window
from mercato.control.store.price_increases import PriceIncrease
from mercato.market import errors
from mercato.market.contract import Contract, Kind, Terms
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.lasting import asks_more, due_warning, is_later
from mercato.market.listing import Listing, duration_ms
from mercato.market.money import (
    MS_PER_HOUR,
    NanoUsdPerGb,
    NanoUsdPerGbMonth,
    NanoUsdPerHour,
    with_fee,
)

CATEGORIES: Final = ("power", "internet", "disk", "gpu", "software", "other", "not provided")
LONGEST_MS: Final = 30 * 24 * MS_PER_HOUR
"""A maintenance that takes longer is no maintenance."""


# --- Extension ------------------------------------------------------------------------------------


def extend(tx: Tx, listing: Listing, now_ms: int) -> int:
    """Have contracts go on until their machine's listing ends; how many do at their own prices.

    Of those for which a price is higher, each renter is asked instead.
    """
    extended = 0
    for contract in contracts.live_on(tx, listing.machine).values():
        if not is_later(listing.end_at_ms, contract.terms.end_at_ms):
            continue
        asked = _asked(listing, contract)
        if contract.renter != contract.host and asks_more(asked, contract.terms):
            _ask(tx, contract, listing, asked, now_ms)
        else:
            price_increases.close(tx, contract.id, now_ms)
            terms = msgspec.structs.replace(contract.terms, end_at_ms=listing.end_at_ms)
            contracts.amend(tx, contract.id, terms, "extension", now_ms)
            tell(tx, contract, "contract_extended", None, _until(listing.end_at_ms), now_ms)
            extended += 1
    return extended


def _asked(listing: Listing, contract: Contract) -> Terms:
    """The terms that a listing would sign this contract at now. A bid is raised to its floor."""
    until = msgspec.structs.replace(contract.terms, end_at_ms=listing.end_at_ms)
    if not contract.gpus:
        return until  # a volume
    fee, prices = listing.platform_fee_ppm, listing.prices
    interruptible = contract.terms.kind is Kind.INTERRUPTIBLE
    listed = with_fee((prices.bid_floor if interruptible else prices.gpu) * len(contract.gpus), fee)
    gpu = max(listed, contract.terms.gpu) if interruptible else listed
    return msgspec.structs.replace(
        until,
        gpu=NanoUsdPerHour(gpu),
        disk=NanoUsdPerGbMonth(with_fee(prices.disk, fee)),
        up=NanoUsdPerGb(with_fee(prices.up, fee)),
        down=NanoUsdPerGb(with_fee(prices.down, fee)),
        platform_fee_ppm=fee,
    )


def _ask(tx: Tx, contract: Contract, listing: Listing, asked: Terms, now_ms: int) -> None:
    before = price_increases.open_for(tx, contract.id)
    if before is not None and (
        before.answer == "accepted" or before.applied_to(contract.terms) == asked
    ):
        return  # agreed already; or asked already: who said no is not asked the same again
    price_increases.ask(tx, contract, listing.id, asked, now_ms)
    message = "Its host asks higher prices to go on past its end; accept or reject them."
    tell(tx, contract, "price_increase_asked", None, message, now_ms)


def answer(tx: Tx, renter: AccountId, increase_id: int, answered: str, now_ms: int) -> ContractId:
    """Take a renter's word on higher prices: `accepted` or `rejected`.

    Raises:
        NoPriceIncrease: when nothing such is asked, or no longer.
    """
    increase = _unanswered(tx, renter, increase_id)
    tx.queue(f"account:{renter}")
    contract = contracts.get(tx, increase.contract_id)
    machines.at_front(tx, contract.machine)
    increase = _unanswered(tx, renter, increase_id)
    price_increases.answer(tx, increase.id, answered)
    message = (
        "The higher prices hold from its present end on."
        if answered == "accepted"
        else "It ends as it was signed."
    )
    tell(tx, contract, f"price_increase_{answered}", None, message, now_ms)
    return contract.id


def _unanswered(tx: Tx, renter: AccountId, increase_id: int) -> PriceIncrease:
    for increase in price_increases.unanswered(tx, renter):
        if increase.id == increase_id:
            return increase
    raise errors.NoPriceIncrease(
        f"There is no price increase {increase_id} that waits for your word; list them again."
    )


def go_on(tx: Tx, contract: Contract, now_ms: int) -> bool:
    """Have a contract that has reached its end go on at prices that its renter accepted.

    Returns:
        False when there are none: it has ended.
    """
    increase = price_increases.open_for(tx, contract.id)
    if increase is None or increase.answer != "accepted":
        return False
    end_at_ms = contract.terms.end_at_ms
    assert end_at_ms is not None
    contracts.amend(tx, contract.id, _agreed(tx, increase, contract), "price_increase", now_ms)
    price_increases.close(tx, contract.id, now_ms)
    after = contracts.get(tx, contract.id)
    metering.reprice(tx, contract, _priced(tx, after), end_at_ms, now_ms)
    clearing.clear(tx, contract.machine, now_ms)
    tell(tx, contract, "contract_extended", None, _until(after.terms.end_at_ms), now_ms)
    machines.changed(tx, contract.machine)
    return True


def _agreed(tx: Tx, increase: PriceIncrease, contract: Contract) -> Terms:
    """The terms that were accepted; a bid is what its renter bids now, or the floor asked."""
    terms = increase.applied_to(contract.terms)
    if contract.terms.kind is not Kind.INTERRUPTIBLE:
        return terms
    stored = listings.get(tx, increase.listing_id)
    assert stored is not None, increase
    return msgspec.structs.replace(terms, gpu=_asked(stored.listing, contract).gpu)


def _priced(tx: Tx, contract: Contract) -> Contract:
    """The contract at what its GPUs cost: a bid under uniform pricing at what it paid last."""
    bids = standings.bid_terms_on(tx, contract.machine).get(contract.id)
    if bids is None or not bids.uniform:
        return contract
    return clearing.charged(contract, standings.on(tx, contract.machine).get(contract.id))


def roll(tx: Tx, machine_id: MachineId, now_ms: int) -> int:
    """List a machine anew whose host gave a duration: its end moves on with the days.

    Returns:
        How many listings moved: 0 when its end need not move yet.
    """
    machines.at_front(tx, machine_id)
    stands = listings.on_sale(tx, machine_id)
    if stands is None or stands.duration is None or stands.listing.end_at_ms is None:
        return 0
    end_at_ms = now_ms + duration_ms(stands.duration)
    if end_at_ms - stands.listing.end_at_ms < 24 * MS_PER_HOUR:
        return 0
    listings.close(tx, machine_id, now_ms)
    wanted = msgspec.structs.replace(stands.listing, end_at_ms=end_at_ms)
    extend(tx, listings.open_(tx, wanted, stands.duration, now_ms), now_ms)
    machines.changed(tx, machine_id)
    return 1


# --- Warnings -------------------------------------------------------------------------------------


def warn(tx: Tx, contract_id: ContractId, now_ms: int) -> int:
    """Warn a renter whose contract ends soon: a week, a day and an hour before."""
    contract = contracts.get(tx, contract_id)
    end_at_ms = contract.terms.end_at_ms
    if end_at_ms is None:
        return 0
    stage = due_warning(end_at_ms, now_ms, end_warnings.last(tx, contract_id, end_at_ms))
    if stage is None:
        return 0
    end_warnings.warned(tx, contract_id, end_at_ms, stage)
    left_h = (end_at_ms - now_ms) / MS_PER_HOUR
    message = f"It ends in {left_h:.1f} h and is stopped then; its data is kept for two days more."
    tell(tx, contract, "contract_ending", None, message, now_ms)
    return 1


# --- Maintenance ----------------------------------------------------------------------------------


def announce(tx: Tx, host: AccountId, machine_id: MachineId, window: Window, now_ms: int) -> None:
    """Tell renters that a machine may be down in a window, in the place of other windows.

    Raises:
        NotFound: when the host has no such machine.
        InvalidRequest: when the window or the category cannot be.
    """
    _hosted(tx, host, machine_id)
    lasts_ms = window.to_ms - window.from_ms
    if window.to_ms <= now_ms or not 0 < lasts_ms <= LONGEST_MS:
        raise errors.InvalidRequest("The window must end in the future and last up to 30 days.")
    if window.category not in CATEGORIES:
        raise errors.InvalidRequest(f"The category is one of {', '.join(CATEGORIES)}.")
    maintenances.cancel(tx, machine_id, now_ms)
    maintenances.announce(tx, machine_id, window, now_ms)
    hours, wait_h = lasts_ms / MS_PER_HOUR, max(0, window.from_ms - now_ms) / MS_PER_HOUR
    message = (
        f"Its host announced {hours:g} h of maintenance ({window.category}) in {wait_h:.1f} h."
    )
    for contract in contracts.live_on(tx, machine_id).values():
        tell(tx, contract, "maintenance_announced", None, message, now_ms)


def call_off(tx: Tx, host: AccountId, machine_id: MachineId, now_ms: int) -> int:
    """Call off a machine's windows; how many.

    Raises:
        NotFound: when the host has no such machine.
    """
    _hosted(tx, host, machine_id)
    called_off = maintenances.cancel(tx, machine_id, now_ms)
    if called_off:
        for contract in contracts.live_on(tx, machine_id).values():
            message = "The announced maintenance was called off."
            tell(tx, contract, "maintenance_cancelled", None, message, now_ms)
    return called_off


def _hosted(tx: Tx, host: AccountId, machine_id: MachineId) -> None:
    found = machines.get(tx, machine_id)
    if found is None or found.host_id != host or found.deleted_at_ms is not None:
        raise errors.NotFound(f"You have no machine {machine_id}.")
    machines.at_front(tx, machine_id)


def _until(end_at_ms: int | None) -> str:
    return "It goes on without an end." if end_at_ms is None else "It goes on until a later end."
