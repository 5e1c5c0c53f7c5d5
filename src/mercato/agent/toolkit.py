"""Which versions of NVIDIA's container toolkit let a container out onto its host.

The toolkit runs as root on the host for every container that has a GPU. A host with one of these
offers no GPU: whoever rents could take the machine. Pure.
"""

import re
from typing import Final

Version = tuple[int, int, int]

ESCAPES: Final[tuple[tuple[str, Version], ...]] = (
    ("CVE-2024-0132", (1, 16, 2)),
    ("CVE-2025-23359", (1, 17, 4)),
    ("CVE-2025-23266", (1, 17, 8)),
)
"""Ways out of a container that are published, each with the first version that has it closed."""

_VERSION: Final = re.compile(
    r"version:?\s+v?(\d+)\.(\d+)\.(\d+)(?P<before>[-~]?rc)?", re.IGNORECASE
)


def refusal(said: str | None) -> str:
    """Why no GPU may be offered, for the host; empty when one may.

    `said` is what the toolkit's program answers when asked for its version; None where there is
    none, and so no container can have a GPU through it.
    """
    if said is None:
        return ""
    safe = ".".join(map(str, max(fixed for _, fixed in ESCAPES)))
    advice = f"upgrade nvidia-container-toolkit to {safe} or later, then restart the agent"
    found = _VERSION.search(said)
    if found is None:
        return f"the version of this machine's nvidia-container-toolkit cannot be read; {advice}"
    version = (int(found[1]), int(found[2]), int(found[3]))
    is_early = found["before"] is not None  # a candidate came before its release was whole
    known = [name for name, fixed in ESCAPES if version < fixed or (version == fixed and is_early)]
    if not known:
        return ""
    shown = ".".join(map(str, version))
    return (
        f"this machine's nvidia-container-toolkit {shown} lets a container out onto the host "
        f"({', '.join(known)}), so its GPUs are not offered; {advice}"
    )
