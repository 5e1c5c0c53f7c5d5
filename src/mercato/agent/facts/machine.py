"""All the facts of a machine together."""

import platform
import socket
from pathlib import Path
from typing import Final

from mercato.agent.facts.cpu import read_cpu
from mercato.agent.facts.disk import read_disk
from mercato.agent.facts.gpu import read_gpus
from mercato.agent.facts.net import read_network
from mercato.market.hardware import Gpu, GpuModel, Hardware

DOCKER_ROOT: Final = Path("/var/lib/docker")

PRETEND_GPUS: Final = 2
"""How many GPUs a machine without any pretends to have."""

_PRETEND_MODEL: Final = GpuModel(
    name="Pretend GPU", ram_mb=16_384, compute_cap=890, cuda_max=12.8, tflops=1.0
)


def read_hardware(
    port_first: int, port_last: int, public_ip: str | None = None, disk_root: Path = DOCKER_ROOT
) -> Hardware:
    """What this machine has. Without a GPU it pretends to have two, and says so."""
    found = read_gpus()
    if found is None:
        model, gpus = _PRETEND_MODEL, pretend_gpus(PRETEND_GPUS)
    else:
        model, gpus = found
    return Hardware(
        gpu_model=model,
        gpus=gpus,
        cpu=read_cpu(),
        disk=read_disk(disk_root),
        network=read_network(port_first, port_last, public_ip),
        os_version=_os_version(),
        mobo_name=_board(),
        hostname=socket.gethostname(),
        simulated=found is None,
        dlperf=float(PRETEND_GPUS) if found is None else 0.0,
    )


def pretend_gpus(count: int) -> tuple[Gpu, ...]:
    """GPUs that are only declared."""
    return tuple(Gpu(index=index, uuid=f"PRETEND-{index}") for index in range(count))


def _os_version() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.release()
    return release.get("VERSION_ID") or release.get("PRETTY_NAME", "")


def _board() -> str:
    name = Path("/sys/class/dmi/id/board_name")
    try:
        return name.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
