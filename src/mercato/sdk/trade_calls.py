"""The calls of the public API about prices, standing orders and volumes, one function each.

Money is dollars, times are seconds since the epoch, sizes gigabytes.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from mercato.sdk import query as language
from mercato.sdk.call import Call, done, many, one


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A search that rents by itself when an offer matches."""

    id: int
    state: str = ""
    """`resting`, `filled`, `cancelled`, `expired` or `failed`."""
    query: dict[str, Any] = {}
    price: float = 0
    """The most it may cost an hour, disk included."""
    image: str = ""
    label: str | None = None
    instance_id: int | None = None
    message: str = ""
    created_at: float | None = None
    expires_at: float | None = None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was placed, and filled at once when an offer matched."""

    order: Order
    msg: str = ""


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """What one GPU of a model costs an hour, at one time."""

    gpu_name: str = ""
    at: float | None = None
    gpus_offered: int = 0
    gpus_rented: int = 0
    ask_p10: float | None = None
    ask_p50: float | None = None
    ask_p90: float | None = None
    paid_p50: float | None = None
    bid_p50: float | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How many GPUs can be had at or below a price."""

    price: float
    gpus: int


class Lasting(msgspec.Struct, frozen=True, kw_only=True):
    """How likely a bid holds its GPUs for some hours."""

    probability: float | None = None
    """None when the market's books say nothing of it yet."""
    at_least: float | None = None
    """It is above this with 95 % confidence."""
    spells: int = 0
    """From how many bids of its like that is known."""


class VolumeOffer(msgspec.Struct, frozen=True, kw_only=True):
    """Disk space of a machine that can be rented by itself."""

    id: int
    machine_id: int = 0
    disk_space: float = 0
    disk_bw: float | None = None
    storage_cost: float = 0
    """A gigabyte and month."""
    inet_up: float = 0
    inet_down: float = 0
    reliability2: float | None = None
    geolocation: str | None = None


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A disk on one machine that outlives the instances that mount it."""

    id: int
    label: str | None = None
    status: str = ""
    status_msg: str = ""
    machine_id: int = 0
    disk_space: float = 0
    disk_usage: float | None = None
    storage_total_cost: float = 0
    """An hour, for the whole of it."""
    instances: list[int] = []
    end_date: float | None = None


class RentedVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume that was rented."""

    id: int
    volume_name: str = ""
    """`V.<id>`, as mounts name it."""
    storage_total_cost: float = 0
    msg: str = ""


def orders() -> Call[list[Order]]:
    """The account's standing orders, the latest first."""
    return Call("GET", "/orders/", many(Order, "orders"))


def place_order(
    text: str, *, price: float, expires: float, launch: Mapping[str, Any], defaults: bool = True
) -> Call[Placed]:
    """Rent the first offer that matches query text, now or when there is one, up to a price.

    `launch` says what to run, in the API's names (image, template_hash_id, env, disk, label, ...);
    `defaults=False` also takes what is unverified.
    """
    body = dict(launch) | {
        "q": dict(language.parse(text, defaults=defaults)),
        "price": price,
        "expires": expires,
    }
    return Call("POST", "/orders/", one(Placed), body=body, repeatable=False)


def cancel_order(order: int) -> Call[None]:
    """Call a standing order off."""
    return Call("DELETE", f"/orders/{order}/", done, body={})


def prices() -> Call[list[Prices]]:
    """What each GPU model costs now, and how much of it is rented."""
    return Call("GET", "/prices/", many(Prices, "prices"))


def price_history(gpu_name: str, *, hours: int = 168) -> Call[list[Prices]]:
    """What a GPU model cost, hour by hour."""
    query = {"gpu_name": gpu_name, "hours": hours}
    return Call("GET", "/prices/history/", many(Prices, "prices"), query=query)


def depth(gpu_name: str) -> Call[list[Step]]:
    """How many free GPUs of a model there are at or below each price."""
    return Call("GET", "/prices/depth/", many(Step, "steps"), query={"gpu_name": gpu_name})


def survival(gpu_name: str, price: float, hours: float) -> Call[Lasting]:
    """How likely a bid for one GPU of a model holds it for some hours."""
    query = {"gpu_name": gpu_name, "price": price, "hours": hours}
    return Call("GET", "/prices/survival/", one(Lasting), query=query)


def search_volumes(text: str = "", *, limit: int | None = None) -> Call[list[VolumeOffer]]:
    """Volume offers that match query text."""
    body: dict[str, Any] = dict(language.parse(text, defaults=False))
    body["order"] = language.order("storage_cost")
    if limit is not None:
        body["limit"] = limit
    return Call("POST", "/volumes/search/", many(VolumeOffer, "offers"), body=body)


def volumes() -> Call[list[Volume]]:
    """The account's volumes."""
    return Call("GET", "/volumes/", many(Volume, "volumes"))


def create_volume(offer: int, size: float, *, name: str | None = None) -> Call[RentedVolume]:
    """Rent a volume of `size` gigabytes from a volume offer."""
    body = {"id": offer, "size": size, "name": name}
    return Call("PUT", "/volumes/", one(RentedVolume), body=body, repeatable=False)


def clone_volume(volume: int, offer: int, *, size: float | None = None) -> Call[RentedVolume]:
    """Rent a volume, of an offer of the same machine, that begins with another's contents."""
    body = {"src_id": volume, "dst_id": offer, "size": size}
    return Call("POST", "/volumes/copy/", one(RentedVolume), body=body, repeatable=False)


def delete_volume(volume: int) -> Call[None]:
    """Delete a volume that no instance mounts; its data is lost."""
    return Call("DELETE", "/volumes/", done, body={"id": volume})


def sell_volumes(machine: int, size: float, price: float) -> Call[None]:
    """Put `size` gigabytes of a machine's disk on sale as volumes, at `price` a GB and month."""
    body = {"machine": machine, "size": size, "price_disk": price}
    return Call("POST", "/volumes/", done, body=body)


def withdraw_volumes(offer: int) -> Call[None]:
    """Take volumes off sale, by their offer's id; those that are let stay."""
    return Call("POST", "/volumes/unlist/", done, body={"id": offer})
