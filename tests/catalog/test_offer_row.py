"""Every field of an offer as clients read it: there, of the right type, in the right unit."""

import dataclasses
import types
import typing
from typing import Any

import msgspec
import pytest
from vastai.data.offer import Offer as OfficialOffer

from mercato.catalog.index import Index
from mercato.catalog.language import parse
from mercato.control.api.offer_fields import OFFERS, Standing, row_of
from mercato.market.hardware import Cpu, Disk, Gpu, GpuModel, Hardware, Network, Place
from mercato.market.ids import ListingId, MachineId
from mercato.market.listing import Listing, Prices
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from mercato.market.offer import offers

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
HARDWARE = Hardware(
    gpu_model=GpuModel(
        name="RTX 4090",
        ram_mb=24_564,
        mem_bw_gbps=1_008.0,
        lanes=16,
        pci_gen=4.0,
        pcie_bw_gbps=24.0,
        nvlink_bw_gbps=0.0,
        compute_cap=890,
        cuda_max=12.8,
        driver_version="570.86.05",
        tflops=82.6,
        power_w_max=450.0,
        temp_c_max=90.0,
    ),
    gpus=tuple(Gpu(index=index, uuid=f"GPU-{index}") for index in range(4)),
    cpu=Cpu(name="EPYC", cores=64, ghz=3.1, ram_mb=257_000),
    disk=Disk(name="NVMe", size_gb=1_000.0, read_mbps=5_000.0),
    network=Network(
        public_ip="192.0.2.7", down_mbps=900.0, up_mbps=800.0, static_ip=True,
        port_first=40_000, port_last=40_199,
    ),
    place=Place(country="DE", region="Frankfurt"),
    hostname="rack-1",
    os_version="24.04",
    mobo_name="H13",
    dlperf=380.0,
    reliability=0.99,
)  # fmt: skip
LISTING = Listing(
    id=ListingId(3),
    machine=MachineId(5),
    prices=Prices(
        gpu=NanoUsdPerHour(nano("0.30")),
        disk=NanoUsdPerGbMonth(nano("0.072")),
        up=NanoUsdPerGb(nano("0.002")),
        down=NanoUsdPerGb(nano("0.001")),
        bid_floor=NanoUsdPerHour(nano("0.12")),
    ),
    min_chunk=1,
    end_at_ms=NOW_MS + 30 * DAY_MS,
    credit_discount_max=0.4,
    platform_fee_ppm=250_000,
)

# Field → what the offer of two of the four GPUs says, for a disk of 10 GB, on demand. The host asks
# 0.30 a GPU and hour; with a fee of a quarter the renter pays 0.40.
EXPECTED: dict[str, Any] = {
    "id": 3 * 256 + 2,
    "ask_contract_id": 3 * 256 + 2,
    "machine_id": 5,
    "host_id": 2,
    "num_gpus": 2,
    "gpu_ids": [0, 1],
    "gpu_name": "RTX 4090",
    "gpu_ram": 24_564,
    "gpu_total_ram": 49_128,
    "gpu_frac": 0.5,
    "gpu_arch": "nvidia",
    "gpu_lanes": 16,
    "gpu_mem_bw": 1_008.0,
    "gpu_max_power": 450.0,
    "gpu_max_temp": 90.0,
    "gpu_display_active": False,
    "compute_cap": 890,
    "cuda_max_good": 12.8,
    "bw_nvlink": 0.0,
    "cpu_name": "EPYC",
    "cpu_arch": "amd64",
    "cpu_cores": 64,
    "cpu_cores_effective": 32.0,
    "cpu_ghz": 3.1,
    "cpu_ram": 257_000,
    "disk_space": 450.0,
    "disk_bw": 5_000.0,
    "disk_name": "NVMe",
    "inet_up": 800.0,
    "inet_down": 900.0,
    "inet_up_cost": pytest.approx(0.002 / 0.75),
    "inet_down_cost": pytest.approx(0.001 / 0.75),
    "internet_up_cost_per_tb": pytest.approx(2.0 / 0.75),
    "internet_down_cost_per_tb": pytest.approx(1.0 / 0.75),
    "direct_port_count": 64,
    "pci_gen": 4.0,
    "pcie_bw": 24.0,
    "mobo_name": "H13",
    "os_version": "24.04",
    "driver_version": "570.86.05",
    "driver_vers": 570_086_005,
    "has_avx": 1,
    "dph_base": pytest.approx(0.80),
    "storage_cost": pytest.approx(0.096),
    "storage_total_cost": pytest.approx(0.096 * 10 / 720),
    "dph_total": pytest.approx(0.80 + 0.096 * 10 / 720),
    "dph_total_adj": pytest.approx(0.80 + 0.096 * 10 / 720),
    "discounted_dph_total": pytest.approx(0.6 * (0.80 + 0.096 * 10 / 720)),
    "discounted_hourly": pytest.approx(0.6 * (0.80 + 0.096 * 10 / 720)),
    "discount_rate": pytest.approx(0.4),
    "min_bid": 0.32,
    "is_bid": False,
    "dlperf": 190.0,
    "dlperf_per_dphtotal": pytest.approx(190.0 / (0.80 + 0.096 * 10 / 720)),
    "total_flops": pytest.approx(165.2),
    "flops_per_dphtotal": pytest.approx(165.2 / (0.80 + 0.096 * 10 / 720)),
    "score": pytest.approx(190.0 / (0.80 + 0.096 * 10 / 720) * 0.99**10, rel=0.021),
    "rn": pytest.approx(0.0, abs=1.0),
    "vram_costperhour": pytest.approx((0.80 + 0.096 * 10 / 720) / 49_128),
    "credit_discount_max": 0.4,
    "platform_fee": 0.25,
    "rentable": True,
    "rented": False,
    "external": False,
    "hosting_type": 0,
    "hostname": "rack-1",
    "public_ipaddr": "192.0.2.7",
    "static_ip": True,
    "geolocation": "Frankfurt, DE",
    "geolocode": pytest.approx(2**31, abs=2**31),
    "reliability": 0.99,
    "reliability2": 0.99,
    "reliability_mult": pytest.approx(0.99**10),
    "expected_reliability": pytest.approx(0.99, abs=0.1),
    "verification": "verified",
    "vericode": 1,
    "vms_enabled": False,
    "is_vm_deverified": False,
    "logo": None,
    "webpage": None,
    "error_description": None,
    "resource_type": "gpu",
    "start_date": NOW_MS / 1_000 - 86_400,
    "end_date": NOW_MS / 1_000 + 30 * 86_400,
    "duration": 30 * 86_400.0,
    "time_remaining": "30 days",
    "time_remaining_isbid": "",
    "bundle_id": None,
    "bundled_results": None,
    "cluster_id": None,
    "avail_vol_ask_id": None,
    "avail_vol_dph": None,
    "avail_vol_size": None,
    "nw_disk_min_bw": None,
    "nw_disk_max_bw": None,
    "nw_disk_avg_bw": None,
    "simulated": False,
}
PRICES = {
    "gpuCostPerHour": pytest.approx(0.80),
    "diskHour": pytest.approx(0.096 * 10 / 720),
    "totalHour": pytest.approx(0.80 + 0.096 * 10 / 720),
    "discountTotalHour": pytest.approx(0.4 * (0.80 + 0.096 * 10 / 720)),
    "discountedTotalPerHour": pytest.approx(0.6 * (0.80 + 0.096 * 10 / 720)),
}


def shown(listing: Listing = LISTING, **asked: Any) -> dict[str, Any]:
    """The offer of the first two GPUs, as a search gives it."""
    index = Index(OFFERS)
    standing = Standing(
        host_id=2, reliability=0.99, verification="verified", datacenter=False, min_bid=0.32,
        rented=False, ports=64, listed_at_ms=NOW_MS - DAY_MS,
    )  # fmt: skip
    rows: dict[int, dict[str, object]] = {
        offer.id: row_of(offer, listing, HARDWARE, standing)
        for offer in offers(listing, HARDWARE, {}, 900_000)
    }
    index.change(rows)
    query = parse({"id": {"eq": 3 * 256 + 2}, "allocated_storage": 10, **asked}, OFFERS)
    (row,) = msgspec.json.decode(index.search(query, NOW_MS))
    return dict(row)


@pytest.mark.parametrize("field", EXPECTED)
def test_a_field_says_what_it_should(field: str) -> None:
    row = shown()
    assert row[field] == EXPECTED[field]
    assert isinstance(row[field], bool) == isinstance(EXPECTED[field], bool)


def test_there_is_no_other_field() -> None:
    assert set(shown()) == {*EXPECTED, "search", "instance"}
    assert shown()["search"] == PRICES == shown()["instance"]


@pytest.mark.parametrize("field", dataclasses.fields(OfficialOffer), ids=lambda field: field.name)
def test_the_official_client_finds_its_types(field: "dataclasses.Field[Any]") -> None:
    kind = typing.get_type_hints(OfficialOffer)[field.name]
    allowed = typing.get_args(kind) or (kind,)
    value = shown()[field.name]
    assert isinstance(value, allowed) or (float in allowed and isinstance(value, int)), value
    assert value is not None or types.NoneType in allowed


def test_a_bid_is_priced_at_what_wins() -> None:
    row = shown(type="interruptible")
    assert (row["is_bid"], row["dph_base"]) == (True, 0.32)
    assert row["dph_total"] == pytest.approx(0.32 + 0.096 * 10 / 720)
    assert row["time_remaining_isbid"] == row["time_remaining"] == "30 days"


def test_a_listing_without_an_end_is_open_for_long() -> None:
    assert shown(duration={"gte": 29 * 86_400.0})["id"] == EXPECTED["id"]
    assert shown(allocated_storage=0)["storage_total_cost"] == 0
    endless = msgspec.structs.replace(LISTING, end_at_ms=None)
    later: list[dict[str, Any]] = [
        {"end_date": {"gt": NOW_MS / 1_000}},
        {"duration": {"gte": 86_400.0}},
    ]
    for asked in later:
        row = shown(endless, **asked)
        assert (row["end_date"], row["duration"]) == (None, 3_650 * 86_400.0)


def test_a_machine_without_gpus_has_no_offers() -> None:
    assert offers(LISTING, msgspec.structs.replace(HARDWARE, gpus=()), {}, 900_000) == []


def test_every_field_that_is_a_number_or_a_truth_can_be_searched() -> None:
    row = shown()
    for name, value in row.items():
        if OFFERS.column(name) is None:
            assert name in UNSEARCHED, name
        elif isinstance(value, bool | int | float) and name not in {"rn", "score"}:
            asked: dict[str, Any] = {name: {"gte": value, "lte": value}}
            assert shown(**asked)["id"] == row["id"], name


UNSEARCHED = {
    "gpu_ids", "dph_total_adj", "discount_rate", "discounted_hourly", "time_remaining",
    "time_remaining_isbid", "search", "instance", "error_description",
}  # fmt: skip


def test_luck_is_small_and_stays_for_the_hour_of_an_account() -> None:
    index = Index(OFFERS)
    rows = {
        row: {"id": row, "dlperf": 100.0, "dph_base": 1.0, "reliability_mult": 1.0,
              "storage_cost": 0.0, "min_bid": 0.1, "credit_discount_max": 0.0,
              "verification": "verified", "gpu_total_ram": 1, "total_flops": 1.0}
        for row in range(1, 1_001)
    }  # fmt: skip
    index.change(rows)
    query = parse({"limit": 1_000}, OFFERS)
    scores = [row["score"] for row in msgspec.json.decode(index.search(query, 0, seed=7))]
    assert scores == sorted(scores, reverse=True)
    assert 98.0 <= min(scores) < 99.0
    assert 101.0 < max(scores) <= 102.0
    assert index.search_ids(query, 0, seed=7) == index.search_ids(query, 0, seed=7)
    assert index.search_ids(query, 0, seed=7) != index.search_ids(query, 0, seed=8)
