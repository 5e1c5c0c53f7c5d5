"""Volumes on the disk: a directory each, which the engine mounts as a volume of its own.

Where the host can, the directory is the mount of a file system of the volume's size
(volume_image.py), so that no volume outgrows it; elsewhere it is a plain one. A volume stands under
its final name only when it is whole, so that being killed in the middle of a copy leaves nothing
that could be taken for a volume.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from mercato.agent import volume_image
from mercato.agent.engine import StepFailed
from mercato.wire.agent import DesiredVolume

_log = structlog.get_logger()

_COPYING: Final = ".copying"
_IMAGE: Final = ".img"


class VolumeStore:
    """The volumes of one machine."""

    def __init__(self, root: Path) -> None:
        """Keep them under `root`, which is made with the first."""
        self._root = root
        self.unbounded: str | None = None
        """Why volumes cannot be kept within their size; empty when they can; None: not known."""
        self._mounting = asyncio.Lock()
        self._tidy = False

    def path(self, volume: int) -> Path:
        """Where a volume's files are."""
        return self._root / str(volume)

    def ids(self) -> frozenset[int]:
        """The volumes that are there and whole."""
        names = [path.name.removesuffix(_IMAGE) for path in self._entries()]
        return frozenset(int(name) for name in names if name.isdigit())

    async def look(self) -> frozenset[int]:
        """The same, with what a killed agent left half done out of the way."""
        if not self._tidy:
            self._tidy = True
            try:
                await self._clear_drafts()
            except (StepFailed, OSError) as failure:
                _log.warning("half a volume is left", why=str(failure))
        return self.ids()

    async def ready(self, volume: int) -> Path:
        """A volume's directory with its files in it; after a power cut they are not by themselves.

        Refuses with StepFailed.
        """
        path, image = self.path(volume), self._image(volume)
        async with self._mounting:
            if image.exists() and not volume_image.is_mounted(path):
                await volume_image.mount(image, path)
        return path

    async def make(self, volume: DesiredVolume) -> None:
        """Make a volume, with the contents of the one it is a clone of. Again is no harm.

        Refuses with StepFailed.
        """
        if volume.id in self.ids():
            return
        source = None
        if volume.clone_of is not None:
            if volume.clone_of not in self.ids():
                raise StepFailed(f"volume {volume.clone_of}, of which it is a clone, is not here")
            source = await self.ready(volume.clone_of)
        draft = self._draft(volume.id)
        if await self._can_bound():
            image = self._image_draft(volume.id)
            await volume_image.make(image, volume.size_mb, draft, source)
            image.rename(self._image(volume.id))
            return
        await volume_image.run("rm", "-rf", str(draft))
        draft.mkdir(parents=True, mode=0o755)
        if source is not None:
            await volume_image.run("cp", "-a", "--reflink=auto", f"{source}/.", str(draft))
        draft.rename(self.path(volume.id))

    async def remove(self, volume: int) -> None:
        """Remove a volume and what is left of a copy. Refuses with StepFailed."""
        path, draft = self.path(volume), self._draft(volume)
        await volume_image.unmount(draft)
        if self._image(volume).exists():
            await volume_image.unmount(path)
            self._image(volume).unlink()
        elif path.exists():
            # First out of the way: half a volume must not be taken for one.
            path.rename(draft)
        await volume_image.run("rm", "-rf", str(draft), str(self._image_draft(volume)))

    async def release(self) -> None:
        """Have nothing mounted; the volumes stay. Refuses with StepFailed."""
        async with self._mounting:
            for volume in self.ids():
                if self._image(volume).exists():
                    await volume_image.unmount(self.path(volume))

    async def _clear_drafts(self) -> None:
        for path in self._entries():
            if path.name.endswith(_IMAGE + _COPYING):
                await volume_image.unmount(path.with_name(path.name.replace(_IMAGE, "")))
                path.unlink()

    def _draft(self, volume: int) -> Path:
        return self._root / f"{volume}{_COPYING}"

    def _image_draft(self, volume: int) -> Path:
        return self._root / f"{volume}{_IMAGE}{_COPYING}"

    def _image(self, volume: int) -> Path:
        return self._root / f"{volume}{_IMAGE}"

    def _entries(self) -> Iterable[Path]:
        return list(self._root.iterdir()) if self._root.is_dir() else []

    async def _can_bound(self) -> bool:
        async with self._mounting:
            if self.unbounded is None:
                self._root.mkdir(parents=True, exist_ok=True)
                self.unbounded = await volume_image.why_not(self._root)
                if self.unbounded:
                    _log.warning("volumes can outgrow their size", why=self.unbounded)
        return not self.unbounded
