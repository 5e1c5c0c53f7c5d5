"""A rental, from the ask to the last cent, in the order in which it happens.

`rent` stands in the machine's queue, derives anew what is on sale there, sees that the renter can
pay, and signs: a contract with frozen terms, a running meter for its disk, what should be on the
machine. clearing.py gives it its GPUs, at once when they are free. The machine's agent is poked and
the rest is observing.py's: the GPU meter starts with the agent's first report of a running
container. `stop` ends that meter at once; the GPUs are free when the agent says that the container
no longer runs. `destroy` ends the disk's meter too, and the contract when the agent says that
nothing is left.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import clearing, desired, metering, proving, reserving, volumes
from mercato.control.flows.house import STANDARD, House, Rules
from mercato.control.flows.owned import mine, tell
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.store import (
    api_keys,
    contracts,
    holds,
    instances,
    limits,
    listings,
    machines,
    ssh_keys,
    standings,
    templates,
)
from mercato.control.store.instances import Instance
from mercato.market import errors
from mercato.market.auction import Outcome
from mercato.market.contract import Contract, Kind, Terms
from mercato.market.ids import AccountId, ContractId, OfferId, SshKeyId, TemplateId
from mercato.market.instance import Intended, Reason
from mercato.market.launch import Launch
from mercato.market.limits import Scope
from mercato.market.listing import Listing
from mercato.market.money import NanoUsdPerHour, dollars
from mercato.market.offer import Offer, find_offer, parse_offer_id

LABEL_MAX: Final = 1_024


class RentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a renter asks of an offer."""

    launch: Launch
    disk_mb: int
    label: str | None = None
    running: bool = True
    """False: only the disk, stopped, to be started later."""
    cancel_unavailable: bool = True
    """True: nothing is signed when the GPUs are taken. False: it waits for them, paying storage."""
    bid: NanoUsdPerHour | None = None
    """The whole slice for an hour; makes the contract interruptible."""
    reschedule: bool = False
    """It may come back, or wait for, any equal GPUs of the machine."""
    new_volume: VolumeRequest | None = None
    """A volume to be rented with it, on the same machine, and mounted at `new_volume_path`."""
    new_volume_path: str = ""
    background: bool = False
    """It is the host's own job, which everybody displaces."""
    bills_loading: bool = False
    """Whether GPU time begins as its host loads it, as for workers, or as it runs."""
    template: tuple[TemplateId, str] | None = None
    """Id and content hash of the template that the launch came from."""
    scopes: Mapping[Scope, int] = {}
    """The API key or endpoint on whose behalf it is rented, for their spending limits."""


class Minted(msgspec.Struct, frozen=True, kw_only=True):
    """Secrets made for one rental by the caller, who has the randomness."""

    instance_key: str
    jupyter_token: str


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    contract: Contract
    holds_gpus: bool
    """False: it was asked to be stopped, or waits for its GPUs."""
    outcome: Outcome | None
    """What the auction says of it; None when it was asked to be stopped."""


# --- Signing --------------------------------------------------------------------------------------


def rent(
    tx: Tx,
    renter: AccountId,
    offer_id: OfferId,
    request: RentRequest,
    now_ms: int,
    minted: Minted,
    *,
    house: House,
) -> Signed:
    """Accept an offer at its terms.

    Raises:
        NoSuchOffer: when it is not, or no longer, on sale at these terms.
        OfferTaken: when somebody holds its GPUs and the renter would not wait.
        InsufficientCredit: when the renter cannot cover the horizon of all that would run.
        InvalidRequest: when the request cannot be served by anybody.
    """
    _check(request, house.rules)
    request = _with_volume(tx, renter, request, now_ms, house.rules)
    listing, offer, host = _on_sale(tx, offer_id, now_ms)
    if request.disk_mb > offer.disk_free_mb:
        raise errors.InvalidRequest(
            f"Offer {offer_id} has {offer.disk_free_mb / 1_000:.1f} GB of disk left and "
            f"{request.disk_mb / 1_000:.1f} GB were asked for; ask for less or take another offer."
        )
    if request.running and not offer.rentable and request.cancel_unavailable:
        raise errors.OfferTaken(f"Offer {offer_id} is taken: somebody else holds its GPUs now.")
    if request.bid is not None and request.bid < offer.bid_floor:
        raise errors.InvalidPrice(
            f"The least that this host takes for offer {offer_id} is"
            f" ${dollars(offer.bid_floor):.6g} an hour, and ${dollars(request.bid):.6g} was bid."
        )
    terms = _terms(listing, offer, request, own=host == renter)
    metering.require_credit(
        tx,
        renter,
        metering.NewRates(
            gpu=terms.gpu if request.running else 0, storage=terms.storage, scopes=request.scopes
        ),
        now_ms,
        house.rules,
    )
    contract = _sign(tx, renter, host, offer, terms, now_ms)
    _write_instance(tx, contract, request, now_ms, minted, house)
    limits.mark(tx, contract.id, request.scopes)
    metering.open_meter(tx, contract, metering.DISK, now_ms)
    metering.forecast(tx, renter, now_ms)
    tell(tx, contract, "instance_rented", Reason.RENTED, "The rental was signed.", now_ms)
    machines.changed(tx, contract.machine)
    verdict = clearing.clear(tx, contract.machine, now_ms, house.rules)
    outcome = verdict.of(contract.id) if request.running else None
    if outcome is not None and outcome.gpus is None and request.cancel_unavailable:
        raise errors.OfferTaken(
            f"Offer {offer_id} is taken: it takes a higher bid, or somebody was there before."
        )
    takes_gpus = contract.id in holds.on(tx, contract.machine).values()
    return Signed(contract=contract, holds_gpus=takes_gpus, outcome=outcome)


def _check(request: RentRequest, rules: Rules) -> None:
    if request.bid is not None and not rules.bids_sold:
        raise errors.InvalidPrice(
            "Interruptible rentals are not sold here yet; leave out the price to rent on demand."
        )
    if request.disk_mb <= 0:
        raise errors.InvalidRequest("Ask for some disk: at least 1 GB.")
    _check_label(request.label)


def _check_label(label: str | None) -> None:
    if label is not None and len(label) > LABEL_MAX:
        raise errors.LabelTooLong(f"A label has at most {LABEL_MAX} characters.")


def _on_sale(tx: Tx, offer_id: OfferId, now_ms: int) -> tuple[Listing, Offer, AccountId]:
    """The offer as it is at this moment, with the machine's queue held, and whose machine it is."""
    gone = errors.NoSuchOffer(f"Offer {offer_id} is no longer on sale; search again for what is.")
    parsed = parse_offer_id(offer_id)
    stored = listings.get(tx, parsed[0]) if parsed is not None else None
    if stored is None:
        raise gone
    machine = machines.at_front(tx, stored.listing.machine)
    ended = stored.listing.end_at_ms is not None and stored.listing.end_at_ms <= now_ms
    if (
        stored.closed_at_ms is not None
        or ended
        or machine.deleted_at_ms is not None
        or machine.offline_since_ms is not None
        or machine.seen_at_ms is None
    ):
        raise gone
    disk_mb = int(machine.hardware.disk.size_gb * 1_000) - contracts.disk_mb_on(tx, machine.id)
    offer = find_offer(
        offer_id, stored.listing, machine.hardware, standings.firm_gpus(tx, machine.id), disk_mb
    )
    if offer is None:
        raise gone
    return stored.listing, offer, machine.host_id


def _with_volume(
    tx: Tx, renter: AccountId, request: RentRequest, now_ms: int, rules: Rules
) -> RentRequest:
    """The request with the volume that it asked for rented and among its mounts."""
    if request.new_volume is None:
        return request
    wanted = msgspec.structs.replace(request.new_volume, scopes=request.scopes)
    volume = volumes.create(tx, renter, wanted, now_ms, rules)
    wish = f"V.{volume.id}:{request.new_volume_path}"
    launch = msgspec.structs.replace(request.launch, volumes=(*request.launch.volumes, wish))
    return msgspec.structs.replace(request, launch=launch)


def _terms(listing: Listing, offer: Offer, request: RentRequest, *, own: bool) -> Terms:
    """The terms, frozen. A host pays nothing for its own machine."""
    free = 0 if own else 1
    gpu = offer.gpu if request.bid is None else request.bid
    kind = Kind.ON_DEMAND if request.bid is None else Kind.INTERRUPTIBLE
    return Terms(
        kind=Kind.BACKGROUND if request.background else kind,
        gpu=type(gpu)(gpu * free),
        disk=type(offer.disk)(offer.disk * free),
        up=type(offer.up)(offer.up * free),
        down=type(offer.down)(offer.down * free),
        disk_mb=request.disk_mb,
        platform_fee_ppm=listing.platform_fee_ppm,
        end_at_ms=None if request.background else listing.end_at_ms,
    )


def _sign(
    tx: Tx, renter: AccountId, host: AccountId, offer: Offer, terms: Terms, now_ms: int
) -> Contract:
    return contracts.sign(
        tx,
        Contract(
            id=ContractId(0),
            renter=renter,
            host=host,
            machine=offer.machine,
            listing=offer.listing,
            gpus=offer.gpus,
            terms=terms,
            signed_at_ms=now_ms,
        ),
    )


def _write_instance(
    tx: Tx,
    contract: Contract,
    request: RentRequest,
    now_ms: int,
    minted: Minted,
    house: House,
) -> None:
    launch, sealed = desired.sealed(
        tx, contract.renter, request.launch, minted.instance_key, house.box
    )
    instances.create(
        tx,
        contract.id,
        renter=contract.renter,
        machine=contract.machine,
        label=request.label,
        launch=launch,
        sealed=sealed,
        template=request.template,
        jupyter_token=minted.jupyter_token,
        bills_loading=request.bills_loading,
        intended=Intended.RUNNING if request.running else Intended.STOPPED,
        now_ms=now_ms,
    )
    if request.reschedule:
        instances.set_reschedule(tx, contract.id, anywhere=True)
    volumes.mount(tx, contract.renter, contract.id, request.launch)
    instances.attach_account_keys(tx, contract.id, contract.renter)
    api_keys.create(
        tx,
        account=contract.renter,
        kind="instance",
        name=f"instance {contract.id}",
        secret=minted.instance_key,
        now_ms=now_ms,
        permissions={"instance_read": {}, "instance_write": {}},
        contract=contract.id,
    )
    if request.template is not None:
        templates.count_use(tx, request.template[0], now_ms)


# --- Starting and stopping ------------------------------------------------------------------------


def start(
    tx: Tx,
    renter: AccountId,
    instance_id: ContractId,
    now_ms: int,
    rules: Rules = STANDARD,
    reason: Reason = Reason.USER,
) -> None:
    """Have it run again, on the same GPUs as soon as they are free; again is no harm.

    Raises:
        NoSuchInstance: when the renter has none such.
        Conflict: when its contract has ended.
        InsufficientCredit: when the renter cannot cover the horizon of all that would run.
    """
    instance, contract = mine(tx, renter, instance_id)
    if instance.intended is Intended.RUNNING:
        return
    end_at_ms = contract.terms.end_at_ms
    if end_at_ms is not None and end_at_ms <= now_ms:
        raise errors.Conflict(
            f"The contract of instance {instance_id} has ended and it cannot start again; copy "
            "what you need and rent anew."
        )
    gpu = metering.gpu_on_credit(tx, contract, rules)
    asked = metering.NewRates(gpu=gpu, scopes=limits.scopes_of(tx, instance_id))
    metering.require_credit(tx, renter, asked, now_ms, rules)
    instances.intend(tx, instance_id, Intended.RUNNING, reason, now_ms)
    instances.boot_again(tx, instance_id)
    woken = "Its endpoint woke it." if reason is Reason.ENDPOINT else "It was told to start."
    tell(tx, contract, "instance_started", reason, woken, now_ms)
    machines.changed(tx, contract.machine)
    clearing.clear(tx, contract.machine, now_ms, rules)


def stop(
    tx: Tx, renter: AccountId, instance_id: ContractId, now_ms: int, reason: Reason = Reason.USER
) -> None:
    """Have it stop. GPU time ends now; its disk stays, and is paid for. Again is no harm.

    Raises:
        NoSuchInstance: when the renter has none such.
    """
    instance, contract = mine(tx, renter, instance_id)
    if instance.intended is Intended.STOPPED:
        return
    proving.end_gpu_time(tx, contract, now_ms)
    instances.intend(tx, instance_id, Intended.STOPPED, reason, now_ms)
    tell(tx, contract, "instance_stopped", reason, _STOPPED[reason], now_ms)
    metering.forecast(tx, renter, now_ms)
    machines.changed(tx, contract.machine)
    clearing.clear(tx, contract.machine, now_ms)


_STOPPED: Final = {
    Reason.USER: "It was told to stop.",
    Reason.NO_CREDIT: "It was stopped because the account's credit ran out; its data is kept.",
    Reason.EXPIRED: "It was stopped because its contract ended; its data is kept for a while.",
    Reason.HOST: "It was stopped by its host.",
    Reason.SPENDING_LIMIT: "It was stopped at a spending limit of its account; its data is kept.",
    Reason.ENDPOINT: "Its endpoint put it to sleep; its data is kept, and it is woken when needed.",
}


def reboot(tx: Tx, renter: AccountId, instance_id: ContractId, now_ms: int) -> None:
    """Stop and start its container, keeping its GPUs.

    Raises:
        NoSuchInstance: when the renter has none such.
        Conflict: when it should not be running.
    """
    _, contract = _wanted(tx, renter, instance_id, "rebooted")
    instances.boot_again(tx, instance_id)
    tell(tx, contract, "instance_rebooted", Reason.USER, "It was told to reboot.", now_ms)
    machines.changed(tx, contract.machine)


def recycle(tx: Tx, renter: AccountId, instance_id: ContractId, now_ms: int) -> None:
    """Make its container anew from a freshly pulled image, keeping its GPUs; its data is lost.

    Raises:
        NoSuchInstance: when the renter has none such.
    """
    _, contract = mine(tx, renter, instance_id)
    instances.make_again(tx, instance_id)
    tell(tx, contract, "instance_recycled", Reason.USER, "It was told to begin anew.", now_ms)
    machines.changed(tx, contract.machine)


def update(
    tx: Tx,
    renter: AccountId,
    instance_id: ContractId,
    launch: Launch,
    template: tuple[TemplateId, str] | None,
    now_ms: int,
    *,
    house: House,
) -> None:
    """Make its container anew from another launch, keeping its GPUs; its data is lost.

    Raises:
        NoSuchInstance: when the renter has none such.
    """
    instance, contract = mine(tx, renter, instance_id)
    volumes.mount(tx, renter, instance_id, launch)
    _, key = desired.unsealed(instance, house.box)
    clear, sealed = desired.sealed(tx, renter, launch, key, house.box)
    instances.relaunch(tx, instance_id, clear, sealed, template)
    instances.make_again(tx, instance_id)
    tell(tx, contract, "instance_updated", Reason.USER, "It was given another launch.", now_ms)
    machines.changed(tx, contract.machine)


# --- Names and keys -------------------------------------------------------------------------------


def relabel(
    tx: Tx, renter: AccountId, instance_id: ContractId, label: str | None, now_ms: int
) -> None:
    """Give it a name of the renter's own; None takes it away.

    Raises:
        NoSuchInstance: when the renter has none such.
        TooLong: when the name is.
    """
    _check_label(label)
    _, contract = mine(tx, renter, instance_id)
    instances.relabel(tx, instance_id, label)
    tell(tx, contract, "instance_labelled", Reason.USER, "It was given a label.", now_ms)


def attach_key(
    tx: Tx, renter: AccountId, instance_id: ContractId, public_key: str, now_ms: int
) -> None:
    """Let an SSH key in; it becomes one of the account's when it is not yet. Again is no harm.

    Raises:
        NoSuchInstance: when the renter has none such.
    """
    _, contract = mine(tx, renter, instance_id)
    key = ssh_keys.find(tx, renter, public_key) or ssh_keys.create(tx, renter, public_key, now_ms)
    instances.attach_key(tx, instance_id, key.id, public_key)
    machines.changed(tx, contract.machine)


def detach_key(
    tx: Tx, renter: AccountId, instance_id: ContractId, key: SshKeyId, now_ms: int
) -> None:
    """Shut an SSH key out.

    Raises:
        NoSuchInstance: when the renter has none such.
        NoSuchSshKey: when the key was not let in.
    """
    _, contract = mine(tx, renter, instance_id)
    if not instances.detach_key(tx, instance_id, key):
        raise errors.NoSuchSshKey(f"SSH key {key} is not attached to instance {instance_id}.")
    tell(tx, contract, "ssh_key_detached", Reason.USER, "An SSH key was shut out.", now_ms)
    machines.changed(tx, contract.machine)


# --- The end --------------------------------------------------------------------------------------


def destroy(
    tx: Tx, renter: AccountId, instance_id: ContractId, now_ms: int, reason: Reason = Reason.USER
) -> None:
    """End it for good; nothing more is charged. Its host removes it when it hears of it.

    Raises:
        NoSuchInstance: when the renter has none such, or no longer.
    """
    _, contract = mine(tx, renter, instance_id)
    machine = machines.at_front(tx, contract.machine)
    until_ms = now_ms if machine.offline_since_ms is None else machine.offline_since_ms
    proving.end_gpu_time(tx, contract, now_ms)
    metering.close_meter(tx, contract, metering.DISK, until_ms, now_ms)
    reserving.pay_back(tx, contract, reason, now_ms)
    instances.intend(tx, instance_id, Intended.DESTROYED, reason, now_ms)
    tx.run(
        "update api_keys set deleted_at_ms = %s where contract_id = %s and deleted_at_ms is null",
        now_ms,
        instance_id,
    )
    tell(tx, contract, "instance_destroyed", reason, "It was told to end for good.", now_ms)
    metering.forecast(tx, renter, now_ms)
    machines.changed(tx, contract.machine)
    clearing.clear(tx, contract.machine, now_ms)


# --- Shared ---------------------------------------------------------------------------------------


def _wanted(
    tx: Tx, renter: AccountId, instance_id: ContractId, verb: str
) -> tuple[Instance, Contract]:
    instance, contract = mine(tx, renter, instance_id)
    if instance.intended is not Intended.RUNNING:
        raise errors.Conflict(
            f"Instance {instance_id} is stopped and cannot be {verb}; start it instead."
        )
    return instance, contract
