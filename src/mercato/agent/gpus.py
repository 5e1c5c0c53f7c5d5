"""The GPUs with which a machine joined, and which of them can be had now.

The driver numbers what it finds; what was rented is known by its UUID. One that is gone is never
replaced by another, nor by none.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from mercato.agent.engine import StepFailed
from mercato.agent.facts.gpu import read_uuids

DRIVER_S: Final = 20.0
"""A driver that has not said in this time which GPUs there are counts as having none."""


class Gpus:
    """The GPUs of one machine, as containers get them."""

    def __init__(self, uuids: Mapping[int, str], none_may_be_had: str = "") -> None:
        """Take the UUID of each index; none when they are only declared.

        `none_may_be_had` is why no container gets one; empty when each may.
        """
        self._uuids = uuids
        self._none_may_be_had = none_may_be_had
        self._gone: frozenset[int] = frozenset()
        self._asked: Future[frozenset[str]] | None = None

    @property
    def trouble(self) -> str:
        """What is wrong with them for the host to put right; empty when nothing is."""
        if self._none_may_be_had or not self._gone:
            return self._none_may_be_had
        named = ", ".join(f"{index} ({self._uuids[index]})" for index in sorted(self._gone))
        return f"GPU {named} cannot be read: it or its driver has failed; nothing starts on it"

    async def look(self) -> None:
        """See which of them are there: none while the driver does not answer."""
        if self._uuids:
            here = await self._here()
            self._gone = frozenset(i for i, uuid in self._uuids.items() if uuid not in here)

    async def _here(self) -> frozenset[str]:
        if self._asked is None or self._asked.done():
            self._asked = Future()
            # In no thread that others need, nor that the agent's end waits for: it may hang.
            threading.Thread(target=_ask_driver, args=(self._asked,), daemon=True).start()
        asked = asyncio.wrap_future(self._asked)
        done, _ = await asyncio.wait({asked}, timeout=DRIVER_S)
        return asked.result() if done else frozenset()

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


def _ask_driver(asked: "Future[frozenset[str]]") -> None:
    try:
        asked.set_result(read_uuids())
    except Exception as fault:  # noqa: BLE001 - told to who asked
        asked.set_exception(fault)
