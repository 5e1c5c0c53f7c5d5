"""The volumes that should be on the machine and those that are: made, cloned and removed as told.

Each has at most one piece of work under way. What failed is told, and tried again at the next look.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from mercato.agent.engine import Engine, EngineDown, StepFailed
from mercato.wire.agent import DesiredInstance, DesiredVolume, ObservedVolume

_log = structlog.get_logger()


class Volumes:
    """The volumes of one machine."""

    def __init__(self, engine: Engine, changed: Callable[[], None]) -> None:
        """Nothing is known yet. `changed` is called when there is something to tell."""
        self._engine = engine
        self._changed = changed
        self._wanted: dict[int, DesiredVolume] = {}
        self._here: frozenset[int] = frozenset()
        self._work: dict[int, asyncio.Task[None]] = {}
        self._trouble: dict[int, str] = {}

    @property
    def ready(self) -> frozenset[int]:
        """The volumes that can be mounted."""
        return self._here & self._wanted.keys()

    def take(self, wanted: Iterable[DesiredVolume]) -> None:
        """Be told every volume that should be here."""
        self._wanted = {volume.id: volume for volume in wanted}

    async def look(self) -> None:
        """See which volumes are here."""
        self._here = await self._engine.volumes()

    def begin(self) -> None:
        """Begin to make what is missing and to remove what should not be here."""
        for volume in self._wanted.values():
            # A clone is made when the volume of which it is one is here.
            source_here = volume.clone_of is None or volume.clone_of in self._here
            if volume.id not in self._here and source_here:
                self._start(volume.id, volume)
        for volume_id in self._here - self._wanted.keys():
            self._start(volume_id, None)

    def waiting_for(self, instance: DesiredInstance) -> str | None:
        """What an instance that is to be made still waits for, for a person; None when nothing."""
        missing = {mount.volume for mount in instance.mounts} - self.ready
        if not missing:
            return None
        return f"Waiting for volume {', '.join(map(str, sorted(missing)))}"

    def observed(self) -> tuple[ObservedVolume, ...]:
        """Every volume as it is."""
        return tuple(
            ObservedVolume(
                id=volume,
                ready=volume in self.ready,
                message=self._trouble.get(volume, ""),
            )
            for volume in sorted(self._here | self._wanted.keys() | self._work.keys())
        )

    async def finish(self) -> None:
        """Cancel all work and wait for it; what was half done is found by the next look."""
        tasks = list(self._work.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, volume: int, wanted: DesiredVolume | None) -> None:
        if volume in self._work:
            return
        task = asyncio.create_task(self._guarded(volume, wanted))
        self._work[volume] = task
        # Not in the task itself: one that is cancelled before it ran would stay for ever.
        task.add_done_callback(lambda _task: self._ended(volume))

    def _ended(self, volume: int) -> None:
        del self._work[volume]
        # A failure is tried again at the next look and not at once.
        if volume not in self._trouble:
            self._changed()

    async def _guarded(self, volume: int, wanted: DesiredVolume | None) -> None:
        try:
            if wanted is not None:
                await self._engine.make_volume(wanted)
            else:
                await self._engine.remove_volume(volume)
            self._trouble.pop(volume, None)
        except (StepFailed, EngineDown, OSError) as failure:
            self._trouble[volume] = str(failure)
            _log.warning("volume step failed", volume=volume, why=str(failure))
