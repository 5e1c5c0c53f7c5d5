"""A host's side: a machine joins, is listed at its prices, unlisted, and leaves.

A listing is never changed: other terms are another listing with another id, so that nobody can
accept an offer at terms other than those that were seen. Contracts that were signed stay as they
are.
"""

from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import renting
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.flows.owned import tell_host
from mercato.control.store import (
    accounts,
    api_keys,
    contracts,
    holds,
    instances,
    join_tokens,
    listings,
    machines,
    volume_listings,
)
from mercato.control.store.machines import Machine
from mercato.market import errors
from mercato.market.contract import Kind
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, ListingId, MachineId
from mercato.market.instance import Intended
from mercato.market.listing import BidTerms, Listing, Prices
from mercato.market.money import MS_PER_HOUR, NanoUsdPerHour, dollars, nano
from mercato.market.offer import lettable

CREDIT_DISCOUNT_MAX: Final = 0.5
PRICE_MAX: Final = nano(1_000_000)
TRAFFIC_PRICE_MAX: Final = nano(10)
"""Of a GB, which only the host counts; the dearest clouds ask a hundredth."""
NOTICE_MS_MAX: Final = MS_PER_HOUR
RUN_MS_MIN_MAX: Final = 24 * MS_PER_HOUR


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What a host asks for a machine."""

    prices: Prices
    min_chunk: int = 1
    end_at_ms: int | None = None
    duration: str | None = None
    """As the host gave it; the caller has turned it into `end_at_ms`."""
    credit_discount_max: float = 0.4
    bids: BidTerms | None = None
    """None: as the machine is listed now, or as the house says."""


# --- Joining --------------------------------------------------------------------------------------


def issue_join_token(
    tx: Tx, host: AccountId, token: str, now_ms: int, rules: Rules = STANDARD
) -> int:
    """Let one machine join as `host`'s; until when, in milliseconds since the epoch.

    `token` is made by the caller, who shows it once.
    """
    expires_at_ms = now_ms + rules.join_token_ms
    accounts.become_host(tx, host)
    join_tokens.create(tx, token, host, now_ms, expires_at_ms)
    return expires_at_ms


def join(
    tx: Tx,
    token: str,
    hardware: Hardware,
    machine_key: str,
    now_ms: int,
    rules: Rules = STANDARD,
) -> MachineId:
    """Add a machine to its host's.

    Raises:
        NotAuthenticated: when the token is unknown, used or expired.
        InvalidRequest: when the machine has nothing to let.
    """
    host = join_tokens.host_of(tx, token, now_ms)
    if host is None:
        raise errors.NotAuthenticated(
            "This join token is not valid: unknown, used, or expired. Ask for a new one."
        )
    if hardware.gpu_count == 0:
        raise errors.InvalidRequest("The machine has no GPUs to let; declare some, or add one.")
    if not lettable(hardware):
        raise errors.InvalidRequest("The machine says a number of itself that no machine has.")
    trusted = hardware.simulated and rules.simulated_verified
    machine = machines.create(tx, host, hardware, "verified" if trusted else "unverified", now_ms)
    join_tokens.use(tx, token, machine.id)
    api_keys.create(
        tx,
        account=host,
        kind="machine",
        name=f"machine {machine.id}",
        secret=machine_key,
        now_ms=now_ms,
        permissions={},
        machine=machine.id,
    )
    tell_host(tx, machine, "machine_joined", "It joined the market.", now_ms)
    machines.changed(tx, machine.id)
    return machine.id


# --- Listing --------------------------------------------------------------------------------------


def list_machine(
    tx: Tx,
    host: AccountId,
    machine_id: MachineId,
    asking: Asking,
    now_ms: int,
    rules: Rules = STANDARD,
) -> Listing:
    """Put a machine on sale, or on sale at other terms; the same terms again change nothing.

    Raises:
        NotFound: when the host has no such machine.
        InvalidPrice: when a price cannot be asked.
        InvalidRequest: when the smallest slice, end date or discount cannot be.
    """
    machine = mine(tx, host, machine_id)
    stands = listings.on_sale(tx, machine_id)
    _check_prices(asking.prices, None if stands is None else stands.listing.prices)
    _check(machine, asking, now_ms)
    bids = asking.bids or (stands.listing.bids if stands is not None else rules.bids)
    _check_bids(bids, rules)
    wanted = Listing(
        id=ListingId(0),
        machine=machine_id,
        prices=asking.prices,
        min_chunk=asking.min_chunk,
        end_at_ms=asking.end_at_ms,
        credit_discount_max=asking.credit_discount_max,
        platform_fee_ppm=rules.platform_fee_ppm,
        bids=bids,
    )
    if (
        stands is not None
        and msgspec.structs.replace(stands.listing, id=wanted.id) == wanted
        and stands.duration == asking.duration
    ):
        return stands.listing
    listings.close(tx, machine_id, now_ms)
    listing = listings.open_(tx, wanted, asking.duration, now_ms)
    tell_host(tx, machine, "machine_listed", f"It is on sale as listing {listing.id}.", now_ms)
    machines.changed(tx, machine_id)
    return listing


def unlist_machine(tx: Tx, host: AccountId, machine_id: MachineId, now_ms: int) -> bool:
    """Take a machine off sale; contracts go on. False when it was not on sale.

    Raises:
        NotFound: when the host has no such machine.
    """
    machine = mine(tx, host, machine_id)
    if not listings.close(tx, machine_id, now_ms):
        return False
    volume_listings.close(tx, machine_id, now_ms)
    tell_host(tx, machine, "machine_unlisted", "It is no longer on sale.", now_ms)
    machines.changed(tx, machine_id)
    return True


def set_min_bid(
    tx: Tx, host: AccountId, machine_id: MachineId, bid_floor: NanoUsdPerHour, now_ms: int
) -> Listing:
    """Ask another least bid for one GPU for an hour.

    Raises:
        NotFound: when the host has no such machine.
        Conflict: when it is not on sale.
        InvalidPrice: when it cannot be asked.
    """
    mine(tx, host, machine_id)
    stands = listings.on_sale(tx, machine_id)
    if stands is None:
        raise errors.Conflict(f"Machine {machine_id} is not listed; list it first.")
    listing = stands.listing
    asking = Asking(
        prices=msgspec.structs.replace(listing.prices, bid_floor=bid_floor),
        min_chunk=listing.min_chunk,
        end_at_ms=listing.end_at_ms,
        duration=stands.duration,
        credit_discount_max=listing.credit_discount_max,
    )
    return list_machine(
        tx,
        host,
        machine_id,
        asking,
        now_ms,
        Rules(platform_fee_ppm=listing.platform_fee_ppm),
    )


def delete_machine(tx: Tx, host: AccountId, machine_id: MachineId, now_ms: int) -> None:
    """Take a machine off the market for good; its own job ends with it, its key stops working.

    Raises:
        NotFound: when the host has no such machine.
        Conflict: while renters have contracts on it.
    """
    machine = mine(tx, host, machine_id)
    kinds = [contract.terms.kind for contract in contracts.live_on(tx, machine_id).values()]
    rented = len(kinds) - kinds.count(Kind.BACKGROUND)
    if rented:
        raise errors.Conflict(
            f"Machine {machine_id} still has {rented} contract(s) of renters; unlist it and wait "
            "until they have ended."
        )
    for job in instances.live_on(tx, machine_id):
        if job.intended is not Intended.DESTROYED:
            renting.destroy(tx, host, job.id, now_ms)
        # Its agent will not be heard again to say that it is gone: it removes it when it is told.
        holds.release(tx, job.id)
        instances.gone(tx, job.id, now_ms)
    listings.close(tx, machine_id, now_ms)
    volume_listings.close(tx, machine_id, now_ms)
    machines.delete(tx, machine_id, now_ms)
    tx.run(
        "update api_keys set deleted_at_ms = %s where machine_id = %s and deleted_at_ms is null",
        now_ms,
        machine_id,
    )
    tell_host(tx, machine, "machine_deleted", "It was taken off the market.", now_ms)
    machines.changed(tx, machine_id)


def verify(tx: Tx, machine_id: MachineId, verification: str, now_ms: int) -> None:
    """Write the operator's word on a machine: `verified`, `unverified` or `deverified`.

    Raises:
        NotFound: when there is no such machine.
        InvalidRequest: when hardware that is only declared would be verified.
    """
    if verification not in {"verified", "unverified", "deverified"}:
        raise errors.InvalidRequest("Say `verified`, `unverified` or `deverified`.")
    found = machines.get(tx, machine_id)
    if found is None or found.deleted_at_ms is not None:
        raise errors.NotFound(f"There is no machine {machine_id}.")
    machine = machines.at_front(tx, machine_id)
    machines.set_verification(tx, machine_id, verification)
    tell_host(tx, machine, "machine_verification", f"It is {verification} now.", now_ms)
    machines.changed(tx, machine_id)


def mine(tx: Tx, host: AccountId, machine_id: MachineId) -> Machine:
    """The host's machine, with its queue held."""
    found = machines.get(tx, machine_id)
    if found is None or found.host_id != host or found.deleted_at_ms is not None:
        raise errors.NotFound(f"You have no machine {machine_id}.")
    return machines.at_front(tx, machine_id)


def _check_prices(prices: Prices, before: Prices | None) -> None:
    """What it is on sale at already was allowed once, and stays so."""
    for name in Prices.__struct_fields__:
        asked = getattr(prices, name)
        most = TRAFFIC_PRICE_MAX if name in {"up", "down"} else PRICE_MAX
        stands = before is not None and asked == getattr(before, name)
        if not 0 <= asked <= most and not stands:
            raise errors.InvalidPrice(
                f"The price `{name}` must be from 0 to {dollars(most):,.0f} dollars."
            )


def _check(machine: Machine, asking: Asking, now_ms: int) -> None:
    chunk = asking.min_chunk
    if chunk < 1 or chunk & (chunk - 1) or chunk > machine.hardware.gpu_count:
        raise errors.InvalidRequest(
            f"The smallest slice must be a power of two up to the machine's "
            f"{machine.hardware.gpu_count} GPUs, not {chunk}."
        )
    if asking.end_at_ms is not None and asking.end_at_ms <= now_ms:
        raise errors.InvalidRequest("The end date has passed; give a later one or none.")
    if not 0 <= asking.credit_discount_max <= CREDIT_DISCOUNT_MAX:
        raise errors.InvalidRequest(
            f"The reserved discount must be from 0 to {CREDIT_DISCOUNT_MAX}."
        )


def _check_bids(bids: BidTerms, rules: Rules) -> None:
    if not min(rules.notice_ms_min, rules.bids.notice_ms) <= bids.notice_ms <= NOTICE_MS_MAX:
        raise errors.InvalidRequest(
            f"The notice before a bid is displaced must be from {rules.notice_ms_min / 1_000:g} s"
            f" to {NOTICE_MS_MAX / 1_000:g} s."
        )
    if not 0 <= bids.run_ms_min <= RUN_MS_MIN_MAX:
        raise errors.InvalidRequest("The minimum run of a bid must be from 0 to 24 hours.")
