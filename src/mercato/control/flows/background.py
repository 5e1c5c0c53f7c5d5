"""The host's own job: what a machine runs on GPUs that nobody rents.

It is a contract of the host with itself for each smallest slice that it sells: free of charge,
without an end, and behind everybody else in the auction, so that it stops at once where somebody
rents and resumes where nobody does. All else is renting.py's and clearing.py's.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import hosting, renting
from mercato.control.flows.house import House
from mercato.control.flows.renting import Minted, RentRequest
from mercato.control.store import contracts, instances, listings
from mercato.control.store.instances import Instance
from mercato.control.store.machines import Machine
from mercato.market import errors
from mercato.market.contract import Contract, Kind
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.instance import Intended
from mercato.market.launch import Launch
from mercato.market.listing import Listing
from mercato.market.money import NanoUsdPerHour
from mercato.market.offer import Offer, offers

LABEL: Final = "background job"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a host wants to run, without secrets, and what it is worth to it."""

    launch: Launch
    disk_mb: int
    """Of each slice."""
    price: NanoUsdPerHour | None = None
    """What a GPU and hour of it is worth: the least bid on the machine becomes at least that."""


def set_job(
    tx: Tx,
    host: AccountId,
    machine_id: MachineId,
    job: Job,
    minted: Sequence[Minted],
    now_ms: int,
    *,
    house: House,
) -> list[ContractId]:
    """Have a machine run a job wherever nobody rents; it takes the place of the one before.

    The same job again changes nothing while all of it wants to run. `minted` has secrets for as
    many slices as there may be.

    Returns:
        Its contracts, one for each smallest slice of the machine.

    Raises:
        NotFound: when the host has no such machine.
        Conflict: when the machine is not on sale.
        NoSuchOffer: when its agent cannot be heard.
        InvalidRequest: when its disk has no room for the job.
    """
    machine = hosting.mine(tx, host, machine_id)
    listing = _listing(tx, host, machine, job.price, now_ms)
    slices = _slices(listing, machine)
    before = _of_machine(tx, machine_id)
    if _is_same(job, slices, before):
        return [contract.id for contract, _ in before]
    for contract, _ in before:
        renting.destroy(tx, host, contract.id, now_ms)
    asked = RentRequest(
        launch=job.launch,
        disk_mb=job.disk_mb,
        label=LABEL,
        cancel_unavailable=False,
        background=True,
    )
    return [
        renting.rent(tx, host, offer.id, asked, now_ms, secrets, house=house).contract.id
        for offer, secrets in zip(slices, minted, strict=False)
    ]


def remove_job(tx: Tx, host: AccountId, machine_id: MachineId, now_ms: int) -> int:
    """End a machine's job for good; of how many slices.

    Raises:
        NotFound: when the host has no such machine, or the machine no job.
    """
    hosting.mine(tx, host, machine_id)
    found = _of_machine(tx, machine_id)
    if not found:
        raise errors.NotFound(f"Machine {machine_id} has no background job.")
    for contract, _ in found:
        renting.destroy(tx, host, contract.id, now_ms)
    return len(found)


def _listing(
    tx: Tx, host: AccountId, machine: Machine, price: NanoUsdPerHour | None, now_ms: int
) -> Listing:
    """The machine's listing, with a least bid that pays as much as the job is worth."""
    stands = listings.on_sale(tx, machine.id)
    if stands is None:
        raise errors.Conflict(f"Machine {machine.id} is not listed; list it first.")
    if price is None or price <= stands.listing.prices.bid_floor:
        return stands.listing
    return hosting.set_min_bid(tx, host, machine.id, price, now_ms)


def _slices(listing: Listing, machine: Machine) -> list[Offer]:
    """The smallest slices that a machine sells."""
    every = offers(listing, machine.hardware, (), 0)
    return [offer for offer in every if len(offer.gpus) == listing.min_chunk]


def _of_machine(tx: Tx, machine: MachineId) -> list[tuple[Contract, Instance]]:
    signed = contracts.live_on(tx, machine)
    return [
        (signed[one.id], one)
        for one in instances.live_on(tx, machine)
        if signed[one.id].terms.kind is Kind.BACKGROUND and one.intended is not Intended.DESTROYED
    ]


def _is_same(
    job: Job, slices: Sequence[Offer], before: Sequence[tuple[Contract, Instance]]
) -> bool:
    return {offer.gpus for offer in slices} == {contract.gpus for contract, _ in before} and all(
        one.intended is Intended.RUNNING
        and one.launch == job.launch
        and contract.terms.disk_mb == job.disk_mb
        for contract, one in before
    )
