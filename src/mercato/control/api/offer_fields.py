"""The searchable fields of offers, by the names that clients use, and an offer as a row of them."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mercato.catalog.schema import Ask, Bound, Column, Kind, Schema, Values
from mercato.market.hardware import Hardware
from mercato.market.listing import Listing
from mercato.market.money import HOURS_PER_MONTH, PPM, dollars
from mercato.market.offer import Offer

Floats = NDArray[np.float64]
_OPEN_ENDED_S: Final = 10 * 365 * 86_400.0  # a listing without an end is shown as ten years
_DAY_S: Final = 86_400
_LUCK_SHARE: Final = 0.02
"""How much of a score is luck: equal offers then share the renters who take the first."""

VERICODE: Final = {"unverified": 0, "verified": 1, "deverified": 2}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the market knows of a machine beside its hardware and listing.

    `min_bid` is the least dollars an hour that win this slice now, None when no bid does; `rented`
    is whether a contract has it that no bid can displace; `ports` is how many an instance gets.
    """

    host_id: int
    reliability: float
    verification: str
    datacenter: bool
    min_bid: float | None
    rented: bool
    ports: int
    listed_at_ms: int


def _gpu_price(of: Values, ask: Ask) -> Floats:
    return of("min_bid") if ask.rental == "bid" else of("dph_base")


def _storage_price(of: Values, ask: Ask) -> Floats:
    return of("storage_cost") * (ask.storage_gb / HOURS_PER_MONTH)


def _total_price(of: Values, ask: Ask) -> Floats:
    return _gpu_price(of, ask) + _storage_price(of, ask)


def cost_of(row: Mapping[str, object], storage_gb: Floats, bids: NDArray[np.bool_]) -> Floats:
    """What an offer costs an hour, in dollars, with each of many disks and rental types."""
    base, bid = float(str(row["dph_base"])), float(str(row["min_bid"]))
    storage = float(str(row["storage_cost"])) * (storage_gb / HOURS_PER_MONTH)
    made: Floats = np.where(bids, bid, base) + storage
    return made


def _discounted(of: Values, ask: Ask) -> Floats:
    discounted: Floats = _total_price(of, ask) * (1 - of("credit_discount_max"))
    return discounted


def _per_price(name: str) -> Column:
    return Column(
        {"dlperf": "dlperf_per_dphtotal", "total_flops": "flops_per_dphtotal"}[name],
        Kind.FLOAT,
        compute=lambda of, ask: _ratio(of(name), _total_price(of, ask)),
        bound=_at_most(name) if name == "dlperf" else None,
    )


def _at_most(name: str, factor: float = 1.0) -> Bound:
    return Bound(lambda ask: f"{name} at {_priced_by(ask)}", descending=True, factor=factor)


def _ratio(above: Floats, below: Floats) -> Floats:
    # A free offer has no finite ratio and JSON has no infinity: it is null, and sorts last.
    made: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return made


def _score(of: Values, ask: Ask) -> Floats:
    """Value for money, weighed by reliability and standing, and a little luck."""
    ranked: Floats = (
        _ratio(of("dlperf"), _total_price(of, ask))
        * of("reliability_mult")
        * np.where(of("datacenter") == 1, 1.1, 1.0)
        * np.where(of("verified") == 1, 1.0, 0.9)
        * (1 + _LUCK_SHARE * _luck(of, ask))
    )
    return ranked


def _luck(of: Values, ask: Ask) -> Floats:
    """A number from -1 to 1 for each offer, the same as long as `ask.seed` is (splitmix64)."""
    mixed = of("id").astype(np.uint64) + np.uint64(ask.seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0


def _duration(of: Values, ask: Ask) -> Floats:
    now_s = ask.now_ms / 1_000
    end = np.where(np.isinf(of("end_date")), now_s + _OPEN_ENDED_S, of("end_date"))
    return np.asarray(np.maximum(0, end - now_s), dtype=np.float64)


def _one_space(text: str) -> str:
    return text.replace("_", " ").replace("-", " ")


def _country(text: str) -> str:
    return text.strip()[-2:].upper()


_INTS: Final = [
    "id",
    "ask_contract_id",
    "machine_id",
    "host_id",
    "num_gpus",
    "gpu_ram",
    "gpu_total_ram",
    "gpu_lanes",
    "compute_cap",
    "cpu_cores",
    "cpu_ram",
    "direct_port_count",
    "driver_vers",
    "has_avx",
    "hosting_type",
    "geolocode",
    "vericode",
    "bundle_id",
    "bundled_results",
    "cluster_id",
    "avail_vol_ask_id",
    "nw_disk_min_bw",
    "nw_disk_max_bw",
    "nw_disk_avg_bw",
]
_FLOATS: Final = [
    "gpu_frac",
    "gpu_mem_bw",
    "gpu_max_power",
    "gpu_max_temp",
    "cuda_max_good",
    "bw_nvlink",
    "cpu_cores_effective",
    "cpu_ghz",
    "disk_space",
    "disk_bw",
    "inet_up",
    "inet_down",
    "inet_up_cost",
    "inet_down_cost",
    "internet_up_cost_per_tb",
    "internet_down_cost_per_tb",
    "pci_gen",
    "pcie_bw",
    "dph_base",
    "min_bid",
    "dlperf",
    "total_flops",
    "storage_cost",
    "credit_discount_max",
    "reliability",
    "reliability_mult",
    "expected_reliability",
    "start_date",
    "platform_fee",
    "avail_vol_dph",
    "avail_vol_size",
]
_STRINGS: Final = [
    "gpu_arch",
    "cpu_name",
    "cpu_arch",
    "disk_name",
    "mobo_name",
    "os_version",
    "hostname",
    "public_ipaddr",
    "verification",
    "logo",
    "webpage",
    "resource_type",
]
_TRUTHS: Final = [
    "gpu_display_active",
    "rentable",
    "rented",
    "static_ip",
    "vms_enabled",
    "is_vm_deverified",
    "simulated",
]


class _Price(msgspec.Struct, frozen=True, rename="camel"):
    """What an offer costs an hour, in dollars."""

    gpu_cost_per_hour: float
    disk_hour: float
    total_hour: float
    discount_total_hour: float
    discounted_total_per_hour: float


class _Asked(msgspec.Struct, frozen=True):
    """The members of an offer that depend on the request."""

    dph_base: float | None
    storage_total_cost: float | None
    dph_total: float | None
    discounted_dph_total: float | None
    duration: float | None
    dlperf_per_dphtotal: float | None
    flops_per_dphtotal: float | None
    score: float | None
    rn: float | None
    vram_costperhour: float | None
    is_bid: bool
    dph_total_adj: float
    discount_rate: float
    discounted_hourly: float
    time_remaining: str
    time_remaining_isbid: str
    search: _Price
    instance: _Price


_SPLICED: Final = (
    *("gpu_price", "storage_total_cost", "dph_total", "discounted_dph_total", "duration"),
    *("dlperf_per_dphtotal", "flops_per_dphtotal", "score", "rn", "vram_costperhour"),
)


def _spliced(values: Sequence[float | None], ask: Ask) -> object:
    gpu, disk, total, discounted, duration, dlperf, flops, score, luck, vram = values
    whole, less = total or 0.0, discounted or 0.0
    price = _Price(whole - (disk or 0.0), disk or 0.0, whole, whole - less, less)
    bid = ask.rental == "bid"
    left = f"{int(duration or 0.0) // _DAY_S} days"
    return _Asked(
        dph_base=gpu,
        storage_total_cost=disk,
        dph_total=total,
        discounted_dph_total=discounted,
        duration=duration,
        dlperf_per_dphtotal=dlperf,
        flops_per_dphtotal=flops,
        score=score,
        rn=luck,
        vram_costperhour=vram,
        is_bid=bid,
        dph_total_adj=whole,
        discount_rate=(whole - less) / whole if whole else 0.0,
        discounted_hourly=less,
        time_remaining=left,
        time_remaining_isbid=left if bid else "",
        search=price,
        instance=price,
    )


def _priced_by(ask: Ask) -> str:
    return "min_bid" if ask.rental == "bid" else "dph_base"


def _best(of: str, price: str) -> Callable[[Mapping[str, object]], object]:
    """What `of` divided by the price could be at most: when no disk is asked for."""

    def read(row: Mapping[str, object]) -> object:
        value, cost = row.get(of), row.get(price)
        if not isinstance(value, int | float) or not isinstance(cost, int | float):
            return None
        return value / cost if cost > 0 else float("inf")

    return read


def _best_score(price: str) -> Callable[[Mapping[str, object]], object]:
    """What a score could be at most, without luck."""

    def read(row: Mapping[str, object]) -> object:
        value, weight = _best("dlperf", price)(row), row.get("reliability_mult")
        if not isinstance(value, float) or not isinstance(weight, int | float):
            return None
        standing = 1.0 if row.get("verification") == "verified" else 0.9
        return value * weight * standing * (1.1 if row.get("hosting_type") == 1 else 1.0)

    return read


OFFERS: Final = Schema(
    columns=(
        *(Column(name, Kind.INT) for name in _INTS),
        *(Column(name, Kind.FLOAT) for name in _FLOATS),
        *(Column(name, Kind.STRING) for name in _STRINGS),
        *(Column(name, Kind.BOOL) for name in _TRUTHS),
        Column("gpu_name", Kind.STRING, fold=_one_space),
        Column("geolocation", Kind.STRING, fold=_country),
        Column("external", Kind.BOOL, missing=0.0),
        # A listing without an end ends after any date that is asked for.
        Column("end_date", Kind.FLOAT, missing=float("inf")),
        Column("verified", Kind.BOOL, read=lambda row: row.get("verification") == "verified"),
        Column("datacenter", Kind.BOOL, read=lambda row: row.get("hosting_type") == 1),
        Column(
            "is_bid",
            Kind.BOOL,
            compute=lambda of, ask: np.full(len(of("id")), float(ask.rental == "bid")),
        ),
        Column("duration", Kind.FLOAT, compute=_duration),
        Column("storage_total_cost", Kind.FLOAT, compute=_storage_price),
        Column("dph_total", Kind.FLOAT, compute=_total_price, bound=Bound(_priced_by)),
        Column("discounted_dph_total", Kind.FLOAT, compute=_discounted),
        _per_price("dlperf"),
        _per_price("total_flops"),
        Column(
            "vram_costperhour",
            Kind.FLOAT,
            compute=lambda of, ask: _ratio(_total_price(of, ask), of("gpu_total_ram")),
        ),
        Column(
            "score",
            Kind.FLOAT,
            compute=_score,
            bound=_at_most("score", 1 + _LUCK_SHARE),
        ),
        Column("rn", Kind.FLOAT, compute=_luck),
    ),
    aliases={
        "cuda_vers": "cuda_max_good",
        "display_active": "gpu_display_active",
        "dlperf_usd": "dlperf_per_dphtotal",
        "dph": "dph_total",
        "dphtotal": "dph_total",
        "flops_usd": "flops_per_dphtotal",
        "reliability2": "reliability",
        "gpu_totalram": "gpu_total_ram",
        "ubuntu_version": "os_version",
        "driver_version": "driver_vers",
    },
    units={
        "gpu_totalram_GB": ("gpu_total_ram", 1_000.0),
        "gpu_ram_GB": ("gpu_ram", 1_000.0),
        "cpu_ram_GB": ("cpu_ram", 1_000.0),
    },
    at_least={"allocated_storage": "disk_space", "target_reliability": "expected_reliability"},
    text_units={
        "cpu_ram": 1_000.0,
        "gpu_ram": 1_000.0,
        "gpu_total_ram": 1_000.0,
        "duration": 86_400.0,
    },
    ignored=frozenset(
        {
            "disable_bundling",
            "extra_ids",
            "gpu_option",
            "show_incompatible",
            "sort_option",
            "template_id",
        }
    ),
    unshown=frozenset({"dph_base"}),
    splice_from=_SPLICED,
    spliced=_spliced,
    hidden=(
        Column("gpu_price", Kind.FLOAT, compute=_gpu_price),
        *(
            Column(f"{name} at {price}", Kind.FLOAT, read=read)
            for price in ("dph_base", "min_bid")
            for name, read in (("score", _best_score(price)), ("dlperf", _best("dlperf", price)))
        ),
    ),
)


_NOTHING_OF_THESE: Final[Mapping[str, object]] = {
    "is_vm_deverified": False,
    "bundle_id": None,
    "bundled_results": None,
    "cluster_id": None,
    "avail_vol_ask_id": None,
    "avail_vol_dph": None,
    "avail_vol_size": None,
    "nw_disk_min_bw": None,
    "nw_disk_max_bw": None,
    "nw_disk_avg_bw": None,
    "logo": None,
    "webpage": None,
    "error_description": None,
}
"""What clients look for and this market has nothing to say of: offers stand each for itself."""


def row_of(
    offer: Offer, listing: Listing, hardware: Hardware, standing: Standing
) -> dict[str, object]:
    """An offer as a row of the catalog; prices in dollars, sizes in the API's units."""
    share = len(offer.gpus) / offer.gpus_total
    model, cpu = hardware.gpu_model, hardware.cpu
    parts = [*model.driver_version.split("."), "0", "0"][:3]
    # The last of its digits, for Python refuses to read very many.
    major, minor, patch = (int(one[-9:]) if one.isdecimal() else 0 for one in parts)
    up, down = dollars(offer.up), dollars(offer.down)
    return {
        "id": offer.id,
        "ask_contract_id": offer.id,
        "machine_id": offer.machine,
        "host_id": standing.host_id,
        "num_gpus": len(offer.gpus),
        "gpu_ids": list(offer.gpus),
        "gpu_frac": share,
        **_gpu_fields(hardware, len(offer.gpus)),
        "driver_vers": major * 1_000_000 + minor * 1_000 + patch,
        "cpu_name": cpu.name,
        "cpu_arch": cpu.arch,
        "cpu_cores": cpu.cores,
        "cpu_cores_effective": cpu.cores * share,
        "cpu_ghz": cpu.ghz,
        "cpu_ram": cpu.ram_mb,
        "has_avx": int(cpu.has_avx),
        "disk_name": hardware.disk.name,
        "disk_bw": hardware.disk.read_mbps,
        "disk_space": offer.disk_free_mb / 1_000,
        **_place_fields(hardware),
        "inet_up_cost": up,
        "inet_down_cost": down,
        "internet_up_cost_per_tb": up * 1_000,
        "internet_down_cost_per_tb": down * 1_000,
        "direct_port_count": standing.ports,
        "dph_base": dollars(offer.gpu),
        "min_bid": standing.min_bid,
        "storage_cost": dollars(offer.disk),
        "credit_discount_max": listing.credit_discount_max,
        "platform_fee": listing.platform_fee_ppm / PPM,
        "dlperf": hardware.dlperf * share,
        "total_flops": model.tflops * len(offer.gpus),
        "reliability": standing.reliability,
        "reliability2": standing.reliability,
        "expected_reliability": standing.reliability,
        "reliability_mult": standing.reliability**10,
        "verification": standing.verification,
        "vericode": VERICODE[standing.verification],
        "hosting_type": int(standing.datacenter),
        "rentable": offer.rentable,
        "rented": standing.rented,
        "external": False,
        "simulated": hardware.simulated,
        "resource_type": "gpu",
        **_NOTHING_OF_THESE,
        "start_date": standing.listed_at_ms / 1_000,
        "end_date": None if offer.end_at_ms is None else offer.end_at_ms / 1_000,
    }


def _gpu_fields(hardware: Hardware, count: int) -> dict[str, object]:
    model = hardware.gpu_model
    return {
        "gpu_name": model.name,
        "gpu_arch": model.arch,
        "gpu_ram": model.ram_mb,
        "gpu_total_ram": model.ram_mb * count,
        "gpu_lanes": model.lanes,
        "gpu_mem_bw": model.mem_bw_gbps,
        "gpu_max_power": model.power_w_max,
        "gpu_max_temp": model.temp_c_max,
        "gpu_display_active": model.display_active,
        "compute_cap": model.compute_cap,
        "cuda_max_good": model.cuda_max,
        "bw_nvlink": model.nvlink_bw_gbps,
        "pci_gen": model.pci_gen,
        "pcie_bw": model.pcie_bw_gbps,
        "driver_version": model.driver_version or None,
    }


def _place_fields(hardware: Hardware) -> dict[str, object]:
    network, place = hardware.network, hardware.place
    return {
        "inet_up": network.up_mbps,
        "inet_down": network.down_mbps,
        "public_ipaddr": network.public_ip,
        "static_ip": network.static_ip,
        "geolocation": (where := f"{place.region}, {place.country}".removeprefix(", ")),
        "geolocode": zlib.crc32(where.encode()),
        "mobo_name": hardware.mobo_name or None,
        "os_version": hardware.os_version,
        "hostname": hardware.hostname or None,
        "vms_enabled": hardware.vms_enabled,
    }
