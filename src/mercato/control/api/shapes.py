"""An instance as the API shows it, in the API's own names and units.

Dollars, seconds since the epoch, gigabytes for disks and used memory, megabytes for installed
memory. A fact that nobody knows is null, or -1 where clients expect that.
"""

from typing import Any, Final

import msgspec

from mercato.control.api.times import clock, seconds
from mercato.control.secrets_box import SecretsBox
from mercato.control.store.views import InstanceView
from mercato.market.contract import FIRM, Kind
from mercato.market.instance import Actual, Intended, State
from mercato.market.launch import Launch
from mercato.market.money import (
    MS_PER_S,
    NANO,
    NanoUsdPerGbMonth,
    dollars,
    storage_rate,
    with_fee,
)
from mercato.market.reserving import PPB

MB_PER_GB: Final = 1_000
MASK: Final = "*****"
UNPROVEN_RELIABILITY: Final = 0.60
"""Where a machine's reliability starts until it has earned one."""

ACTUAL_STATUS: Final[dict[State, str | None]] = {
    State.SCHEDULING: "stopped",
    State.CREATING: None,
    State.LOADING: "loading",
    State.RUNNING: "running",
    State.STOPPING: "running",
    State.STOPPED: "stopped",
    State.EXITED: "exited",
    # The official word for a container that was made and could not be started.
    State.FAILED: "created",
    State.OFFLINE: "offline",
    State.DESTROYING: "stopped",
    State.DESTROYED: "stopped",
}


class PortBinding(msgspec.Struct, frozen=True, rename="pascal"):
    """Where a container port is reached, as Docker says it."""

    host_ip: str
    host_port: str


class Prices(msgspec.Struct, frozen=True, rename="camel"):
    """Prices an hour, in the names that scripts for the official API read."""

    gpu_cost_per_hour: float
    disk_hour: float
    total_hour: float
    discount_total_hour: float = 0.0
    discounted_total_per_hour: float = 0.0


class InstanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One instance."""

    id: int
    machine_id: int
    host_id: int
    label: str | None
    state: str
    """The state in one word; `reason` says why it is what it is. Both are Mercato's own."""
    reason: str
    actual_status: str | None
    intended_status: str
    cur_state: str
    next_state: str
    status_msg: str | None
    num_gpus: int
    gpu_ids: list[int]
    gpu_name: str
    gpu_arch: str
    gpu_frac: float
    gpu_lanes: int
    gpu_mem_bw: float
    gpu_ram: int
    gpu_totalram: int
    gpu_util: float | None
    gpu_temp: float | None
    bw_nvlink: float
    compute_cap: int
    cuda_max_good: float
    driver_version: str | None
    cpu_name: str
    cpu_arch: str
    cpu_cores: int
    cpu_cores_effective: float
    cpu_ram: int
    cpu_util: float | None
    mem_usage: float | None
    mem_limit: float | None
    vmem_usage: float | None
    disk_name: str
    disk_bw: float
    disk_space: float
    disk_usage: float
    disk_util: float
    inet_up: float
    inet_down: float
    inet_up_cost: float
    inet_down_cost: float
    internet_up_cost_per_tb: float
    internet_down_cost_per_tb: float
    inet_up_billed: float
    """Bytes sent since the contract began."""
    inet_down_billed: float
    """Bytes received since the contract began."""
    image_uuid: str
    image_args: list[str]
    image_runtype: str
    extra_env: list[list[str]]
    onstart: str | None
    jupyter_token: str
    ssh_host: str | None
    ssh_port: int | None
    ssh_idx: str | None
    ssh_key_ids: list[int]
    machine_dir_ssh_port: int | None
    public_ipaddr: str
    local_ipaddrs: str
    ports: dict[str, list[PortBinding]]
    direct_port_start: int
    direct_port_end: int
    direct_port_count: int
    static_ip: bool
    start_date: float
    end_date: float | None
    duration: float | None
    time_remaining: str
    time_remaining_isbid: str
    uptime_mins: float | None
    client_run_time: float
    host_run_time: float
    dph_base: float
    dph_total: float
    storage_cost: float
    storage_total_cost: float
    vram_costperhour: float
    min_bid: float
    is_bid: bool
    rental_type: str
    """`ondemand`, `reserved` or `bid`; Mercato's own."""
    bid: float | None
    """What it offers an hour; `dph_base` is what it pays. Null when it was not rented by bid."""
    reschedule: bool
    """It may come back on any equal GPUs of its machine; this and the next four are our own."""
    yields_at: float | None
    """When its GPUs go to somebody else, unless it matches before."""
    starts_by: float | None
    """When the GPUs that it won are free at the latest."""
    displaced_by: list[int]
    """Contracts that have, or get, GPUs that it wants."""
    queue_position: int | None
    """Its place among those that wait for some of its GPUs; null when it does not wait."""
    credit_balance: float | None = None
    """Dollars left of what was prepaid; null when nothing is."""
    credit_discount: float | None = None
    """The part of the price that prepaying saves."""
    credit_discount_max: float
    search: Prices
    instance: Prices
    dlperf: float
    dlperf_per_dphtotal: float
    total_flops: float
    flops_per_dphtotal: float
    score: float | None = None
    reliability2: float
    verification: str
    geolocation: str
    country_code: str
    hosting_type: int
    external: bool | None = False
    rentable: bool
    template_id: int | None
    template_hash_id: str | None
    template_name: str | None
    volume_info: list[dict[str, Any]]
    bundle_id: int | None = None
    os_version: str
    mobo_name: str | None
    pci_gen: float
    pcie_bw: float
    logo: str | None = None
    webpage: str | None = None
    simulated: bool
    """The machine was declared and not measured; Mercato's own."""


FIELDS: Final = frozenset(InstanceRow.__struct_fields__)


class _Sealed(msgspec.Struct, frozen=True):
    """The part of what is sealed that its renter may see."""

    env: dict[str, str] = {}


def _environment(view: InstanceView, box: SecretsBox) -> dict[str, str]:
    """What the renter asked for; the account's own variables stay masked."""
    if view.sealed is None:
        return view.launch.env
    env = msgspec.json.decode(box.open(view.sealed), type=_Sealed).env
    return env | {name: MASK for name in view.account_variables if name in env}


def instance_row(view: InstanceView, box: SecretsBox, now_ms: int) -> InstanceRow:
    """Everything the API says of an instance at this moment."""
    facts: dict[str, Any] = {
        "id": view.id,
        "machine_id": view.machine_id,
        "host_id": view.host_id,
        "label": view.label,
        "template_id": view.template_id,
        "template_hash_id": view.template_hash,
        "template_name": view.template_name,
        "volume_info": [
            {
                "id": mount["volume"],
                "mount_path": mount["path"],
                "total_space": mount["mb"] / MB_PER_GB,
                "avail_space": mount["mb"] / MB_PER_GB,
            }
            for mount in view.mounts
        ],
        "credit_discount_max": view.credit_discount_max,
        "verification": view.verification,
        **_status(view),
        **_standing(view),
        **_gpus(view),
        **_machine(view),
        **_usage(view),
        **_launch(view.launch, _environment(view, box)),
        **_doors(view),
        **_times(view, now_ms),
        **_money(view),
        **_deposit(view, now_ms),
    }
    return InstanceRow(**facts)


def _status(view: InstanceView) -> dict[str, Any]:
    state = view.state
    running, stopped = Intended.RUNNING.value, Intended.STOPPED.value
    holds = view.held > 0
    # Clients know an outbid instance by three words that say it is stopped, though it waits to run.
    outbid = view.kind not in FIRM and (view.pausing or not holds)
    wanted = running if view.intended is Intended.RUNNING and not outbid else stopped
    return {
        "state": state.label,
        "reason": view.reason.value,
        "actual_status": ACTUAL_STATUS[state],
        "intended_status": wanted,
        "cur_state": running if holds and not view.pausing else stopped,
        "next_state": wanted,
        "status_msg": _message(view, state),
        "rentable": False,
    }


def _message(view: InstanceView, state: State) -> str:
    """What a person reads: the host's words where it has some, ours otherwise."""
    standing = _in_the_auction(view, state)
    if standing:
        return standing
    match state:
        case State.RUNNING:
            way_in = "ssh" if view.launch.ssh else "args"
            return view.message or f"success, running {view.launch.image}/{way_in}"
        case State.SCHEDULING:
            return "Waiting for its GPUs: somebody else holds them now."
        case State.OFFLINE:
            return "Its host cannot be heard. Nothing is billed until it is back."
        case State.STOPPED if view.reason.value != "user":
            return view.message or f"Stopped by the market: {view.reason.value}."
        case _:
            return view.message or f"It {state.meaning}."


def _in_the_auction(view: InstanceView, state: State) -> str:
    """How it stands and until when, while it waits for GPUs or is to give its own up."""
    if state in {State.SCHEDULING, State.STOPPING}:
        by_ms = view.starts_by_ms if view.promised else None
        return f"{view.standing} It starts by {clock(by_ms)}." if by_ms else view.standing
    if view.yields_at_ms is None or not state.may_hold_gpus or state is State.OFFLINE:
        return ""
    return f"{view.standing} Bid more to keep it; it runs until {clock(view.yields_at_ms)}."


def _standing(view: InstanceView) -> dict[str, Any]:
    by_bid = view.kind is Kind.INTERRUPTIBLE
    return {
        "bid": dollars(view.gpu_rate) if by_bid else None,
        "reschedule": view.reschedule,
        "yields_at": None if view.pausing else seconds(view.yields_at_ms),
        "starts_by": seconds(view.starts_by_ms) if view.promised else None,
        "displaced_by": view.displaced_by,
        "queue_position": view.position or None,
    }


def _gpus(view: InstanceView) -> dict[str, Any]:
    model, count = view.hardware.gpu_model, len(view.gpus)
    return {
        "num_gpus": count,
        "gpu_ids": view.gpus,
        "gpu_name": model.name,
        "gpu_arch": model.arch,
        "gpu_frac": _share(view),
        "gpu_lanes": model.lanes,
        "gpu_mem_bw": model.mem_bw_gbps,
        "gpu_ram": model.ram_mb,
        "gpu_totalram": model.ram_mb * count,
        "bw_nvlink": model.nvlink_bw_gbps,
        "compute_cap": model.compute_cap,
        "cuda_max_good": model.cuda_max,
        "driver_version": model.driver_version or None,
        "total_flops": model.tflops * count,
        "pci_gen": model.pci_gen,
        "pcie_bw": model.pcie_bw_gbps,
    }


def _share(view: InstanceView) -> float:
    return len(view.gpus) / max(1, view.hardware.gpu_count)


def _machine(view: InstanceView) -> dict[str, Any]:
    hardware, share = view.hardware, _share(view)
    place = hardware.place
    ports = hardware.network.port_last - hardware.network.port_first + 1
    return {
        "cpu_name": hardware.cpu.name,
        "cpu_arch": hardware.cpu.arch,
        "cpu_cores": hardware.cpu.cores,
        "cpu_cores_effective": hardware.cpu.cores * share,
        "cpu_ram": hardware.cpu.ram_mb,
        "mem_limit": hardware.cpu.ram_mb * share / MB_PER_GB,
        "disk_name": hardware.disk.name,
        "disk_bw": hardware.disk.read_mbps,
        "inet_up": hardware.network.up_mbps,
        "inet_down": hardware.network.down_mbps,
        "static_ip": hardware.network.static_ip,
        "public_ipaddr": hardware.network.public_ip,
        "local_ipaddrs": "",
        "direct_port_start": -1,
        "direct_port_end": -1,
        "direct_port_count": int(ports * share),
        "dlperf": hardware.dlperf * share,
        "reliability2": UNPROVEN_RELIABILITY
        if hardware.reliability is None
        else hardware.reliability,
        "geolocation": f"{place.region}, {place.country}" if place.region else place.country,
        "country_code": place.country,
        "hosting_type": 0,
        "os_version": hardware.os_version,
        "mobo_name": hardware.mobo_name or None,
        "simulated": hardware.simulated,
    }


def _usage(view: InstanceView) -> dict[str, Any]:
    usage = view.usage
    disk_gb = view.disk_mb / MB_PER_GB
    known = usage.disk_gb >= 0
    return {
        "gpu_util": usage.gpu_percent,
        "gpu_temp": usage.gpu_temp_c,
        "vmem_usage": usage.vram_gb,
        "cpu_util": usage.cpu_percent,
        "mem_usage": usage.ram_gb,
        "disk_space": disk_gb,
        "disk_usage": usage.disk_gb if known else -1,
        "disk_util": usage.disk_gb / disk_gb if known else -1,
        "inet_up_billed": float(view.up_bytes),
        "inet_down_billed": float(view.down_bytes),
    }


def _launch(launch: Launch, environment: dict[str, str]) -> dict[str, Any]:
    env = [[name, value] for name, value in environment.items()]
    for port in launch.ports:
        suffix = "" if port.protocol == "tcp" else f"/{port.protocol}"
        env.append([f"-p {port.container}:{port.container}{suffix}", "1"])
    env.extend(["-v " + volume, "1"] for volume in launch.volumes)
    if launch.hostname:
        env.append(["-h", launch.hostname])
    return {
        "image_uuid": launch.image,
        "image_args": list(launch.args),
        "image_runtype": launch.runtype,
        "extra_env": env,
        "onstart": launch.onstart or launch.entrypoint,
    }


def _doors(view: InstanceView) -> dict[str, Any]:
    host = view.hardware.network.public_ip
    ssh_port = view.ports.get("22/tcp")
    return {
        "jupyter_token": view.jupyter_token,
        "ssh_host": host if ssh_port else None,
        "ssh_port": ssh_port,
        "ssh_idx": str(view.id) if ssh_port else None,
        "ssh_key_ids": view.ssh_key_ids,
        "machine_dir_ssh_port": ssh_port,
        "ports": {
            inside: [PortBinding("0.0.0.0", str(outside))]  # noqa: S104 - what Docker's own answer says
            for inside, outside in sorted(view.ports.items())
        },
    }


def _times(view: InstanceView, now_ms: int) -> dict[str, Any]:
    runs = view.actual is Actual.RUNNING and view.started_at_ms is not None
    uptime_ms = max(0, now_ms - (view.started_at_ms or now_ms)) if runs else None
    left_ms = None if view.end_at_ms is None else max(0, view.end_at_ms - now_ms)
    left = "" if left_ms is None else f"{left_ms // 86_400_000} days"
    age_s = max(0, now_ms - view.signed_at_ms) / MS_PER_S
    return {
        "start_date": seconds(view.signed_at_ms),
        "end_date": seconds(view.end_at_ms),
        "duration": None if left_ms is None else left_ms / MS_PER_S,
        "time_remaining": left,
        "time_remaining_isbid": left if view.kind is Kind.INTERRUPTIBLE else "",
        "uptime_mins": None if uptime_ms is None else uptime_ms / 60_000,
        "client_run_time": age_s,
        "host_run_time": age_s,
    }


def _money(view: InstanceView) -> dict[str, Any]:
    by_bid = view.kind is Kind.INTERRUPTIBLE
    # Under uniform pricing a bid that holds its GPUs pays less than it offers.
    pays = view.gpu_price if by_bid and view.held and view.gpu_price is not None else view.gpu_rate
    gpu = dollars(pays)
    disk = dollars(storage_rate(NanoUsdPerGbMonth(view.disk_price), view.disk_mb))
    total = gpu + disk
    floor = with_fee(view.bid_floor * len(view.gpus), view.platform_fee_ppm)
    model = view.hardware.gpu_model
    dlperf = view.hardware.dlperf * _share(view)
    ram_mb = model.ram_mb * len(view.gpus)
    saved = total * (view.discount_ppb or 0) / PPB
    most = total * view.credit_discount_max
    return {
        "dph_base": gpu,
        "dph_total": total,
        "storage_cost": view.disk_price / NANO,
        "storage_total_cost": disk,
        "vram_costperhour": gpu / ram_mb if ram_mb else 0.0,
        "inet_up_cost": dollars(view.up_price),
        "inet_down_cost": dollars(view.down_price),
        "internet_up_cost_per_tb": dollars(view.up_price) * 1_000,
        "internet_down_cost_per_tb": dollars(view.down_price) * 1_000,
        "min_bid": dollars(floor),
        "is_bid": by_bid,
        "rental_type": view.kind.value,
        "search": Prices(gpu, disk, total, most, total - most),
        "instance": Prices(gpu, disk, total, saved, total - saved),
        "dlperf_per_dphtotal": dlperf / total if total else 0.0,
        "flops_per_dphtotal": model.tflops * len(view.gpus) / total if total else 0.0,
    }


def _deposit(view: InstanceView, now_ms: int) -> dict[str, Any]:
    left = view.deposit_left(now_ms)
    if left is None or view.discount_ppb is None:
        return {}
    return {"credit_balance": dollars(left), "credit_discount": view.discount_ppb / PPB}
