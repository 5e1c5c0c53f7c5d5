"""What the running containers use, read apart from the looks: it may take the engine a second."""

import asyncio
from collections.abc import Mapping

from mercato.agent.engine import Contained, Engine, EngineDown, Measured, StepFailed
from mercato.agent.memory import Memory
from mercato.wire.agent import Usage


class Measuring:
    """The last reading of each container."""

    def __init__(self, engine: Engine, memory: Memory) -> None:
        """Begin with nothing read; `memory` keeps the byte counters."""
        self._engine = engine
        self._memory = memory
        self._last: dict[int, tuple[Contained, Measured]] = {}

    async def read(self, containers: Mapping[int, Contained]) -> None:
        """Read what each running container uses; nothing changes when the engine is down."""
        running = [container for container in containers.values() if container.running]
        try:
            readings = await asyncio.gather(
                *(self._engine.measure(container.instance) for container in running)
            )
        except (EngineDown, StepFailed):
            return
        self._last = {
            container.instance: (container, reading)
            for container, reading in zip(running, readings, strict=True)
            if reading is not None
        }
        for instance, (container, reading) in self._last.items():
            counters = self._memory.of(instance).counters.seen(container, reading)
            self._memory.change(instance, counters=counters)

    def usage(self, container: Contained | None) -> Usage | None:
        """What a container was last seen to use in its present run; None when it was not read."""
        if container is None or not container.running:
            return None
        read, measured = self._last.get(container.instance, (None, None))
        if read is None or measured is None or read.started_at_ms != container.started_at_ms:
            return None
        return measured.usage
