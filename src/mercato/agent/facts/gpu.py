"""The GPUs, as the driver's management library sees them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import pynvml

from mercato.agent.facts.models import canonical_name
from mercato.market.hardware import Gpu, GpuModel

T = TypeVar("T")

_PCIE_GBPS_PER_LANE: Final = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
_FLOPS_PER_CORE_AND_CLOCK: Final = 2
_NVLINK_GBPS_PER_LINK: Final = 50.0


@dataclass(frozen=True)
class _Shown:
    """One GPU that the driver shows."""

    index: int
    handle: object
    uuid: str
    """Empty when the GPU cannot be read."""
    name: str


def read_gpus() -> tuple[GpuModel, tuple[Gpu, ...]] | None:
    """The machine's GPUs and what they have in common; None when it has none or no driver.

    GPUs of another model than the first are left out: a machine is of one model. So are those that
    cannot be read; see `read_unreadable`.
    """
    with _driver() as shown:
        whole = [each for each in shown if each.uuid]
        if not whole:
            return None
        first = whole[0]
        gpus = tuple(Gpu(index=it.index, uuid=it.uuid) for it in whole if it.name == first.name)
        try:
            return _model(first.handle, first.name), gpus
        except pynvml.NVMLError:
            return None


def read_uuids() -> frozenset[str]:
    """The UUIDs of all GPUs that can be read; empty when there is none or no driver."""
    with _driver() as shown:
        return frozenset(each.uuid for each in shown if each.uuid)


def read_unreadable() -> tuple[int, ...]:
    """The GPUs that the driver knows of and cannot read, such as one that fell off its bus."""
    with _driver() as shown:
        return tuple(each.index for each in shown if not each.uuid)


@contextlib.contextmanager
def _driver() -> Iterator[list[_Shown]]:
    """Every GPU that the driver shows, while it may be asked about them."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield []
        return
    try:
        count = _or(0, lambda: int(pynvml.nvmlDeviceGetCount()))
        yield [_shown(index) for index in range(count)]
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _shown(index: int) -> _Shown:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError:
        return _Shown(index, None, "", "")
    return _Shown(index, handle, _text(uuid), _text(name))


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
