"""The processors and the memory."""

import os
import platform
from pathlib import Path

from mercato.market.hardware import Cpu

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def read_cpu() -> Cpu:
    """The machine's own processors and memory."""
    machine = platform.machine()
    described = _described()
    return Cpu(
        name=described.get("model name", "") or platform.processor() or machine,
        arch=_ARCHITECTURES.get(machine, machine),
        cores=os.cpu_count() or 1,
        ghz=round(float(described.get("cpu MHz", 0.0)) / 1_000, 2),
        has_avx="avx" in described.get("flags", "").split(),
        ram_mb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1_000_000,
    )


def _described() -> dict[str, str]:
    """The first processor, in the kernel's words."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
