"""The calls of the public API for volumes, standing orders, prices and the end of contracts."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mercato.sdk import query as language
from mercato.sdk.call import Call, done, many, one


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of its own on one machine. Gigabytes and dollars."""

    id: int
    label: str | None = None
    status: str = ""
    status_msg: str = ""
    machine_id: int = 0
    disk_space: float = 0
    storage_total_cost: float = 0
    """Dollars an hour."""
    instances: list[int] = []
    """Those that mount it."""
    end_date: float | None = None


class VolumeOffer(msgspec.Struct, frozen=True, kw_only=True):
    """Disk of one machine that can be had as volumes."""

    id: int
    machine_id: int = 0
    disk_space: float = 0
    storage_cost: float = 0
    """Dollars for a gigabyte and month."""
    gpu_name: str = ""
    reliability: float | None = None
    duration: float | None = None
    geolocation: str | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A search that rents by itself when an offer matches."""

    id: int
    state: str = ""
    query: dict[str, Any] = {}
    price: float = 0
    """Dollars an hour, disk included."""
    image: str = ""
    label: str | None = None
    instance_id: int | None = None
    message: str = ""
    created_at: float = 0
    expires_at: float = 0


class ModelPrices(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU model at one time; dollars for one GPU and hour."""

    gpu_name: str
    at: float = 0
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
    """How likely a bid holds its GPUs so long; None when nobody knows yet."""

    probability: float | None = None
    at_least: float | None = None
    spells: int = 0


class PriceIncrease(msgspec.Struct, frozen=True, kw_only=True):
    """Higher prices that a host asks for a contract to go on past its end."""

    pending_price_increase_id: int
    contract_id: int = 0
    contract_end_date: float | None = None
    ask_end_date: float | None = None
    old_gpu_costpersec: float = 0
    new_gpu_costpersec: float | None = None
    old_disk_ram_costpersec: float = 0
    new_disk_ram_costpersec: float | None = None


# --- Volumes --------------------------------------------------------------------------------------


def volumes() -> Call[list[Volume]]:
    """The account's volumes."""
    return Call("GET", "/volumes", many(Volume, "volumes"), query={"owner": "me"})


def search_volumes(
    text: str = "", *, size_gb: float = 15.0, defaults: bool = True
) -> Call[list[VolumeOffer]]:
    """Volume offers with at least this much disk, the cheapest first."""
    body = {
        **language.parse(text, defaults=defaults),
        "disk_space": {"gte": size_gb},
        "order": [["storage_cost", "asc"]],
    }
    return Call("POST", "/volumes/search/", many(VolumeOffer, "offers"), body=body)


def create_volume(offer: int, *, size_gb: float, name: str | None = None) -> Call[str]:
    """Rent a volume; its name, `V.<id>`, as instances mount it by."""
    body = {"id": offer, "size": size_gb, "name": name}
    return Call(
        "PUT",
        "/volumes/",
        lambda answer: str(answer["volume_name"]),
        body={name: value for name, value in body.items() if value is not None},
        repeatable=False,
    )


def clone_volume(volume: int, offer: int, *, size_gb: float | None = None) -> Call[str]:
    """Rent a volume that begins with the contents of another on its machine; its name."""
    body = {"src_id": volume, "dst_id": offer, "size": size_gb}
    return Call(
        "POST",
        "/volumes/copy/",
        lambda answer: str(answer["volume_name"]),
        body={name: value for name, value in body.items() if value is not None},
        repeatable=False,
    )


def delete_volume(volume: int) -> Call[None]:
    """Delete a volume that no instance mounts; its data is lost."""
    return Call("DELETE", "/volumes/", done, query={"id": volume}, body={})


# --- Standing orders ------------------------------------------------------------------------------


def orders() -> Call[list[Order]]:
    """The account's standing orders, the latest first."""
    return Call("GET", "/orders/", many(Order, "orders"))


def place_order(
    text: str,
    *,
    price: float,
    expires_at: float,
    launch: Mapping[str, Any],
    defaults: bool = True,
) -> Call[Order]:
    """Rent the first offer that matches, now or when there is one, up to dollars an hour.

    `launch` holds what is to run: image or template_hash_id, disk, env, onstart, label.
    """
    body = {
        **launch,
        "q": language.parse(text, defaults=defaults),
        "price": price,
        "expires": expires_at,
    }
    return Call("POST", "/orders/", one(Order, "order"), body=body, repeatable=False)


def cancel_order(order: int) -> Call[None]:
    """Call a standing order off."""
    return Call("DELETE", f"/orders/{order}/", done, body={})


# --- Prices ---------------------------------------------------------------------------------------


def prices() -> Call[list[ModelPrices]]:
    """What each GPU model costs now."""
    return Call("GET", "/prices/", many(ModelPrices, "prices"))


def price_history(gpu_name: str, hours: int) -> Call[list[ModelPrices]]:
    """What a GPU model cost, hour by hour, oldest first."""
    query = {"gpu_name": gpu_name, "hours": hours}
    return Call("GET", "/prices/history/", many(ModelPrices, "prices"), query=query)


def depth(gpu_name: str) -> Call[list[Step]]:
    """How many free GPUs of a model there are at or below each price."""
    return Call("GET", "/prices/depth/", many(Step, "steps"), query={"gpu_name": gpu_name})


def survival(gpu_name: str, price: float, hours: float) -> Call[Lasting]:
    """How likely a bid, in dollars for one GPU and hour, holds its GPUs for some hours."""
    query = {"gpu_name": gpu_name, "price": price, "hours": hours}
    return Call("GET", "/prices/survival/", one(Lasting), query=query)


# --- The end of contracts -------------------------------------------------------------------------


def price_increases() -> Call[list[PriceIncrease]]:
    """Higher prices that wait for the account's word."""
    shape = many(PriceIncrease, "pending_price_increases")
    return Call("GET", "/instances/pending-price-increases/", shape)


def answer_price_increase(increase: int, *, accept: bool) -> Call[None]:
    """Have a contract go on at the higher prices from its end on, or end as it was signed."""
    word = "accept" if accept else "reject"
    body = {"pending_price_increase_id": increase}
    return Call("PUT", f"/instances/{word}-price-increase/", done, body=body)
