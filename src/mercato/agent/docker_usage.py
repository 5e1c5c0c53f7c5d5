"""What Docker containers use: processor, memory, disk and network, from the engine's counters."""

import asyncio
from typing import Any, Final

import aiodocker

from mercato.agent.engine import Measured
from mercato.wire.agent import Usage

DISK_EVERY: Final = 12
"""Disk use is measured at every so many readings: the engine walks the whole file system."""


class UsageReader:
    """Reads usage; keeps the last reading of each container, since a load is a difference."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._cpu: dict[str, tuple[int, int]] = {}
        self._disk: dict[str, float] = {}
        self._readings: dict[str, int] = {}
        self._sizing: dict[str, asyncio.Task[None]] = {}

    async def read(self, docker: aiodocker.Docker, name: str) -> Measured | None:
        """What a running container uses; None when it does not run."""
        try:
            # aiodocker's stats() cannot ask for one reading, which takes 2 ms instead of 2 s.
            stats = await docker._query_json(  # noqa: SLF001 - see above
                f"containers/{name}/stats", params={"stream": "false", "one-shot": "true"}
            )
        except aiodocker.DockerError as error:
            if error.status in {404, 409}:
                return None
            raise
        if not stats or not stats.get("memory_stats"):
            return None
        self._size_now_and_then(docker, name)
        networks = stats.get("networks") or {}
        return Measured(
            usage=self._usage(name, stats),
            up_bytes=sum(net["tx_bytes"] for net in networks.values()),
            down_bytes=sum(net["rx_bytes"] for net in networks.values()),
        )

    def forget(self, name: str) -> None:
        """Drop what is known of a container."""
        for kept in (self._cpu, self._disk, self._readings):
            kept.pop(name, None)

    def _usage(self, name: str, stats: dict[str, Any]) -> Usage:
        memory, cpu = stats["memory_stats"], stats["cpu_stats"]
        total, system = int(cpu["cpu_usage"]["total_usage"]), int(cpu.get("system_cpu_usage", 0))
        total_before, system_before = self._cpu.get(name, (total, system))
        self._cpu[name] = (total, system)
        passed = system - system_before
        load = (total - total_before) / passed * cpu.get("online_cpus", 1) if passed > 0 else None
        kept = memory.get("stats", {})
        # The first name is of control groups version 1, the second of version 2.
        cache = kept.get("total_inactive_file", kept.get("inactive_file", 0))
        return Usage(
            cpu_percent=None if load is None else round(100.0 * load, 1),
            ram_gb=round(max(0, memory.get("usage", 0) - cache) / 1e9, 3),
            ram_gb_max=round(memory["max_usage"] / 1e9, 3) if "max_usage" in memory else None,
            disk_gb=self._disk.get(name, -1.0),
        )

    def _size_now_and_then(self, docker: aiodocker.Docker, name: str) -> None:
        reading = self._readings.get(name, 0)
        self._readings[name] = reading + 1
        if reading % DISK_EVERY == 0 and name not in self._sizing:
            task = asyncio.create_task(self._size(docker, name))
            self._sizing[name] = task
            task.add_done_callback(lambda _task: self._sizing.pop(name, None))

    async def _size(self, docker: aiodocker.Docker, name: str) -> None:
        try:
            shown = await docker.containers.container(name).show(size=1)
        except (aiodocker.DockerError, OSError):
            return  # it is gone, or the engine is: the next reading tells
        self._disk[name] = round(int(shown.get("SizeRw", 0)) / 1e9, 3)
