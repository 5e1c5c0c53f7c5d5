"""What NVIDIA's container toolkit says of its version, where there is one."""

import shutil
import subprocess
from typing import Final

_PROGRAMS: Final = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli")
"""Of one toolkit, and of one version; old ones lack the first."""
_WITHIN_S: Final = 10.0


def read_toolkit() -> str | None:
    """What it answers when asked; None where there is none, empty when it does not say."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        return None
    try:
        asked = subprocess.run(  # noqa: S603 - one of the programs above
            [program, "--version"], capture_output=True, text=True, timeout=_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout
