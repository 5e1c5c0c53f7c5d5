"""GPU models: what each is called in the trade, and what its maker says of it."""

import re
from typing import Final

import msgspec


class ModelFacts(msgspec.Struct, frozen=True):
    """Published figures of one model, for GPUs that are declared and not measured."""

    ram_mb: int
    mem_bw_gbps: float
    tflops: float
    """Peak fp32 of one GPU."""
    power_w: float
    compute_cap: int
    """CUDA compute capability times 100."""
    dlperf: float
    """An estimate for one GPU, where a V100 is 21."""
    nvlink_gbps: float = 0.0


KNOWN: Final = {
    "GTX 1080 Ti": ModelFacts(11_264, 484.0, 11.3, 250.0, 610, 8.5),
    "RTX 2080 Ti": ModelFacts(11_264, 616.0, 13.4, 250.0, 750, 15.0),
    "RTX 3060": ModelFacts(12_288, 360.0, 12.7, 170.0, 860, 11.5),
    "RTX 3070": ModelFacts(8_192, 448.0, 20.3, 220.0, 860, 16.0),
    "RTX 3080": ModelFacts(10_240, 760.0, 29.8, 320.0, 860, 24.0),
    "RTX 3090": ModelFacts(24_576, 936.0, 35.6, 350.0, 860, 29.0),
    "RTX 4070": ModelFacts(12_288, 504.0, 29.1, 200.0, 890, 27.0),
    "RTX 4080": ModelFacts(16_384, 717.0, 48.7, 320.0, 890, 45.0),
    "RTX 4090": ModelFacts(24_576, 1_008.0, 82.6, 450.0, 890, 82.0),
    "RTX 5080": ModelFacts(16_384, 960.0, 56.3, 360.0, 1_200, 75.0),
    "RTX 5090": ModelFacts(32_768, 1_792.0, 104.8, 575.0, 1_200, 125.0),
    "RTX A4000": ModelFacts(16_384, 448.0, 19.2, 140.0, 860, 18.0),
    "RTX A5000": ModelFacts(24_576, 768.0, 27.8, 230.0, 860, 26.0),
    "RTX A6000": ModelFacts(49_152, 768.0, 38.7, 300.0, 860, 34.0),
    "RTX 6000Ada": ModelFacts(49_152, 960.0, 91.1, 300.0, 890, 85.0),
    "Tesla T4": ModelFacts(15_360, 320.0, 8.1, 70.0, 750, 9.0),
    "Tesla V100": ModelFacts(16_384, 900.0, 15.7, 300.0, 700, 21.0, 300.0),
    "A10": ModelFacts(23_028, 600.0, 31.2, 150.0, 860, 25.0),
    "A40": ModelFacts(46_068, 696.0, 37.4, 300.0, 860, 32.0),
    "A100 PCIE": ModelFacts(81_920, 1_935.0, 19.5, 300.0, 800, 62.0),
    "A100 SXM4": ModelFacts(81_920, 2_039.0, 19.5, 400.0, 800, 68.0, 600.0),
    "L4": ModelFacts(23_034, 300.0, 30.3, 72.0, 890, 20.0),
    "L40S": ModelFacts(46_068, 864.0, 91.6, 350.0, 890, 83.0),
    "H100 PCIE": ModelFacts(81_559, 2_039.0, 51.2, 350.0, 900, 140.0),
    "H100 SXM": ModelFacts(81_559, 3_350.0, 66.9, 700.0, 900, 190.0, 900.0),
    "H200": ModelFacts(143_771, 4_800.0, 66.9, 700.0, 900, 215.0, 900.0),
    "B200": ModelFacts(183_359, 8_000.0, 80.0, 1_000.0, 1_000, 420.0, 1_800.0),
}

_SPECIAL: Final = (
    (r"H100.*(HBM3|SXM)", "H100 SXM"),
    (r"H100.*PCIe", "H100 PCIE"),
    (r"H200.*", "H200"),
    (r"A100.*SXM", "A100 SXM4"),
    (r"A100.*PCIe", "A100 PCIE"),
    (r"V100.*", "Tesla V100"),
    (r"Tesla T4|^T4$", "Tesla T4"),
    (r"RTX 6000 Ada.*", "RTX 6000Ada"),
)


def canonical_name(reported: str) -> str:
    """The trade's name of a model, from what its driver calls it: `NVIDIA GeForce RTX 4090`."""
    for pattern, name in _SPECIAL:
        if re.search(pattern, reported, re.IGNORECASE):
            return name
    return re.sub(r"^(NVIDIA\s+)?(GeForce\s+)?", "", reported).strip()
