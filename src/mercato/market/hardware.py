"""What a machine is made of, as its agent reports it."""

from typing import Final

import msgspec

PORT_MAX: Final = 65_535


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU. All GPUs of a machine are the same model."""

    index: int
    uuid: str
    """NVML's UUID, or `PRETEND-<n>` for a declared GPU."""


class GpuModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the GPUs of one machine have in common."""

    name: str
    """Canonical model name, with spaces: `RTX 4090`, `H100 SXM`."""
    arch: str = "nvidia"
    ram_mb: int
    mem_bw_gbps: float = 0.0
    lanes: int = 16
    pci_gen: float = 4.0
    pcie_bw_gbps: float = 0.0
    nvlink_bw_gbps: float = 0.0
    power_w_max: float = 0.0
    temp_c_max: float = 0.0
    display_active: bool = False
    compute_cap: int = 0
    """CUDA compute capability times 100: 890 is 8.9."""
    cuda_max: float = 0.0
    driver_version: str = ""
    tflops: float = 0.0
    """Peak fp32 TFLOPS of one GPU."""


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """The processors."""

    name: str
    arch: str = "amd64"
    cores: int
    """Logical cores."""
    ghz: float = 0.0
    has_avx: bool = True
    ram_mb: int


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """The disk that holds images and instances."""

    name: str = ""
    size_gb: float
    """What the agent offers for rent: free space when the machine joined, less a reserve."""
    read_mbps: float = 0.0


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """How the machine is reached."""

    down_mbps: float = 0.0
    up_mbps: float = 0.0
    public_ip: str = "127.0.0.1"
    static_ip: bool = False
    port_first: int = 40_000
    port_last: int = 40_199
    """Inclusive range of TCP and UDP ports that reach the machine from outside."""

    @property
    def ports_can_be(self) -> bool:
        """Whether its ports are a range, and ports."""
        return 1 <= self.port_first <= self.port_last <= PORT_MAX


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the machine stands."""

    region: str = ""
    country: str = "XX"
    """ISO 3166 two-letter code."""


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a machine has; the facts from which its offers are derived."""

    gpu_model: GpuModel
    gpus: tuple[Gpu, ...]
    cpu: Cpu
    disk: Disk
    network: Network = Network()
    place: Place = Place()
    os_version: str = ""
    mobo_name: str = ""
    hostname: str = ""
    vms_enabled: bool = False
    simulated: bool = False
    """True when any of this was declared rather than measured."""
    dlperf: float = 0.0
    """DLPerf score of the whole machine; 0 until known."""
    dlperf_measured: bool = False
    reliability: float | None = None
    """Declared reliability of a simulated machine; None when it is to be earned."""

    @property
    def gpu_count(self) -> int:
        """How many GPUs the machine has."""
        return len(self.gpus)
