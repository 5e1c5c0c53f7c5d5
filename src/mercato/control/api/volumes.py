"""Volumes: offers, renting, showing, cloning, deleting; hosts putting them on sale."""

from typing import Any, Final

import msgspec

from mercato.catalog.index import Index
from mercato.catalog.language import parse
from mercato.control.api.call import Call, Done
from mercato.control.api.offer_book import volume_row
from mercato.control.api.offer_fields import OFFERS
from mercato.control.api.shapes import UNPROVEN_RELIABILITY
from mercato.control.api.times import seconds
from mercato.control.flows import volumes as flow
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.store import contracts, sales
from mercato.control.store import volumes as stored
from mercato.control.store.volumes import VolumeView
from mercato.market import errors
from mercato.market.ids import ContractId, MachineId
from mercato.market.money import (
    NanoUsdPerGbMonth,
    dollars,
    nano,
    storage_rate,
)
from mercato.market.volume import MB_PER_GB, checked_name

SIZE_GB_DEFAULT: Final = 15.0
PRICE_DEFAULT: Final = 0.10
SIZE_GB_MAX: Final = 1_000_000.0

_TRANSPORT: Final = frozenset({"owner", "client_id", "api_key"})


class VolumeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One volume. Gigabytes, dollars, seconds since the epoch."""

    id: int
    label: str | None
    status: str
    status_msg: str
    machine_id: int
    host_id: int
    cluster_id: int | None = None
    disk_space: float
    disk_usage: float | None
    disk_name: str
    storage_cost: float
    """Dollars for a gigabyte and month."""
    storage_total_cost: float
    """Dollars an hour for the whole of it."""
    instances: list[int]
    start_date: float
    end_date: float | None
    driver_version: str
    cuda_max_good: float
    inet_up: float
    inet_down: float
    public_ipaddr: str
    static_ip: bool
    cpu_name: str
    cpu_arch: str
    mobo_name: str
    os_version: str
    reliability2: float
    verification: str
    geolocation: str


class WhichVolumes(msgspec.Struct, frozen=True, kw_only=True):
    """Which volumes to show."""

    type: str = "all_volume"


class Volumes(msgspec.Struct, frozen=True, kw_only=True):
    """The account's volumes."""

    success: bool = True
    volumes: list[VolumeRow]


async def list_volumes(call: Call, asked: WhichVolumes) -> Volumes:
    """List the account's volumes."""
    if asked.type == "network_volume":
        return Volumes(volumes=[])
    found = await call.services.db.run(stored.views, call.account)
    return Volumes(volumes=[_row(view) for view in found])


def _row(view: VolumeView) -> VolumeRow:
    hardware = view.hardware
    place, network = hardware.place, hardware.network
    price = NanoUsdPerGbMonth(view.disk_price)
    return VolumeRow(
        id=view.id,
        label=view.name,
        status=view.state.label,
        status_msg=view.message or f"It {view.state.meaning}.",
        machine_id=view.machine_id,
        host_id=view.host_id,
        disk_space=view.disk_mb / MB_PER_GB,
        disk_usage=None if view.used_mb is None else view.used_mb / MB_PER_GB,
        disk_name=hardware.disk.name,
        storage_cost=dollars(price),
        storage_total_cost=dollars(storage_rate(price, view.disk_mb)),
        instances=view.instances,
        start_date=seconds(view.signed_at_ms),
        end_date=seconds(view.end_at_ms),
        driver_version=hardware.gpu_model.driver_version,
        cuda_max_good=hardware.gpu_model.cuda_max,
        inet_up=network.up_mbps,
        inet_down=network.down_mbps,
        public_ipaddr=network.public_ip,
        static_ip=network.static_ip,
        cpu_name=hardware.cpu.name,
        cpu_arch=hardware.cpu.arch,
        mobo_name=hardware.mobo_name,
        os_version=hardware.os_version,
        reliability2=UNPROVEN_RELIABILITY if hardware.reliability is None else hardware.reliability,
        verification=view.verification,
        geolocation=f"{place.region}, {place.country}".removeprefix(", "),
    )


async def search(call: Call, asked: dict[str, Any]) -> bytes:
    """Search the volume offers."""
    query = asked.get("q", asked) if isinstance(asked.get("q"), dict) else asked
    query = {name: query[name] for name in query if name not in _TRANSPORT}
    # There is one a machine at most, and they are seldom asked for: no catalog is kept of them.
    rows = [volume_row(sale) for sale in await call.services.db.run(sales.everything)]
    index = Index(OFFERS)
    index.change({int(str(row["id"])): row for row in rows if row is not None}, ())
    found = index.search(parse(query, OFFERS), call.now_ms)
    return b'{"success":true,"offers":' + found + b"}"


class NewVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume to be rented: the id of its offer, gigabytes, a name."""

    id: int
    size: float = SIZE_GB_DEFAULT
    name: str | None = None


class RentedVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume that was rented."""

    success: bool = True
    id: int
    volume_name: str
    """`V.<id>`, as mounts and copies name it."""
    storage_total_cost: float
    msg: str


async def create(call: Call, asked: NewVolume) -> RentedVolume:
    """Rent a volume."""
    request = VolumeRequest(
        offer=asked.id, size_mb=checked_size_mb(asked.size), name=checked_name(asked.name)
    )
    return await _rent(call, request)


async def _rent(call: Call, request: VolumeRequest) -> RentedVolume:
    request = msgspec.structs.replace(request, scopes=call.who.scopes)
    contract = await call.services.db.run(
        flow.create, call.account, request, call.now_ms, call.services.house.rules
    )
    cost = dollars(contract.terms.storage)
    return RentedVolume(
        id=contract.id,
        volume_name=f"V.{contract.id}",
        storage_total_cost=cost,
        msg=f"Volume V.{contract.id} is yours, at ${cost:.6g}/h.",
    )


def checked_size_mb(size_gb: float) -> int:
    """A volume's size in megabytes.

    Raises:
        InvalidRequest: when no volume can have it.
    """
    if not 0.001 <= size_gb <= SIZE_GB_MAX:
        raise errors.InvalidRequest(f"size must be above 0 and at most {SIZE_GB_MAX:g} GB.")
    return round(size_gb * MB_PER_GB)


class WhichVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume by its id."""

    id: int


async def delete(call: Call, asked: WhichVolume) -> Done:
    """Delete a volume that no instance mounts; its data is lost."""
    await call.services.db.run(flow.delete, call.account, ContractId(asked.id), call.now_ms)
    return Done(msg=f"Volume {asked.id} is deleted.")


class CloneRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A volume and the volume offer, on the same machine, that it is cloned to."""

    src_id: int
    dst_id: int
    size: float | None = None
    """Gigabytes; that of the source when left out."""
    disable_compression: bool = False


async def clone(call: Call, asked: CloneRequest) -> RentedVolume:
    """Rent a volume that begins with the contents of another on its machine."""
    source = ContractId(asked.src_id)
    if await call.services.db.run(stored.get, source) is None:
        raise errors.NoSuchVolume(f"You have no volume {source}.")
    size_mb = (
        (await call.services.db.run(contracts.get, source)).terms.disk_mb
        if asked.size is None
        else checked_size_mb(asked.size)
    )
    return await _rent(call, VolumeRequest(offer=asked.dst_id, size_mb=size_mb, clone_of=source))


class VolumeAsking(msgspec.Struct, frozen=True, kw_only=True):
    """What a host asks for volumes: one machine or several, gigabytes, dollars a GB and month."""

    machine: int | list[int]
    size: float = SIZE_GB_DEFAULT
    price_disk: float = PRICE_DEFAULT
    end_date: float | None = None
    """Ignored: volumes are let for as long as their machine is."""


async def list_on_sale(call: Call, asked: VolumeAsking) -> Done:
    """Put volumes of a machine, or of several, on sale for as long as the machine is."""
    machines = asked.machine if isinstance(asked.machine, list) else [asked.machine]
    price = NanoUsdPerGbMonth(nano(asked.price_disk))
    for machine in machines:
        await call.services.db.run(
            flow.list_volumes,
            call.account,
            MachineId(machine),
            checked_size_mb(asked.size),
            price,
            call.now_ms,
            call.services.house.rules,
        )
    named = ", ".join(map(str, machines))
    return Done(msg=f"Volumes of machine {named} are on sale: {asked.size:g} GB each in all.")


async def unlist(call: Call, asked: WhichVolume) -> Done:
    """Take volumes off sale, by their offer's id; those that are let stay."""
    await call.services.db.run(flow.unlist_volumes, call.account, asked.id, call.now_ms)
    return Done(msg=f"Volume offer {asked.id} is off sale; its volumes stay.")
