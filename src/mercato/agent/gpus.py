"""The GPUs with which a machine joined, and which of them can be had now.

The driver numbers what it finds; what was rented is known by its UUID. One that is gone is never
replaced by another, nor by none.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from mercato.agent.engine import StepFailed
from mercato.agent.facts.gpu import read_uuids


class Gpus:
    """The GPUs of one machine, as containers get them."""

    def __init__(self, uuids: Mapping[int, str], none_may_be_had: str = "") -> None:
        """Take the UUID of each index; none when they are only declared.

        `none_may_be_had` is why no container gets one; empty when each may.
        """
        self._uuids = uuids
        self._none_may_be_had = none_may_be_had
        self._gone: frozenset[int] = frozenset()

    @property
    def trouble(self) -> str:
        """What is wrong with them for the host to put right; empty when nothing is."""
        if self._none_may_be_had or not self._gone:
            return self._none_may_be_had
        named = ", ".join(f"{index} ({self._uuids[index]})" for index in sorted(self._gone))
        return f"GPU {named} cannot be read: it or its driver has failed; nothing starts on it"

    async def look(self) -> None:
        """See which of them are there."""
        if self._uuids:
            here = await asyncio.to_thread(read_uuids)
            self._gone = frozenset(i for i, uuid in self._uuids.items() if uuid not in here)

    async def need(self, indices: Sequence[int]) -> None:
        """Refuse with StepFailed unless all of these can be given to a container."""
        if not self._uuids or not indices:
            return
        if self._none_may_be_had:
            raise StepFailed(self._none_may_be_had)
        await self.look()
        self._refuse_gone(indices)

    def requests(self, indices: Sequence[int], info: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Exactly these GPUs as an engine is asked for them; none when they are only declared.

        `info` is what the engine says of itself. Refuses with StepFailed when one is gone.
        """
        if not self._uuids or not indices:
            return []
        self._refuse_gone(indices)
        uuids = [self._uuids[index] for index in indices]
        if "nvidia" in info.get("Runtimes", {}) or not info.get("CDISpecDirs"):
            return [{"Driver": "nvidia", "DeviceIDs": uuids, "Capabilities": [["gpu"]]}]
        return [{"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={uuid}" for uuid in uuids]}]

    def _refuse_gone(self, indices: Sequence[int]) -> None:
        gone = [str(i) for i in indices if i not in self._uuids or i in self._gone]
        if gone:
            raise StepFailed(f"GPU {', '.join(gone)} of this machine is gone")
