"""A market of offers to measure searches on: machines of many kinds, as the catalog's own rows."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from mercato.control.api.offer_book import rows_of
from mercato.control.store.sales import Sale
from mercato.market.hardware import Cpu, Disk, Gpu, GpuModel, Hardware, Network, Place
from mercato.market.ids import AccountId, ContractId, ListingId, MachineId
from mercato.market.listing import Listing, Prices
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, nano

NOW_MS = 1_800_000_000_000
OFFERS_A_MACHINE = 15
"""Eight GPUs in slices of one, two, four and eight."""

_GPUS = (
    # name, GB, bandwidth, TFLOPS, DLPerf of one, capability, dollars, share of the market
    ("RTX 4090", 24, 1_008, 82.6, 95.0, 890, 0.34, 30),
    ("RTX 3090", 24, 936, 35.6, 48.0, 860, 0.19, 22),
    ("RTX 3080", 10, 760, 29.8, 38.0, 860, 0.13, 12),
    ("A100 SXM4", 80, 2_039, 19.5, 120.0, 800, 0.95, 9),
    ("H100 SXM", 80, 3_350, 66.9, 260.0, 900, 2.10, 8),
    ("RTX 5090", 32, 1_792, 104.8, 150.0, 1_200, 0.55, 6),
    ("L40S", 48, 864, 91.6, 88.0, 890, 0.70, 5),
    ("RTX A6000", 48, 768, 38.7, 56.0, 860, 0.42, 4),
    ("H200", 141, 4_800, 66.9, 300.0, 900, 2.80, 3),
    ("Tesla V100", 16, 900, 15.7, 21.0, 700, 0.12, 1),
)
_PLACES = (
    *(("Texas", "US"), ("Oregon", "US"), ("Virginia", "US"), ("Frankfurt", "DE")),
    *(("Stockholm", "SE"), ("Oslo", "NO"), ("Warsaw", "PL"), ("Quebec", "CA"), ("Tokyo", "JP")),
    *(("Sofia", "BG"), ("Madrid", "ES"), ("Taipei", "TW")),
)
_CPUS = (("EPYC 7763", 128), ("Xeon Platinum 8468", 192), ("Ryzen 9 7950X", 32))

Row = dict[str, object]


@dataclass(frozen=True)
class Market:
    """A seed and a size; the same ones make the same market."""

    offers: int
    seed: int = 7

    def machines(self) -> int:
        """How many it takes."""
        return -(-self.offers // OFFERS_A_MACHINE)

    def rows(self, machines: range | None = None) -> Iterator[dict[int, Row]]:
        """Every machine's offers, by id."""
        for number in machines or range(1, self.machines() + 1):
            yield rows_of(sale(number, random.Random(f"{self.seed} {number}")))


def sale(number: int, luck: random.Random) -> Sale:
    """One machine on sale."""
    [kind] = luck.choices(_GPUS, [each[-1] for each in _GPUS])
    name, ram_gb, bandwidth, tflops, dlperf, capability, price, _ = kind
    cpu, cores = luck.choice(_CPUS)
    region, country = luck.choice(_PLACES)
    asked = price * luck.uniform(0.7, 1.6)
    held = {gpu: ContractId(1) for gpu in range(8) if luck.random() < 0.25}
    return Sale(
        machine=MachineId(number),
        host=AccountId(1 + number % 997),
        hardware=Hardware(
            gpu_model=GpuModel(
                name=name,
                ram_mb=ram_gb * 1_000 + 510,
                mem_bw_gbps=float(bandwidth),
                pcie_bw_gbps=round(luck.uniform(10, 26), 1),
                compute_cap=capability,
                cuda_max=luck.choice((12.2, 12.4, 12.6, 12.8)),
                driver_version=f"{luck.choice((535, 550, 570))}.{luck.randrange(30, 180)}.01",
                tflops=tflops,
                power_w_max=450.0,
                temp_c_max=88.0,
            ),
            gpus=tuple(Gpu(index=index, uuid=f"GPU-{number}-{index}") for index in range(8)),
            cpu=Cpu(
                name=cpu, cores=cores, ghz=3.1, ram_mb=luck.choice((128, 256, 512, 1024)) * 1_000
            ),
            disk=Disk(name="NVMe", size_gb=luck.uniform(300, 8_000), read_mbps=5_000.0),
            network=Network(
                down_mbps=round(luck.uniform(80, 9_000), 1),
                up_mbps=round(luck.uniform(40, 5_000), 1),
                public_ip=f"192.0.2.{number % 254}",
                static_ip=luck.random() < 0.4,
            ),
            place=Place(region=region, country=country),
            hostname=f"rack-{number}",
            os_version="24.04",
            mobo_name="H13SSL",
            dlperf=dlperf * 8 * luck.uniform(0.9, 1.05),
            reliability=1 - luck.random() ** 3 * 0.2,
        ),
        verification="verified" if luck.random() < 0.7 else "unverified",
        generation=(1, True),
        joined_at_ms=NOW_MS - 90 * 86_400_000,
        listed_at_ms=NOW_MS - 30 * 86_400_000,
        listing=Listing(
            id=ListingId(number),
            machine=MachineId(number),
            prices=Prices(
                gpu=NanoUsdPerHour(nano(round(asked, 4))),
                disk=NanoUsdPerGbMonth(nano(round(luck.uniform(0.05, 0.3), 3))),
                up=NanoUsdPerGb(nano("0.002")),
                down=NanoUsdPerGb(nano("0.001")),
                bid_floor=NanoUsdPerHour(nano(round(asked * 0.5, 4))),
            ),
            min_chunk=1,
            end_at_ms=NOW_MS + luck.randrange(1, 300) * 86_400_000,
            credit_discount_max=luck.choice((0.0, 0.2, 0.4)),
            platform_fee_ppm=0,
        ),
        held=held,
        firm=frozenset(held),
        claims=(),
        disk_free_mb=int(luck.uniform(100_000, 4_000_000)),
        volumes=None,
        volumes_rented_mb=0,
    )


DEFAULTS: Row = {
    "verified": {"eq": True},
    "external": {"eq": False},
    "rentable": {"eq": True},
    "rented": {"eq": False},
}
"""What clients ask unless told otherwise."""


def queries(count: int, seed: int = 11) -> list[tuple[str, Row]]:
    """Searches of six kinds, in turn, each with the name of its kind."""
    luck = random.Random(seed)
    return [(kind := "ABCDEF"[number % 6], _KINDS[kind](luck)) for number in range(count)]


def _broad(luck: random.Random) -> Row:
    """Nothing but the defaults, by score."""
    return {**DEFAULTS, "allocated_storage": float(luck.choice((5, 8, 20, 50)))}


def _model(luck: random.Random) -> Row:
    """Of some models, reliable, cheapest first."""
    names = luck.sample([each[0] for each in _GPUS[:7]], 2)
    return {
        **DEFAULTS,
        "gpu_name": {"in": names},
        "num_gpus": {"eq": luck.choice((1, 2, 4, 8))},
        "reliability": {"gte": luck.choice((0.9, 0.95, 0.98))},
        "dph_total": {"lte": luck.uniform(0.5, 8.0)},
        "order": [["dph_total", "asc"]],
    }


def _near(luck: random.Random) -> Row:
    """In some countries with a good line, best value first."""
    return {
        **DEFAULTS,
        "geolocation": {"in": luck.sample([each[1] for each in _PLACES], 2)},
        "gpu_ram": {"gte": float(luck.choice((16_000, 24_000, 40_000)))},
        "cuda_max_good": {"gte": 12.4},
        "inet_down": {"gte": float(luck.choice((200, 500, 1_000)))},
        "order": [["dlperf_per_dphtotal", "desc"]],
    }


def _with_disk(luck: random.Random) -> Row:
    """By a price that depends on the disk asked for, which no stored index can serve."""
    return {
        **DEFAULTS,
        "num_gpus": {"gte": 2},
        "allocated_storage": float(luck.choice((200, 500, 1_000))),
        "order": [["dph_total", "asc"]],
    }


def _rare(luck: random.Random) -> Row:
    """What there is almost none of."""
    return {
        **DEFAULTS,
        "gpu_name": {"eq": "Tesla V100"},
        "num_gpus": {"eq": 8},
        "inet_up": {"gte": luck.uniform(4_500, 4_990)},
        "reliability": {"gte": 0.99},
        "order": [["dph_total", "asc"]],
    }


def _odd(luck: random.Random) -> Row:
    """In an order that few ask for."""
    column, way = luck.choice((("inet_down", "desc"), ("cpu_ram", "asc"), ("disk_space", "desc")))
    return {**DEFAULTS, "gpu_ram": {"gte": 20_000.0}, "order": [[column, way]]}


_KINDS = {"A": _broad, "B": _model, "C": _near, "D": _with_disk, "E": _rare, "F": _odd}
KINDS = {kind: (make.__doc__ or "").rstrip(".") for kind, make in _KINDS.items()}
