"""The disk that holds images and instances."""

import os
import shutil
from pathlib import Path
from typing import Final

from mercato.market.hardware import Disk

RESERVE: Final = 0.1
"""The share of the free space that is not offered, for images and the host's own needs."""


def read_disk(root: Path) -> Disk:
    """The disk under `root`: what of its free space is offered, and its name."""
    while not root.exists():
        root = root.parent
    free = shutil.disk_usage(root).free
    return Disk(name=_name(root), size_gb=round(free * (1.0 - RESERVE) / 1e9, 1))


def _name(root: Path) -> str:
    """The disk's model, or its device's name; empty when neither can be found."""
    device = root.stat().st_dev
    node = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if not node.exists():
        return ""
    node = node.resolve()
    whole = node.parent if (node / "partition").exists() else node
    model = whole / "device" / "model"
    return model.read_text(encoding="utf-8").strip() if model.exists() else whole.name
