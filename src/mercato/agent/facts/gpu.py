"""The GPUs, as the driver's management library sees them."""

import contextlib
from collections.abc import Callable
from typing import Final, TypeVar

import pynvml

from mercato.agent.facts.models import canonical_name
from mercato.market.hardware import Gpu, GpuModel

T = TypeVar("T")

_PCIE_GBPS_PER_LANE: Final = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
_FLOPS_PER_CORE_AND_CLOCK: Final = 2
_NVLINK_GBPS_PER_LINK: Final = 50.0


def read_gpus() -> tuple[GpuModel, tuple[Gpu, ...]] | None:
    """The machine's GPUs and what they have in common; None when it has none or no driver.

    GPUs of another model than the first are left out: a machine is of one model.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        if not handles:
            return None
        name = _text(pynvml.nvmlDeviceGetName(handles[0]))
        gpus = tuple(
            Gpu(index=index, uuid=_text(pynvml.nvmlDeviceGetUUID(handle)))
            for index, handle in enumerate(handles)
            if _text(pynvml.nvmlDeviceGetName(handle)) == name
        )
        return _model(handles[0], name), gpus
    except pynvml.NVMLError:
        return None
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _model(handle: object, name: str) -> GpuModel:
    major, minor = _or((0, 0), lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    lanes = _or(16, lambda: int(pynvml.nvmlDeviceGetMaxPcieLinkWidth(handle)))
    generation = _or(4, lambda: int(pynvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)))
    bus_bits = _or(0, lambda: int(pynvml.nvmlDeviceGetMemoryBusWidth(handle)))
    memory_mhz = _or(
        0, lambda: int(pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_MEM))
    )
    core_mhz = _or(0, lambda: int(pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)))
    cores = _or(0, lambda: int(pynvml.nvmlDeviceGetNumGpuCores(handle)))
    cuda = _or(0, lambda: int(pynvml.nvmlSystemGetCudaDriverVersion()))
    shutdown = pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN
    return GpuModel(
        name=canonical_name(name),
        ram_mb=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) // 2**20,
        mem_bw_gbps=round(2 * memory_mhz * bus_bits / 8 / 1_000, 1),
        lanes=lanes,
        pci_gen=float(generation),
        pcie_bw_gbps=round(lanes * _PCIE_GBPS_PER_LANE.get(generation, 0.0), 1),
        nvlink_bw_gbps=_nvlinks(handle) * _NVLINK_GBPS_PER_LINK,
        power_w_max=_or(
            0.0, lambda: pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1] / 1_000
        ),
        temp_c_max=_or(
            0.0, lambda: float(pynvml.nvmlDeviceGetTemperatureThreshold(handle, shutdown))
        ),
        display_active=_or(False, lambda: bool(pynvml.nvmlDeviceGetDisplayActive(handle))),  # noqa: FBT003 - the fact when it cannot be read
        compute_cap=100 * major + 10 * minor,
        cuda_max=cuda // 1_000 + cuda % 1_000 // 10 / 10,
        driver_version=_or("", lambda: _text(pynvml.nvmlSystemGetDriverVersion())),
        tflops=round(cores * core_mhz * _FLOPS_PER_CORE_AND_CLOCK / 1e6, 1),
    )


def _nvlinks(handle: object) -> int:
    """How many NVLink links are up."""
    up = 0
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        try:
            up += int(pynvml.nvmlDeviceGetNvLinkState(handle, link))
        except pynvml.NVMLError:
            break
    return up


def _or(otherwise: T, read: Callable[[], T]) -> T:
    """A reading, or `otherwise` where this GPU or its driver has no such thing."""
    try:
        return read()
    except (pynvml.NVMLError, AttributeError):
        return otherwise


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
