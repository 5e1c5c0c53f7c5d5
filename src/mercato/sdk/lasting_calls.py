"""The calls of the public API about how contracts and machines go on, one function each."""

from typing import Any

import msgspec

from mercato.sdk.call import Call, done, many
from mercato.sdk.money_calls import said


class PriceIncrease(msgspec.Struct, frozen=True, kw_only=True):
    """Higher prices that a host asks for a contract to go on; None where nothing changes.

    Dollars for a second (GPU; gigabyte of disk) or a gigabyte (traffic).
    """

    pending_price_increase_id: int
    contract_id: int = 0
    host_id: int = 0
    contract_end_date: float | None = None
    ask_end_date: float | None = None
    old_gpu_costpersec: float = 0
    new_gpu_costpersec: float | None = None
    old_disk_ram_costpersec: float = 0
    new_disk_ram_costpersec: float | None = None
    old_bwu_cost: float = 0
    new_bwu_cost: float | None = None
    old_bwd_cost: float = 0
    new_bwd_cost: float | None = None


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    """When a machine may be down."""

    machine_id: int
    start_time: float = 0
    end_time: float = 0
    duration_hours: float = 0
    maintenance_category: str = ""
    maintenance_reason: str = ""


def price_increases() -> Call[list[PriceIncrease]]:
    """The higher prices that hosts ask for the account's contracts to go on."""
    path = "/instances/pending-price-increases/"
    return Call("GET", path, many(PriceIncrease, "pending_price_increases"))


def answer_price_increase(increase: int, *, accept: bool) -> Call[str]:
    """Have a contract go on at the higher prices, or end as it was signed."""
    path = f"/instances/{'accept' if accept else 'reject'}-price-increase/"
    return Call("PUT", path, said, body={"pending_price_increase_id": increase})


def maintenances() -> Call[list[Maintenance]]:
    """The maintenance windows of the account's machines that are not over."""
    return Call("GET", "/machines/maintenances/", many(Maintenance))


def announce_maintenance(
    machine: int, begin: float, hours: float, *, reason: str = "", category: str = "not provided"
) -> Call[None]:
    """Tell the renters of a machine that it may be down, from a time for some hours."""
    body = {
        "sdate": begin,
        "duration": hours,
        "maintenance_reason": reason,
        "maintenance_category": category,
    }
    return Call("PUT", f"/machines/{machine}/dnotify/", done, body=body)


def cancel_maintenance(machine: int) -> Call[str]:
    """Call off the windows of a machine that are not over."""
    return Call("PUT", f"/machines/{machine}/cancel_maint/", said, body={})


def set_min_bid(machine: int, price: float) -> Call[str]:
    """Set the least that a bid may offer for a GPU and hour of a machine."""
    return Call("PUT", f"/machines/{machine}/minbid/", said, body={"price": price})


def clean_up(machine: int) -> Call[str]:
    """Have a machine's agent remove what belongs to no contract."""
    return Call("PUT", f"/machines/{machine}/cleanup/", said, body={})


def update_instance(instance: int, fields: dict[str, Any]) -> Call[None]:
    """Have an instance run something else: `image`, `template_hash_id`, `env`, `onstart`, ..."""
    return Call("PUT", f"/instances/update_template/{instance}/", done, body=fields)


def variables() -> Call[dict[str, str]]:
    """The names of the account's environment variables, with masked values."""
    return Call("GET", "/secrets/", lambda answer: dict(answer["secrets"]))


def create_variable(name: str, value: str) -> Call[str]:
    """Set a new variable in every instance made from now on."""
    return Call("POST", "/secrets/", said, body={"key": name, "value": value})


def change_variable(name: str, value: str) -> Call[str]:
    """Give a variable that is there another value."""
    return Call("PUT", "/secrets/", said, body={"key": name, "value": value})


def delete_variable(name: str) -> Call[str]:
    """Forget a variable."""
    return Call("DELETE", "/secrets/", said, body={"key": name})
