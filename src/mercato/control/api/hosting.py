"""Host side: machines, what they are let for, how they join."""

from typing import Any, Final, Literal

import msgspec

from mercato.control.api.auth import new_secret
from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.keys import ById
from mercato.control.api.shapes import MB_PER_GB, UNPROVEN_RELIABILITY
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import hosting, lasting, volumes
from mercato.control.flows.house import Rules
from mercato.control.store import contracts, listings, machine_views, volume_listings
from mercato.control.store.listings import StoredListing
from mercato.control.store.machine_views import MachineView
from mercato.control.store.machines import Machine
from mercato.market import errors
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, MachineId
from mercato.market.listing import BidTerms, Listing, Prices, duration_ms
from mercato.market.money import (
    MS_PER_S,
    NanoUsdPerGb,
    NanoUsdPerGbMonth,
    NanoUsdPerHour,
    dollars,
    nano,
)
from mercato.market.volume import VolumeListing, default_listing_mb
from mercato.wire import agent as wire

_PRICING: Final = {False: "bid", True: "uniform"}

OCCUPANCY: Final = {"ondemand": "D", "reserved": "R", "bid": "I"}

GPU_PRICE_MAX: Final = 1_000.0
"""Dollars for a GPU and hour: more is a slip of the keyboard."""
OTHER_PRICE_MAX: Final = 100.0
DISK_PRICE_DEFAULT: Final = nano(0.10)
DISCOUNT_DEFAULT: Final = 0.4


class MachineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as its host sees it."""

    id: int
    machine_id: int
    host_id: int
    hostname: str | None
    online: bool
    """Whether its agent can be heard; Mercato's own."""
    last_seen: float | None
    agent_version: str
    error_description: str | None
    num_gpus: int
    gpu_name: str
    gpu_ram: int
    gpu_occupancy: str
    """One letter for each GPU: D on-demand, R reserved, I interruptible, x rented by nobody."""
    driver_version: str | None
    cuda_max_good: float
    cpu_name: str
    cpu_cores: int
    cpu_ram: int
    disk_name: str
    disk_space: float
    disk_bw: float
    alloc_disk_space: float
    max_disk_space: float
    inet_up: float
    inet_down: float
    public_ipaddr: str
    static_ip: bool
    direct_port_count: int
    geolocation: str
    mobo_name: str | None
    os_version: str
    reliability2: float
    verification: str
    num_reports: int = 0
    listed: bool
    listed_gpu_cost: float | None
    listed_storage_cost: float | None
    listed_volume_cost: float | None
    listed_inet_up_cost: float | None
    listed_inet_down_cost: float | None
    listed_min_gpu_count: int | None
    min_bid_price: float | None
    bid_notice: float | None
    """Seconds; this and the next two are Mercato's own."""
    bid_min_run: float | None
    bid_pricing: str | None
    min_chunk: int | None
    credit_discount_max: float | None
    start_date: float
    end_date: float | None
    duration: str | None
    bid_image: str | None
    """What its host's own job runs while nobody rents; None when it has none."""
    bid_image_args: list[str] | None
    current_rentals_running: int
    current_rentals_resident: int
    earn_hour: float
    """What its running instances pay an hour, storage included."""
    earn_day: float
    timeout: int = 0
    dlperf: float
    total_flops: float
    simulated: bool


class Machines(msgspec.Struct, frozen=True, kw_only=True):
    """The account's machines."""

    success: bool = True
    machines: list[MachineRow]


def machine_row(view: MachineView) -> MachineRow:
    """A machine as the API shows it."""
    hardware = view.hardware
    place, network = hardware.place, hardware.network
    occupied = [OCCUPANCY.get(view.held.get(str(gpu.index), ""), "x") for gpu in hardware.gpus]
    disk_gb = hardware.disk.size_gb
    trouble = view.trouble or ("" if view.sees else "The agent cannot see its containers.")
    return MachineRow(
        id=view.id,
        machine_id=view.id,
        host_id=view.host_id,
        hostname=hardware.hostname or None,
        online=view.offline_since_ms is None and view.seen_at_ms is not None,
        last_seen=seconds(view.seen_at_ms),
        agent_version=view.agent_version,
        error_description=(trouble or None) if view.seen_at_ms is not None else None,
        **_hardware_fields(hardware),
        gpu_occupancy=" ".join(occupied),
        alloc_disk_space=view.rentals_resident_mb / MB_PER_GB,
        max_disk_space=disk_gb - view.rentals_resident_mb / MB_PER_GB,
        public_ipaddr=network.public_ip,
        static_ip=network.static_ip,
        direct_port_count=network.port_last - network.port_first + 1,
        geolocation=f"{place.region}, {place.country}" if place.region else place.country,
        reliability2=UNPROVEN_RELIABILITY if hardware.reliability is None else hardware.reliability,
        verification=view.verification,
        listed=view.listing_id is not None,
        listed_gpu_cost=_dollars(view.gpu),
        listed_storage_cost=_dollars(view.disk),
        listed_volume_cost=_dollars(view.volume_price),
        listed_inet_up_cost=_dollars(view.up),
        listed_inet_down_cost=_dollars(view.down),
        listed_min_gpu_count=view.min_chunk,
        min_bid_price=_dollars(view.bid_floor),
        bid_notice=seconds(view.bid_notice_ms),
        bid_min_run=seconds(view.bid_run_ms_min),
        bid_pricing=None if view.bid_uniform is None else _PRICING[view.bid_uniform],
        min_chunk=view.min_chunk,
        credit_discount_max=view.credit_discount_max,
        start_date=seconds(view.joined_at_ms),
        end_date=seconds(view.end_at_ms),
        duration=view.duration,
        bid_image=view.job.image if view.job else None,
        bid_image_args=list(view.job.args) if view.job else None,
        current_rentals_running=sum(one != "x" for one in occupied),
        current_rentals_resident=view.rentals,
        earn_hour=dollars(view.gpu_rate),
        earn_day=dollars(view.gpu_rate * 24),
    )


def _hardware_fields(hardware: Hardware) -> dict[str, Any]:
    model = hardware.gpu_model
    return {
        "num_gpus": hardware.gpu_count,
        "gpu_name": model.name,
        "gpu_ram": model.ram_mb,
        "driver_version": model.driver_version or None,
        "cuda_max_good": model.cuda_max,
        "cpu_name": hardware.cpu.name,
        "cpu_cores": hardware.cpu.cores,
        "cpu_ram": hardware.cpu.ram_mb,
        "disk_name": hardware.disk.name,
        "disk_space": hardware.disk.size_gb,
        "disk_bw": hardware.disk.read_mbps,
        "inet_up": hardware.network.up_mbps,
        "inet_down": hardware.network.down_mbps,
        "mobo_name": hardware.mobo_name or None,
        "os_version": hardware.os_version,
        "dlperf": hardware.dlperf,
        "total_flops": model.tflops * hardware.gpu_count,
        "simulated": hardware.simulated,
    }


def _dollars(amount: int | None) -> float | None:
    return None if amount is None else dollars(amount)


async def list_machines(call: Call, asked: Nothing) -> Machines:  # noqa: ARG001 - nothing is asked
    """List the machines that the account hosts."""
    found = await call.services.db.run(machine_views.of_host, call.account)
    return Machines(machines=[machine_row(view) for view in found])


async def show_machine(call: Call, asked: ById) -> list[MachineRow]:
    """Show one machine, as a list of one."""
    for view in await call.services.db.run(machine_views.of_host, call.account):
        if view.id == asked.id:
            return [machine_row(view)]
    raise errors.NotFound(f"There is no machine {asked.id} among yours.")


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What a host asks for a machine; dollars per GPU and hour, GB and month, GB.

    What is left out of a machine that is on sale stays as it is; the defaults below are
    those of one that is not.
    """

    machine: int
    price_gpu: float | None = None
    """Needed unless the machine is on sale."""
    price_disk: float | None = None
    """0.10 when left out."""
    price_inetu: float | None = None
    """0 when left out, as is the next."""
    price_inetd: float | None = None
    price_min_bid: float | None = None
    """`price_gpu` when left out; one that is the same as `price_gpu` stays the same as it."""
    bid_notice: float | None = None
    """Seconds that a bid is warned before it is displaced; this and the next two are our own."""
    bid_min_run: float | None = None
    """Seconds for which no other bid displaces one that won."""
    bid_pricing: Literal["bid", "uniform"] | None = None
    """Whether winners pay what they bid or what they had to beat."""
    min_chunk: int | None = None
    """1 when left out; the official command line always says it."""
    end_date: float | None = None
    """Seconds since the epoch; never when left out."""
    credit_discount_max: float | None = None
    """0.4 when left out."""
    duration: str | int | float | None = None
    """Like `3 months`, or seconds, instead of an end date, which then moves with the days."""
    vol_size: float | None = None
    """Gigabytes that may be let as volumes; half of what is free when left out, 0 for none."""
    vol_price: float | None = None
    """Dollars for a GB and month; the price of instances' disks when left out."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A machine is on sale."""

    success: bool = True
    msg: str
    extended: int = 0
    """Contracts whose end date moved with the listing's."""
    listing_id: int


async def list_machine(call: Call, asked: Asking) -> Listed:
    """Put a machine on sale, or change its terms."""
    listing, extended = await call.services.db.run(
        _list, call.account, asked, call.now_ms, call.services.house.rules
    )
    return Listed(
        msg=f"Machine {asked.machine} is on sale.", extended=extended, listing_id=listing.id
    )


def _list(tx: Tx, host: AccountId, asked: Asking, now_ms: int, rules: Rules) -> tuple[Listing, int]:
    """List the machine, and its volumes unless they are not let; how many contracts go on."""
    machine = hosting.mine(tx, host, MachineId(asked.machine))
    stands, lets = listings.on_sale(tx, machine.id), volume_listings.on_sale(tx, machine.id)
    asking = _terms(asked, stands, rules, now_ms)
    listing = hosting.list_machine(tx, host, machine.id, asking, now_ms, rules)
    extended = lasting.extend(tx, listing, now_ms)
    size_mb = _volumes_mb(tx, machine, asked, stands, lets)
    if size_mb == 0:
        volume_listings.close(tx, machine.id, now_ms)
        return listing, extended
    price = asking.prices.disk if lets is None else lets.price
    if asked.vol_price is not None:
        price = NanoUsdPerGbMonth(checked_price("vol_price", asked.vol_price, OTHER_PRICE_MAX))
    volumes.list_volumes(tx, host, machine.id, size_mb, price, now_ms, rules)
    return listing, extended


def _volumes_mb(
    tx: Tx,
    machine: Machine,
    asked: Asking,
    stands: StoredListing | None,
    lets: VolumeListing | None,
) -> int:
    """How much may be let as volumes: as asked, or as now, or else half of what is free."""
    if asked.vol_size is not None:
        return int(asked.vol_size * MB_PER_GB)
    disk_mb = int(machine.hardware.disk.size_gb * MB_PER_GB)
    if stands is not None:
        return 0 if lets is None else min(lets.size_mb, disk_mb)
    return max(0, default_listing_mb(disk_mb - contracts.disk_mb_on(tx, machine.id)))


def _terms(
    asked: Asking, stands: StoredListing | None, rules: Rules, now_ms: int
) -> hosting.Asking:
    """What is asked from now on: what the request says, else what stands, else the defaults."""
    now = None if stands is None else stands.listing
    end_at_ms, duration = _end(asked, stands, now_ms)
    chunk, discount = asked.min_chunk, asked.credit_discount_max
    if chunk is None:
        chunk = 1 if now is None else now.min_chunk
    if discount is None:
        discount = DISCOUNT_DEFAULT if now is None else now.credit_discount_max
    return hosting.Asking(
        prices=_prices(asked, None if now is None else now.prices),
        min_chunk=chunk,
        end_at_ms=end_at_ms,
        duration=duration,
        credit_discount_max=discount,
        bids=_bid_terms(asked, rules.bids if now is None else now.bids),
    )


def _end(asked: Asking, stands: StoredListing | None, now_ms: int) -> tuple[int | None, str | None]:
    """When it ends, and after how long when that moves with the days."""
    duration = None if asked.duration in {None, ""} else str(asked.duration)
    if asked.end_date is not None:
        return int(asked.end_date * MS_PER_S), duration
    if duration is not None:
        return now_ms + duration_ms(duration), duration
    if stands is None:
        return None, None
    end_at_ms = stands.listing.end_at_ms
    if end_at_ms is not None and end_at_ms <= now_ms:
        raise errors.InvalidRequest(
            "The machine's end date has passed: give a later one, or take it off sale and list it"
            " anew to have none."
        )
    return end_at_ms, stands.duration


def _bid_terms(asked: Asking, now: BidTerms) -> BidTerms:
    """On what terms bids are taken: those of now, but for what is asked."""
    notice, run, pricing = asked.bid_notice, asked.bid_min_run, asked.bid_pricing
    return BidTerms(
        notice_ms=now.notice_ms if notice is None else int(notice * MS_PER_S),
        run_ms_min=now.run_ms_min if run is None else int(run * MS_PER_S),
        uniform=now.uniform if pricing is None else pricing == "uniform",
    )


def _prices(asked: Asking, now: Prices | None) -> Prices:
    """The prices that are asked, each where it is not said as it is now, or as is usual."""

    def price(name: str, most: float, otherwise: int) -> int:
        said: float | None = getattr(asked, name)
        return otherwise if said is None else checked_price(name, said, most)

    if asked.price_gpu is None and now is None:
        raise errors.InvalidPrice("Say what a GPU costs an hour: price_gpu.")
    gpu = price("price_gpu", GPU_PRICE_MAX, now.gpu if now else 0)
    # Who never said what a bid is at least, wants no less of one than of anybody.
    floor = gpu if now is None or now.bid_floor == now.gpu else now.bid_floor
    return Prices(
        gpu=NanoUsdPerHour(gpu),
        disk=NanoUsdPerGbMonth(
            price("price_disk", OTHER_PRICE_MAX, now.disk if now else DISK_PRICE_DEFAULT)
        ),
        up=NanoUsdPerGb(price("price_inetu", OTHER_PRICE_MAX, now.up if now else 0)),
        down=NanoUsdPerGb(price("price_inetd", OTHER_PRICE_MAX, now.down if now else 0)),
        bid_floor=NanoUsdPerHour(price("price_min_bid", GPU_PRICE_MAX, floor)),
    )


def checked_price(name: str, price: float, most: float) -> int:
    """Dollars as nano-dollars.

    Raises:
        InvalidPrice: naming the price, when it is below nothing or a slip of the keyboard.
    """
    if not 0 <= price <= most:
        raise errors.InvalidPrice(f"{name} must be from 0 to {most:g} dollars, and not {price}.")
    return nano(price)


async def unlist_machine(call: Call, asked: ById) -> Done:
    """Take a machine off sale; contracts that were signed go on."""
    await call.services.db.run(
        hosting.unlist_machine, call.account, MachineId(asked.id), call.now_ms
    )
    return Done(msg=f"Machine {asked.id} is off sale; its contracts go on.")


class MinBid(msgspec.Struct, frozen=True, kw_only=True):
    """The least that a bid may offer, in dollars for a GPU and hour."""

    id: int
    price: float


async def set_min_bid(call: Call, asked: MinBid) -> Done:
    """Set the least that a bid may offer for a GPU of a machine."""
    floor = NanoUsdPerHour(checked_price("price", asked.price, GPU_PRICE_MAX))
    await call.services.db.run(
        hosting.set_min_bid, call.account, MachineId(asked.id), floor, call.now_ms
    )
    return Done(msg=f"Bids on machine {asked.id} begin at {asked.price:g} dollars an hour.")


async def delete_machine(call: Call, asked: ById) -> Done:
    """Forget a machine that nobody rents."""
    await call.services.db.run(
        hosting.delete_machine, call.account, MachineId(asked.id), call.now_ms
    )
    call.services.keys.forget()
    return Done(msg=f"Machine {asked.id} is deleted.")


class CleanedUp(msgspec.Struct, frozen=True, kw_only=True):
    """What a clean-up came to."""

    success: bool = True
    num_deleted: int
    machine_id: int
    user_id: int
    msg: str


async def clean_up(call: Call, asked: ById) -> CleanedUp:
    """Have the agent remove what should not be on a machine; it does so at every report too."""
    await show_machine(call, asked)
    call.services.agents.poke([MachineId(asked.id)])
    return CleanedUp(
        num_deleted=0,
        machine_id=asked.id,
        user_id=call.account,
        msg="The agent was asked to look: it removes whatever belongs to no contract.",
    )


async def list_reports(call: Call, asked: ById) -> list[dict[str, Any]]:
    """List what renters reported about a machine; none can report yet."""
    await show_machine(call, asked)
    return []


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that lets one machine in, shown this once."""

    success: bool = True
    token: str
    expires_at: float
    msg: str


async def create_join_token(call: Call, asked: Nothing) -> JoinToken:  # noqa: ARG001 - nothing is asked
    """Make a token with which one machine can join as the account's, once."""
    token = new_secret()
    expires_at_ms = await call.services.db.run(
        hosting.issue_join_token, call.account, token, call.now_ms, call.services.house.rules
    )
    call.services.keys.forget()
    return JoinToken(
        token=token,
        expires_at=seconds(expires_at_ms),
        msg=f"On the machine: mercato agent join {call.origin} {token}",
    )


async def join(call: Call, asked: wire.Join) -> wire.Joined:
    """Let a machine in with a join token, given as Bearer."""
    if asked.protocol != wire.PROTOCOL:
        raise errors.InvalidRequest(
            f"This server speaks agent protocol {wire.PROTOCOL} and the agent {asked.protocol}:"
            " install the same version on both."
        )
    if not call.secret:
        raise errors.NotAuthenticated("Send the join token as `Authorization: Bearer <token>`.")
    machine_key = new_secret()
    machine = await call.services.db.run(
        hosting.join,
        call.secret,
        asked.hardware,
        machine_key,
        call.now_ms,
        call.services.house.rules,
    )
    return wire.Joined(machine=machine, machine_key=machine_key)
