"""Runs loops: each by its period and when poked, never two runs of one loop at a time.

There is no retry in here: the next run is the retry. Two servers that run the same loop are
harmless, because every change is one transaction that looks again before it writes.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import anyio.to_thread
import structlog

from mercato.control.clock import Clock
from mercato.control.loops.loop import Loop

TOPIC: Final = "loop:"

_log = structlog.get_logger("mercato.loops")


class Driver:
    """The loops of this process."""

    def __init__(self, loops: Sequence[Loop], clock: Clock) -> None:
        """Take `loops`; nothing runs before `run`."""
        self.loops = tuple(loops)
        self._clock = clock
        self._poked = {loop.name: asyncio.Event() for loop in loops}

    def poke(self, topics: Iterable[str]) -> None:
        """Run soon the loops that are named `loop:<name>`; call it on the event loop's thread."""
        for topic in topics:
            event = self._poked.get(topic.removeprefix(TOPIC))
            if event is not None and topic.startswith(TOPIC):
                event.set()

    async def run(self) -> None:
        """Run every loop until cancelled."""
        async with asyncio.TaskGroup() as group:
            for loop in self.loops:
                group.create_task(self._drive(loop))

    async def once(self, loop: Loop) -> None:
        """Run one loop once and note how it went."""
        status = loop.status
        status.began_at_ms = self._clock.now_ms()
        status.runs += 1
        try:
            status.report = await anyio.to_thread.run_sync(loop.activate, status.began_at_ms)
            failed = status.report.get("failed", 0)
            status.failures += failed > 0
            status.failure = f"{failed} of what it looks at failed; see the log" if failed else None
        except Exception as problem:  # noqa: BLE001 - a failed run is reported; the next is the retry
            status.failures += 1
            status.failure = f"{type(problem).__name__}: {problem}"
            _log.error("loop_failed", loop=loop.name, failure=status.failure)
        ended_ms = self._clock.now_ms()
        status.took_ms = ended_ms - status.began_at_ms
        status.next_at_ms = ended_ms + int(loop.period_s * 1_000)

    async def _drive(self, loop: Loop) -> None:
        poked = self._poked[loop.name]
        while True:
            poked.clear()
            await self.once(loop)
            with suppress(TimeoutError):
                await asyncio.wait_for(poked.wait(), loop.period_s)
