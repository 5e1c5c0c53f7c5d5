"""What the public API answers, typed; field names are the API's own.

Every field has a default, because a server may be older than this client. Money is dollars, as
the API gives it; times are seconds since the epoch.
"""

from typing import Any

import msgspec


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """GPUs of one machine that can be rented now."""

    id: int
    machine_id: int = 0
    host_id: int = 0
    num_gpus: int = 0
    gpu_name: str = ""
    gpu_ram: float = 0
    """Megabytes of one GPU."""
    cpu_cores_effective: float = 0
    cpu_ram: float = 0
    """Megabytes."""
    disk_space: float = 0
    """Gigabytes that can be had."""
    dph_base: float = 0
    dph_total: float = 0
    """Dollars an hour, with the storage that was searched for."""
    min_bid: float | None = None
    """The least dollars an hour that win it by bid; None while no bid does."""
    dlperf: float | None = None
    score: float | None = None
    reliability: float | None = None
    inet_up: float = 0
    inet_down: float = 0
    direct_port_count: int = 0
    duration: float | None = None
    """Seconds for which it can be had at most."""
    cuda_max_good: float | None = None
    verification: str = ""
    geolocation: str | None = None
    rentable: bool = True


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A rental's running environment."""

    id: int
    machine_id: int = 0
    label: str | None = None
    state: str | None = None
    """The state in one word; `status_msg` says more."""
    queue_position: int | None = None
    """Its place among those that wait for its GPUs; None while it does not wait."""
    actual_status: str | None = None
    intended_status: str | None = None
    cur_state: str | None = None
    next_state: str | None = None
    status_msg: str | None = None
    image_uuid: str | None = None
    image_runtype: str | None = None
    num_gpus: int = 0
    gpu_name: str | None = None
    gpu_util: float | None = None
    cpu_util: float | None = None
    disk_space: float | None = None
    dph_total: float | None = None
    ssh_host: str | None = None
    ssh_port: int | None = None
    public_ipaddr: str | None = None
    ports: dict[str, Any] | None = None
    jupyter_token: str | None = None
    start_date: float | None = None
    end_date: float | None = None
    uptime_mins: float | None = None
    geolocation: str | None = None

    def door(self) -> tuple[str, int] | None:
        """Host and port of its SSH server; None while it has none."""
        mapped = (self.ports or {}).get("22/tcp")
        if mapped and self.public_ipaddr:
            return self.public_ipaddr.strip(), int(mapped[0]["HostPort"])
        if self.ssh_host and self.ssh_port:
            jupyter = "jupyter" in (self.image_runtype or "")
            return self.ssh_host, self.ssh_port + (1 if jupyter else 0)
        return None


class Rented(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a rental."""

    new_contract: int
    """The instance's id."""
    instance_api_key: str | None = None
    msg: str = ""
    """The frozen terms, and what it waits for if it does, for a person."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a key."""

    id: int
    email: str = ""
    username: str = ""
    credit: float = 0
    balance: float = 0
    earnings: float = 0
    """What it earned as a host and has not been paid out."""
    host_agreement_accepted: bool | None = None
    is_operator: bool = False
    balance_threshold: float | None = None
    """It is warned below this much credit."""
    balance_threshold_enabled: bool = False
    autobill_threshold: float | None = None
    """Its card is charged below this much credit."""
    autobill_amount: float | None = None
    last4: str | None = None
    """Of that card."""
    has_payout: bool = False
    """Whether it is known where earnings go."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine, as its host sees it."""

    id: int
    host_id: int | None = None
    num_gpus: int = 0
    gpu_name: str | None = None
    hostname: str | None = None
    disk_space: float | None = None
    verification: str | None = None
    public_ipaddr: str | None = None
    geolocation: str | None = None
    reliability2: float | None = None
    online: bool | None = None
    """Whether its agent can be heard."""
    last_seen: float | None = None
    """When its agent was heard last."""
    simulated: bool | None = None
    """Whether any of its hardware was declared rather than measured."""
    listed: bool | None = None
    listed_gpu_cost: float | None = None
    listed_storage_cost: float | None = None
    min_bid_price: float | None = None
    gpu_occupancy: str | None = None
    error_description: str | None = None


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What a rental can run, under a name."""

    id: int
    hash_id: str = ""
    name: str = ""
    image: str | None = None
    tag: str | None = None
    private: bool | None = None
    count_created: int | None = None


class SshKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key that opens the account's instances."""

    id: int
    public_key: str = ""
    created_at: Any = None


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the account; the secret is shown once, when it is made."""

    id: int
    name: str | None = None
    key: str | None = None
    rights: Any = None
    permissions: Any = None
    team_id: int | None = None
    """The team in which it acts; None for the account itself."""
    team_name: str | None = None


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was made with one of the account's keys."""

    created_at: float = 0
    api_key_id: int | None = None
    ip_address: str = ""
    api_route: str = ""
    """The method and the route."""
    args: str = ""
    """JSON."""


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract cost over a span, and of what that is made."""

    type: str = ""
    source: str | None = None
    description: str = ""
    amount: float = 0
    """Dollars."""
    start: float | None = None
    end: float | None = None
    metadata: dict[str, Any] = {}
    items: list["Charge"] = []


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A spending limit and how much of it is used; dollars."""

    id: int
    scope: str = "account"
    scope_id: int = 0
    period: str = "total"
    amount: float = 0
    action: str = "stop"
    spent: float = 0
    remaining: float = 0
    window_end: float | None = None
    """When it begins anew."""
    reached_at: float | None = None
    """When it will be reached at the present rates."""


class Prepaid(msgspec.Struct, frozen=True, kw_only=True):
    """What a deposit buys."""

    timescale: float = 0
    """Months."""
    discount_rate: float = 0
    """The part of the price that is saved."""
    msg: str = ""


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """What was prepaid for an instance; dollars."""

    balance: float = 0
    refundable_deposit: float = 0
    total_discount: float = 0
    discount_months: float = 0
    discount_rate: float = 0
