"""A volume, from the ask to its end: listed, let, mounted, cloned, deleted, purged.

A volume is a contract without GPUs. Its disk is held and billed from its signing until it is told
to end; its host makes it when it hears of it and removes it when it no longer does. Who changes
volumes on a machine stands in the machine's queue, as whoever changes anything there.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import metering
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.flows.owned import tell
from mercato.control.store import (
    contracts,
    limits,
    listings,
    machines,
    volume_listings,
    volumes,
)
from mercato.control.store.machines import Machine
from mercato.control.store.volumes import StoredVolume
from mercato.market import errors
from mercato.market.contract import Contract, Kind, Terms
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.instance import Reason
from mercato.market.launch import Launch
from mercato.market.limits import Scope
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, nano, with_fee
from mercato.market.volume import VolumeListing, offered_mb, parse_mount
from mercato.wire.agent import Observed

PRICE_MAX: Final = nano(100)
MB_PER_GB: Final = 1_000


class VolumeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a renter asks of a volume offer."""

    offer: int
    size_mb: int
    name: str | None = None
    clone_of: ContractId | None = None
    """A volume of the renter's on the same machine whose contents it begins with."""
    scopes: Mapping[Scope, int] = {}
    """The API key on whose behalf it is rented, for its spending limits."""


# --- Listing --------------------------------------------------------------------------------------


def list_volumes(
    tx: Tx,
    host: AccountId,
    machine_id: MachineId,
    size_mb: int,
    price: NanoUsdPerGbMonth,
    now_ms: int,
    rules: Rules = STANDARD,
) -> VolumeListing:
    """Put a part of a machine's disk on sale as volumes, until its own listing ends.

    Raises:
        NotFound: when the host has no such machine.
        Conflict: when the machine itself is not on sale.
        InvalidRequest: when the size cannot be.
        InvalidPrice: when the price cannot be asked.
    """
    machine = _hosted(tx, host, machine_id)
    if listings.on_sale(tx, machine_id) is None:
        raise errors.Conflict(f"Machine {machine_id} is not listed; list it first.")
    if not 0 < size_mb <= machine.hardware.disk.size_gb * MB_PER_GB:
        raise errors.InvalidRequest(
            f"Volumes of machine {machine_id} can have up to its disk's"
            f" {machine.hardware.disk.size_gb:g} GB in all."
        )
    if not 0 <= price <= PRICE_MAX:
        raise errors.InvalidPrice("The price of a GB and month must be from 0 to 100 dollars.")
    wanted = VolumeListing(
        id=0,
        machine=machine_id,
        size_mb=size_mb,
        price=price,
        platform_fee_ppm=rules.platform_fee_ppm,
    )
    stands = volume_listings.on_sale(tx, machine_id)
    if stands is not None and msgspec.structs.replace(stands, id=0) == wanted:
        return stands
    return volume_listings.open_(tx, wanted, now_ms)


def unlist_volumes(tx: Tx, host: AccountId, listing_id: int, now_ms: int) -> None:
    """Take volumes off sale; those that are let stay.

    Raises:
        NotFound: when the host has no such offer.
    """
    stands = volume_listings.get_open(tx, listing_id)
    machine = machines.get(tx, stands.machine) if stands else None
    if machine is None or machine.host_id != host:
        raise errors.NotFound(f"You have no volume offer {listing_id}.")
    machines.at_front(tx, machine.id)
    volume_listings.close(tx, machine.id, now_ms)


def _hosted(tx: Tx, host: AccountId, machine_id: MachineId) -> Machine:
    found = machines.get(tx, machine_id)
    if found is None or found.host_id != host or found.deleted_at_ms is not None:
        raise errors.NotFound(f"You have no machine {machine_id}.")
    return machines.at_front(tx, machine_id)


# --- Letting --------------------------------------------------------------------------------------


def create(
    tx: Tx, renter: AccountId, request: VolumeRequest, now_ms: int, rules: Rules = STANDARD
) -> Contract:
    """Rent a volume at its offer's price.

    Raises:
        NoSuchOffer: when it is not, or no longer, on sale.
        InvalidRequest: when it is larger than what is left, or cannot be a clone.
        InsufficientCredit: when the renter cannot cover the horizon of all that would run.
    """
    listing, machine, end_at_ms = _on_sale(tx, request.offer, now_ms)
    free_mb = int(machine.hardware.disk.size_gb * MB_PER_GB) - contracts.disk_mb_on(tx, machine.id)
    left_mb = offered_mb(listing, volume_listings.rented_mb(tx, machine.id), free_mb)
    if not 0 < request.size_mb <= left_mb:
        raise errors.InvalidRequest(
            f"Volume offer {request.offer} has {left_mb / MB_PER_GB:g} GB left and"
            f" {request.size_mb / MB_PER_GB:g} GB were asked for; ask for a size within it."
        )
    if request.clone_of is not None:
        _check_clone(tx, renter, request.clone_of, machine.id, request.size_mb)
    terms = _terms(listing, request.size_mb, end_at_ms, own=machine.host_id == renter)
    asked = metering.NewRates(storage=terms.storage, scopes=request.scopes)
    metering.require_credit(tx, renter, asked, now_ms, rules)
    contract = _sign(tx, renter, machine, terms, now_ms)
    volumes.create(tx, contract.id, renter, machine.id, request.name, request.clone_of)
    limits.mark(tx, contract.id, request.scopes)
    metering.open_meter(tx, contract, metering.DISK, now_ms)
    metering.forecast(tx, renter, now_ms)
    tell(tx, contract, "volume_rented", Reason.RENTED, "The volume was rented.", now_ms)
    machines.changed(tx, machine.id)
    return contract


def _on_sale(tx: Tx, offer: int, now_ms: int) -> tuple[VolumeListing, Machine, int | None]:
    """The offer as it is at this moment, its machine with the queue held, and when it ends."""
    gone = errors.NoSuchOffer(f"Volume offer {offer} is no longer on sale; search again.")
    seen = volume_listings.get_open(tx, offer)
    if seen is None:
        raise gone
    machine = machines.at_front(tx, seen.machine)
    listing = volume_listings.get_open(tx, offer)
    own = listings.on_sale(tx, machine.id)
    if (
        listing is None
        or own is None
        or machine.deleted_at_ms is not None
        or machine.offline_since_ms is not None
    ):
        raise gone
    end_at_ms = own.listing.end_at_ms
    if end_at_ms is not None and end_at_ms <= now_ms:
        raise gone
    return listing, machine, end_at_ms


def _check_clone(
    tx: Tx, renter: AccountId, source: ContractId, machine: MachineId, size_mb: int
) -> None:
    volume, contract = _mine(tx, renter, source)
    if volume.machine_id != machine:
        raise errors.InvalidRequest(
            f"Volume {source} is on machine {volume.machine_id}; clone it to an offer there."
        )
    if size_mb < contract.terms.disk_mb:
        raise errors.InvalidRequest(
            f"A clone of volume {source} has at least its"
            f" {contract.terms.disk_mb / MB_PER_GB:g} GB."
        )


def _terms(listing: VolumeListing, size_mb: int, end_at_ms: int | None, *, own: bool) -> Terms:
    """The terms, frozen. A host pays nothing on its own machine."""
    price = 0 if own else with_fee(listing.price, listing.platform_fee_ppm)
    return Terms(
        kind=Kind.ON_DEMAND,
        gpu=NanoUsdPerHour(0),
        disk=NanoUsdPerGbMonth(price),
        up=NanoUsdPerGb(0),
        down=NanoUsdPerGb(0),
        disk_mb=size_mb,
        platform_fee_ppm=listing.platform_fee_ppm,
        end_at_ms=end_at_ms,
    )


def _sign(tx: Tx, renter: AccountId, machine: Machine, terms: Terms, now_ms: int) -> Contract:
    own = listings.on_sale(tx, machine.id)
    assert own is not None, machine.id
    return contracts.sign(
        tx,
        Contract(
            id=ContractId(0),
            renter=renter,
            host=machine.host_id,
            machine=machine.id,
            listing=own.listing.id,
            gpus=(),
            terms=terms,
            signed_at_ms=now_ms,
        ),
    )


# --- Mounting -------------------------------------------------------------------------------------


def mount(tx: Tx, renter: AccountId, instance: ContractId, launch: Launch) -> None:
    """Have an instance mount what its launch names, and nothing else.

    Raises:
        InvalidRequest: when a mount cannot be read, or two are at one path.
        NotFound: when a volume is not the renter's.
        Conflict: when a volume is on another machine.
    """
    wanted = tuple(parse_mount(text) for text in launch.volumes)
    if len({one.path for one in wanted}) < len(wanted):
        raise errors.InvalidRequest("Two volumes cannot be mounted on one path.")
    machine = contracts.get(tx, instance).machine
    for one in wanted:
        volume, _ = _mine(tx, renter, one.volume)
        if volume.machine_id != machine:
            raise errors.Conflict(
                f"Volume {one.volume} is on machine {volume.machine_id}; rent an offer of that"
                " machine to mount it."
            )
    volumes.mount(tx, instance, wanted)


# --- The end --------------------------------------------------------------------------------------


def delete(
    tx: Tx, renter: AccountId, volume_id: ContractId, now_ms: int, reason: Reason = Reason.USER
) -> None:
    """End a volume and its bill for good. Its host removes it when it hears of it.

    Raises:
        NotFound: when the renter has none such, or no longer.
        Conflict: while an instance mounts it.
    """
    _, contract = _mine(tx, renter, volume_id)
    used = volumes.used_by(tx, volume_id)
    if used:
        raise errors.Conflict(
            f"Volume {volume_id} is mounted by {', '.join(f'instance {one}' for one in used)};"
            " destroy what uses it first."
        )
    machine = machines.at_front(tx, contract.machine)
    until_ms = now_ms if machine.offline_since_ms is None else machine.offline_since_ms
    metering.close_meter(tx, contract, metering.DISK, until_ms, now_ms)
    volumes.delete(tx, volume_id, now_ms)
    tell(tx, contract, "volume_deleted", reason, "It was told to end for good.", now_ms)
    metering.forecast(tx, renter, now_ms)
    machines.changed(tx, contract.machine)


def expire(tx: Tx, volume_id: ContractId, now_ms: int, rules: Rules = STANDARD) -> int:
    """Delete a volume when its data need not be kept any longer past its contract's end."""
    contract = contracts.get(tx, volume_id)
    end_at_ms = contract.terms.end_at_ms
    found = volumes.get(tx, volume_id)
    assert end_at_ms is not None
    if found is None or found.deleted_at_ms is not None:
        return 0
    if end_at_ms + rules.purge_after_ms > now_ms or volumes.used_by(tx, volume_id):
        return 0
    delete(tx, contract.renter, volume_id, now_ms, Reason.EXPIRED)
    return 1


# --- Reports --------------------------------------------------------------------------------------


def observe(
    tx: Tx, machine: Machine, live: list[StoredVolume], observed: Observed, now_ms: int
) -> None:
    """Take what a machine's report says of its volumes; those told to end and gone are over."""
    seen = {one.id: one for one in observed.volumes}
    told = observed.desired_generation >= machine.generation
    for volume in live:
        one = seen.get(volume.id)
        if one is not None:
            before = (volume.ready_at_ms is not None, volume.message, volume.used_mb)
            if before != (one.ready, one.message, one.used_mb):
                volumes.saw(tx, one, now_ms)
        elif volume.deleted_at_ms is not None and told:
            volumes.gone(tx, volume.id, now_ms)
            machines.changed(tx, machine.id)


def bill_again(tx: Tx, machine: Machine, now_ms: int) -> None:
    """Have the meters of a machine's volumes run again: it can be heard again."""
    signed = contracts.live_on(tx, machine.id)
    for volume in volumes.live_on(tx, machine.id):
        if volume.deleted_at_ms is None:
            metering.open_meter(tx, signed[volume.id], metering.DISK, now_ms)
            metering.forecast(tx, volume.renter_id, now_ms)


# --- Shared ---------------------------------------------------------------------------------------


def _mine(tx: Tx, renter: AccountId, volume_id: ContractId) -> tuple[StoredVolume, Contract]:
    """The renter's volume and its contract, with the machine's and the renter's queue held."""
    none = errors.NoSuchVolume(f"You have no volume {volume_id}.")
    found = volumes.get(tx, volume_id)
    if found is None or found.renter_id != renter or found.deleted_at_ms is not None:
        raise none
    tx.queue(f"account:{renter}")
    machines.at_front(tx, found.machine_id)
    return found, contracts.get(tx, volume_id)
