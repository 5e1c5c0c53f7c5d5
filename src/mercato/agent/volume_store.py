"""Volumes on the disk: one directory each, which the engine mounts as a volume of its own.

A directory stands under its final name only when it is whole, so that being killed in the middle of
a copy leaves nothing that could be taken for a volume.
"""

import asyncio
from pathlib import Path
from typing import Final

from mercato.agent.engine import StepFailed
from mercato.wire.agent import DesiredVolume

_COPYING: Final = ".copying"


class VolumeStore:
    """The volumes of one machine."""

    def __init__(self, root: Path) -> None:
        """Keep them under `root`, which is made with the first."""
        self._root = root

    def path(self, volume: int) -> Path:
        """Where a volume's files are."""
        return self._root / str(volume)

    def ids(self) -> frozenset[int]:
        """The volumes that are there and whole."""
        try:
            names = [path.name for path in self._root.iterdir()]
        except FileNotFoundError:
            return frozenset()
        return frozenset(int(name) for name in names if name.isdigit())

    async def make(self, volume: DesiredVolume) -> None:
        """Make a volume, with the contents of the one it is a clone of. Again is no harm.

        Refuses with StepFailed.
        """
        if volume.id in self.ids():
            return
        fresh = self._root / f"{volume.id}{_COPYING}"
        await _run("rm", "-rf", str(fresh))
        fresh.mkdir(parents=True, mode=0o755)
        if volume.clone_of is not None:
            source = self.path(volume.clone_of)
            if not source.is_dir():
                raise StepFailed(f"volume {volume.clone_of}, of which it is a clone, is not here")
            await _run("cp", "-a", "--reflink=auto", f"{source}/.", str(fresh))
        fresh.rename(self.path(volume.id))

    async def remove(self, volume: int) -> None:
        """Remove a volume and what is left of a copy. Refuses with StepFailed."""
        path = self.path(volume)
        if path.exists():
            # First out of the way: half a volume must not be taken for one.
            path.rename(self._root / f"{volume}{_COPYING}")
        await _run("rm", "-rf", str(self._root / f"{volume}{_COPYING}"))


async def _run(*command: str) -> None:
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
            raise StepFailed("the host's disk is full")
        raise StepFailed(f"the volume's files could not be handled: {said[-300:]}")
