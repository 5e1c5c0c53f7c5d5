"""A machine declared in a file, for development, demonstrations and tests.

Whatever such a machine has in reality, it is marked `simulated`. The recipe is
docs/recipes/declare-hardware.md.
"""

import difflib
import re
import tomllib
from pathlib import Path

import msgspec

from mercato.agent.facts.machine import pretend_gpus
from mercato.agent.facts.models import KNOWN, canonical_name
from mercato.market.hardware import PORT_MAX, Cpu, Disk, GpuModel, Hardware, Network, Place


class BadHardwareFile(Exception):  # noqa: N818 - one line for whoever wrote the file
    """The file cannot be used; the message says where and why."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; a name that it does not know is an error."""


class GpuTable(_Table, frozen=True):
    """`[gpu]`: the model and how many; the rest is known of usual models."""

    model: str
    count: int
    ram_gb: float | None = None
    mem_bw_gbps: float | None = None
    tflops: float | None = None
    power_w: float | None = None
    compute_cap: int | None = None
    """CUDA compute capability times 100."""
    nvlink_bw_gbps: float | None = None
    lanes: int = 16
    pci_gen: float = 4.0
    pcie_bw_gbps: float = 25.0
    cuda_max: float = 12.8
    driver_version: str = "570.86.15"


class CpuTable(_Table, frozen=True):
    """`[cpu]`: processors and memory."""

    name: str = "Pretend CPU"
    arch: str = "amd64"
    cores: int = 16
    ghz: float = 3.0
    ram_gb: float = 64.0


class DiskTable(_Table, frozen=True):
    """`[disk]`: what is offered for instances."""

    name: str = "pretend disk"
    size_gb: float = 500.0
    read_mbps: float = 2_000.0


class NetworkTable(_Table, frozen=True):
    """`[network]`: speeds, address and ports."""

    down_mbps: float = 1_000.0
    up_mbps: float = 1_000.0
    public_ip: str | None = None
    static_ip: bool = True
    port_first: int | None = None
    port_last: int | None = None


class LocationTable(_Table, frozen=True):
    """`[location]`: where it stands."""

    country: str = "XX"
    region: str = ""


class ScoreTable(_Table, frozen=True):
    """`[score]`: what it would have earned."""

    dlperf: float | None = None
    """Of the whole machine."""
    reliability: float | None = None


class HardwareFile(_Table, frozen=True):
    """The whole file."""

    gpu: GpuTable
    cpu: CpuTable = CpuTable()
    disk: DiskTable = DiskTable()
    network: NetworkTable = NetworkTable()
    location: LocationTable = LocationTable()
    score: ScoreTable = ScoreTable()
    hostname: str = ""
    os_version: str = "22.04"
    mobo_name: str = "pretend board"
    vms_enabled: bool = False


def read_hardware_file(path: Path, reached: Network) -> Hardware:
    """The machine that a file declares; `reached` fills in an address and ports left out.

    Refuses with BadHardwareFile.
    """
    try:
        declared = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), HardwareFile)
    except OSError as error:
        raise BadHardwareFile(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadHardwareFile(f"{path}: is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise BadHardwareFile(f"{path}: {_with_hint(str(error))}") from error
    network = _network(declared.network, reached)
    trouble = _nonsense(declared, network)
    if trouble:
        raise BadHardwareFile(f"{path}: {trouble}")
    return _hardware(declared, network)


def _network(declared: NetworkTable, reached: Network) -> Network:
    first, last = declared.port_first, declared.port_last
    return Network(
        down_mbps=declared.down_mbps,
        up_mbps=declared.up_mbps,
        public_ip=declared.public_ip or reached.public_ip,
        static_ip=declared.static_ip,
        port_first=reached.port_first if first is None else first,
        port_last=reached.port_last if last is None else last,
    )


def _nonsense(declared: HardwareFile, network: Network) -> str:
    """What no machine can have; empty when all is well."""
    first, last = network.port_first, network.port_last
    checks = (
        (1 <= declared.gpu.count <= 64, "gpu.count must be from 1 to 64"),
        (declared.cpu.cores >= 1, "cpu.cores must be at least 1"),
        (declared.cpu.ram_gb > 0, "cpu.ram_gb must be above 0"),
        (declared.disk.size_gb > 0, "disk.size_gb must be above 0"),
        (
            network.ports_can_be,
            f"network.port_first to port_last must be a range to {PORT_MAX}, not {first} to {last}",
        ),
        (
            re.fullmatch("[A-Z]{2}", declared.location.country) is not None,
            "location.country must be two capital letters, such as DE",
        ),
        (
            0.0 <= (declared.score.reliability or 0.0) <= 1.0,
            "score.reliability must be from 0 to 1",
        ),
        (
            _model_name(declared.gpu) in KNOWN or declared.gpu.ram_gb is not None,
            f"gpu.model {declared.gpu.model!r} needs gpu.ram_gb; known are {', '.join(KNOWN)}",
        ),
    )
    return "; ".join(complaint for well, complaint in checks if not well)


def _model_name(gpu: GpuTable) -> str:
    return canonical_name(gpu.model.replace("_", " "))


def _hardware(declared: HardwareFile, network: Network) -> Hardware:
    known = KNOWN.get(_model_name(declared.gpu))
    dlperf = declared.score.dlperf
    if dlperf is None:
        dlperf = known.dlperf * declared.gpu.count if known else 0.0
    cpu = declared.cpu
    return Hardware(
        gpu_model=_model(declared.gpu),
        gpus=pretend_gpus(declared.gpu.count),
        cpu=Cpu(
            name=cpu.name,
            arch=cpu.arch,
            cores=cpu.cores,
            ghz=cpu.ghz,
            ram_mb=round(cpu.ram_gb * 1_000),
        ),
        disk=Disk(
            name=declared.disk.name,
            size_gb=declared.disk.size_gb,
            read_mbps=declared.disk.read_mbps,
        ),
        network=network,
        place=Place(region=declared.location.region, country=declared.location.country),
        os_version=declared.os_version,
        mobo_name=declared.mobo_name,
        hostname=declared.hostname,
        vms_enabled=declared.vms_enabled,
        simulated=True,
        dlperf=dlperf,
        reliability=declared.score.reliability,
    )


def _model(gpu: GpuTable) -> GpuModel:
    """The declared model, with what is known of it where the file says nothing."""
    name = _model_name(gpu)
    known = KNOWN.get(name)

    def figure(said: float | None, field: str) -> float:
        if said is not None:
            return said
        return float(getattr(known, field)) if known is not None else 0.0

    ram_mb = round(gpu.ram_gb * 1_024) if gpu.ram_gb is not None else round(figure(None, "ram_mb"))
    return GpuModel(
        name=name,
        ram_mb=ram_mb,
        mem_bw_gbps=figure(gpu.mem_bw_gbps, "mem_bw_gbps"),
        lanes=gpu.lanes,
        pci_gen=gpu.pci_gen,
        pcie_bw_gbps=gpu.pcie_bw_gbps,
        nvlink_bw_gbps=figure(gpu.nvlink_bw_gbps, "nvlink_gbps"),
        power_w_max=figure(gpu.power_w, "power_w"),
        temp_c_max=90.0,
        compute_cap=round(figure(gpu.compute_cap, "compute_cap")),
        cuda_max=gpu.cuda_max,
        driver_version=gpu.driver_version,
        tflops=figure(gpu.tflops, "tflops"),
    )


def _with_hint(complaint: str) -> str:
    """The complaint, with the name that was probably meant."""
    unknown = re.search(r"unknown field `([^`]+)`(?: - at `\$\.(\w+)`)?", complaint)
    if unknown is None:
        return complaint
    tables: dict[str, type[_Table]] = {
        "gpu": GpuTable,
        "cpu": CpuTable,
        "disk": DiskTable,
        "network": NetworkTable,
        "location": LocationTable,
        "score": ScoreTable,
    }
    fields = tables.get(unknown[2] or "", HardwareFile).__struct_fields__
    near = difflib.get_close_matches(unknown[1], fields, n=1)
    place = f"[{unknown[2]}]" if unknown[2] else "the file"
    meant = f"did you mean `{near[0]}`?" if near else f"it may have: {', '.join(fields)}"
    return f"{place} has no `{unknown[1]}`; {meant}"
