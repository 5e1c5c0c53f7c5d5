"""Renting: from a request in any client's words to one flow, once."""

import hashlib
import secrets
from typing import Any, Final, Literal

import msgspec

from mercato.control.api.auth import new_secret
from mercato.control.api.call import Call
from mercato.control.api.caller import Caller
from mercato.control.api.launching import LaunchRequest, changed_launch, launch_of
from mercato.control.api.offers import offer_ids
from mercato.control.api.shapes import InstanceRow, instance_row
from mercato.control.api.volumes import SIZE_GB_DEFAULT, checked_size_mb
from mercato.control.db import Tx
from mercato.control.flows import limiting, renting, templating
from mercato.control.flows.desired import unsealed
from mercato.control.flows.house import House
from mercato.control.flows.renting import Minted, RentRequest
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.store import contracts, instances, replies, standings, views
from mercato.control.store.instances import Instance
from mercato.control.store.templates import StoredTemplate
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.ids import AccountId, ContractId, OfferId, TemplateId
from mercato.market.instance import Intended
from mercato.market.launch import Launch
from mercato.market.money import NanoUsdPerHour, dollars, nano
from mercato.market.volume import checked_name, checked_path

DISK_GB_DEFAULT: Final = 8.0
DISK_GB_MAX: Final = 1_000_000.0
BID_MAX: Final = 128.0
BULK_MAX: Final = 64
SAME_REQUEST_MS: Final = 150_000
"""A creation repeated within this answers what the first came to: the client waits 120 s."""
LAUNCH_TRIES: Final = 3


class Wishes(LaunchRequest, frozen=True, kw_only=True):
    """What a renter asks of an offer, whichever it is."""

    disk: float | None = None
    """Gigabytes."""
    label: str | None = None
    price: float | None = None
    """Dollars an hour for the whole slice; makes it interruptible."""
    reschedule: bool = False
    """It may wait for, and come back on, any equal GPUs of the machine; Mercato's own."""
    target_state: Literal["running", "stopped"] | None = None
    cancel_unavail: bool | None = None
    vm: bool = False
    volume_info: "VolumeInfo | None" = None


class Rental(Wishes, frozen=True, kw_only=True):
    """What a renter asks of an offer."""

    id: int


class Rented(msgspec.Struct, frozen=True, kw_only=True):
    """A rental; the instance has the id of its contract."""

    success: bool = True
    new_contract: int
    instance_api_key: str
    ask_id: int
    rental_type: str
    dph_total: float
    """Dollars an hour while it runs, storage included; frozen."""
    dph_base: float
    storage_total_cost: float
    msg: str


async def rent(call: Call, asked: Rental) -> Rented:
    """Rent an offer."""
    return await _rent(call, asked, OfferId(asked.id))


async def _rent(call: Call, asked: Rental, offer: OfferId) -> Rented:
    request = rent_request(call, asked, await template_of(call, asked))
    minted = Minted(instance_key=new_secret(), jupyter_token=secrets.token_urlsafe(24))
    told = msgspec.json.encode([offer, call.arguments], order="sorted")
    memory = f"rent:{hashlib.sha256(told).hexdigest()}"
    house = call.services.house
    try:
        contract, key, standing = await call.services.db.run(
            _once, call.account, offer, request, memory, call.now_ms, minted, house=house
        )
    except errors.OfferTaken as taken:
        if asked.cancel_unavail:
            raise
        # Documented so: 410 is for those who asked to hear that they lost a race.
        raise errors.NoSuchOffer(str(taken)) from None
    terms = contract.terms
    return Rented(
        new_contract=contract.id,
        instance_api_key=key,
        ask_id=offer,
        rental_type=terms.kind.value,
        dph_total=dollars(terms.gpu + terms.storage),
        dph_base=dollars(terms.gpu),
        storage_total_cost=dollars(terms.storage),
        msg=f"Instance {contract.id} is yours, {terms.kind.value},"
        f" at ${dollars(terms.gpu + terms.storage):.6g}/h while it runs and"
        f" ${dollars(terms.storage):.6g}/h while it is stopped. {standing}".rstrip(),
    )


def _once(  # noqa: PLR0913 - one argument for each column
    tx: Tx,
    renter: AccountId,
    offer: OfferId,
    request: RentRequest,
    memory: str,
    now_ms: int,
    minted: Minted,
    *,
    house: House,
) -> tuple[Contract, str, str]:
    """Rent, or find what the same request rented a moment ago: a client that lost the answer.

    Returns:
        The contract, the instance's own key, and how it stands when it does not hold its GPUs yet.
    """
    known = replies.find(tx, renter, memory, now_ms - SAME_REQUEST_MS)
    if known is not None and known.body is not None:
        instance = instances.get(tx, ContractId(int(known.body)))
        if instance is not None and instance.intended is not Intended.DESTROYED:
            known_key = unsealed(instance, house.box)[1]
            return contracts.get(tx, instance.id), known_key, _standing(tx, instance)
    signed = renting.rent(tx, renter, offer, request, now_ms, minted, house=house)
    number = signed.contract.id
    replies.begin(tx, renter, memory, b"", now_ms)
    replies.keep(tx, renter, memory, now_ms, 200, str(number).encode())
    instance = instances.get(tx, number)
    assert instance is not None
    return signed.contract, minted.instance_key, _standing(tx, instance)


def _standing(tx: Tx, instance: Instance) -> str:
    stand = standings.on(tx, instance.machine_id).get(instance.id)
    return "" if stand is None else stand.message


async def template_of(call: Call, asked: LaunchRequest) -> StoredTemplate | None:
    """The template that a request names; None when it names none."""
    if not asked.template_hash_id and asked.template_id is None:
        return None
    return await call.services.db.run(
        templating.find, call.account, asked.template_id, asked.template_hash_id
    )


def rent_request(call: Call, asked: Rental, template: StoredTemplate | None) -> RentRequest:
    """What is asked of an offer, in our own words.

    Raises:
        InvalidRequest: naming what cannot be asked.
    """
    if asked.vm:
        raise errors.InvalidRequest("Virtual machines are not offered here; leave out vm.")
    launch, new_volume, path = _volume(
        asked.volume_info, launch_of(asked, template, call.services.house.box)
    )
    disk_gb = asked.disk
    if disk_gb is None:
        wished = template.body.get("recommended_disk_space") if template else None
        disk_gb = wished or DISK_GB_DEFAULT
    if not 0 < disk_gb <= DISK_GB_MAX:
        raise errors.InvalidRequest(f"disk must be above 0 and at most {DISK_GB_MAX:g} GB.")
    running = asked.target_state != "stopped"
    bid = None
    if asked.price is not None:
        if not 0.001 <= asked.price <= BID_MAX:
            raise errors.InvalidPrice(f"A bid is from 0.001 to {BID_MAX:g} dollars an hour.")
        bid = NanoUsdPerHour(nano(asked.price))
    cancel = asked.cancel_unavail
    return RentRequest(
        launch=launch,
        new_volume=new_volume,
        new_volume_path=path,
        disk_mb=round(disk_gb * 1_000),
        label=asked.label or None,
        running=running,
        # False in a request is the official client's default and not a wish.
        cancel_unavailable=running and bid is None if not cancel else True,
        bid=bid,
        reschedule=asked.reschedule,
        template=(TemplateId(template.id), template.hash_id) if template else None,
        scopes=call.who.scopes,
    )


class VolumeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A volume to be mounted: one of the renter's, or a new one of a volume offer."""

    volume_id: int
    """The id of a volume or, with `create_new`, of a volume offer."""
    mount_path: str = "/data"
    create_new: bool = False
    name: str | None = None
    size: float = SIZE_GB_DEFAULT
    """Gigabytes of a new one."""


def _volume(info: VolumeInfo | None, launch: Launch) -> tuple[Launch, VolumeRequest | None, str]:
    """The launch with the volume among its mounts, or the volume that is to be rented with it."""
    if info is None:
        return launch, None, ""
    path = checked_path(info.mount_path)
    if not info.create_new:
        wish = f"V.{info.volume_id}:{path}"
        return msgspec.structs.replace(launch, volumes=(*launch.volumes, wish)), None, ""
    request = VolumeRequest(
        offer=info.volume_id, size_mb=checked_size_mb(info.size), name=checked_name(info.name)
    )
    return launch, request, path


class RentalMany(Wishes, frozen=True, kw_only=True):
    """The same for several offers."""

    ids: list[int]


class RentedMany(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each offer."""

    success: bool = True
    msg: str
    new_contracts: list[int]
    rented: list[Rented]
    refused: dict[str, str]


async def rent_many(call: Call, asked: RentalMany) -> RentedMany:
    """Rent several offers with the same settings; each stands for itself."""
    if not 0 < len(asked.ids) <= BULK_MAX:
        raise errors.InvalidRequest(f"ids must name from 1 to {BULK_MAX} offers.")
    given = {name: value for name, value in msgspec.structs.asdict(asked).items() if name != "ids"}
    rented: list[Rented] = []
    refused: dict[str, str] = {}
    last: errors.Refusal | None = None
    for offer in dict.fromkeys(asked.ids):
        try:
            rented.append(await _rent(call, Rental(id=offer, **given), OfferId(offer)))
        except errors.Refusal as refusal:
            refused[str(offer)], last = str(refusal), refusal
    if not rented and last is not None:
        raise last
    return RentedMany(
        msg=" ".join([f"{len(rented)} of {len(rented) + len(refused)} rented.", *refused.values()]),
        new_contracts=[one.new_contract for one in rented],
        rented=rented,
        refused=refused,
    )


class LaunchQuery(LaunchRequest, frozen=True, kw_only=True):
    """What to look for and what to run on it."""

    q: dict[str, Any]
    disk: float | None = None
    label: str | None = None
    cancel_unavail: bool | None = None


async def launch(call: Call, asked: LaunchQuery) -> Rented:
    """Rent the first offer that a query finds."""
    template = await template_of(call, asked)
    wished = template.body.get("extra_filters") or {} if template else {}
    query = {"limit": LAUNCH_TRIES, "type": "on-demand", **wished, **asked.q}
    found = offer_ids(call, query)
    if not found:
        raise errors.NoSuchOffer("No offer matches the query now.")
    given = {name: value for name, value in msgspec.structs.asdict(asked).items() if name != "q"}
    last: errors.Refusal = errors.NoSuchOffer("No offer matches the query now.")
    for offer in found[:LAUNCH_TRIES]:
        try:
            return await _rent(call, Rental(id=offer, **given), OfferId(offer))
        except (errors.NoSuchOffer, errors.OfferTaken) as refusal:
            last = refusal
    raise last


class Update(LaunchRequest, frozen=True, kw_only=True):
    """Another launch for an instance; what is left out stays."""

    id: int


class Updated(msgspec.Struct, frozen=True, kw_only=True):
    """The instance will be made anew."""

    success: bool = True
    updated_instance: InstanceRow
    msg: str


async def update(call: Call, asked: Update) -> Updated:
    """Make an instance anew from other settings or another template, keeping its GPUs."""
    template = await template_of(call, asked)
    house = call.services.house
    view = await call.services.db.run(_update, call.who, asked, template, call.now_ms, house=house)
    return Updated(
        updated_instance=instance_row(view, house.box, call.now_ms),
        msg=f"Instance {asked.id} will be made anew; its data is lost.",
    )


def _update(
    tx: Tx,
    who: Caller,
    asked: Update,
    template: StoredTemplate | None,
    now_ms: int,
    *,
    house: House,
) -> views.InstanceView:
    renter = who.account
    instance = instances.get(tx, ContractId(asked.id))
    if instance is None or instance.renter_id != renter:
        raise errors.NoSuchInstance(f"You have no instance {asked.id}.")
    before, _ = unsealed(instance, house.box)
    launch = changed_launch(before, asked, template, house.box)
    named = (instance.template_id, instance.template_hash)
    kept = (named[0], named[1]) if named[0] is not None and named[1] is not None else None
    origin = (TemplateId(template.id), template.hash_id) if template else kept
    update = limiting.on_behalf(who.scopes, renting.update)
    update(tx, renter, instance.id, launch, origin, now_ms, house=house)
    view = views.instance(tx, renter, instance.id)
    assert view is not None, "a destroyed one was refused above"
    return view
