"""A file system in a file: what keeps a volume within its size, on any file system of the host.

The file has holes: it takes as much of the host's disk as is written into it. It is mounted while
its volume may be used; where the host cannot do that, a volume is a plain directory.
"""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

from mercato.agent.engine import StepFailed

BYTES_PER_MB: Final = 1_000_000
_PROGRAMS: Final = ("mkfs.ext4", "mount", "umount")
_OPTIONS: Final = "loop,nosuid,nodev,discard,noinit_itable"
"""What a renter deletes is given back to the host's disk, and no holes are filled in idle hours."""
_PROBE_MB: Final = 2


async def why_not(root: Path) -> str:
    """Why no file system can be mounted below `root`; empty when one can: it is tried."""
    if os.geteuid() != 0:
        return "the agent does not run as root"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"there is no {', '.join(missing)}"
    image, at = root / "probe.img", root / "probe"
    try:
        await make(image, _PROBE_MB, at)
    except StepFailed as failure:
        return str(failure)
    finally:
        image.unlink(missing_ok=True)
    return ""


async def make(image: Path, size_mb: int, at: Path, source: Path | None = None) -> None:
    """Make a file system of a size, with the files of `source`; it is mounted at `at` meanwhile.

    Again begins anew. Refuses with StepFailed.
    """
    await unmount(at)
    with image.open("wb") as file:
        file.truncate(size_mb * BYTES_PER_MB)
    lazily = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    await run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", lazily, str(image))
    await mount(image, at)
    try:
        (at / "lost+found").rmdir()
        if source is not None:
            await run("cp", "-a", f"{source}/.", str(at))
    finally:
        await unmount(at)


async def mount(image: Path, at: Path) -> None:
    """Have the files of an image at a directory. Refuses with StepFailed."""
    await run("mkdir", "-p", str(at))
    await run("mount", "-t", "ext4", "-o", _OPTIONS, str(image), str(at))


async def unmount(at: Path) -> None:
    """Have nothing at a directory any more, nor the directory. Refuses with StepFailed."""
    while is_mounted(at):
        await run("umount", str(at))
    _drop(at)


def _drop(directory: Path) -> None:
    """Remove a directory in which there is nothing."""
    with contextlib.suppress(OSError):
        directory.rmdir()


def is_mounted(at: Path) -> bool:
    """Whether a file system is mounted at a directory."""
    return os.path.ismount(at)


async def run(*command: str) -> None:
    """Run a program. Refuses with StepFailed, in the program's own words."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = complaint.decode(errors="replace").strip()
        if "no space left" in said.lower():
            raise StepFailed("no space is left for its files")
        raise StepFailed(f"the volume's files could not be handled: {said[-300:]}")
