"""A host whose instances are processes of this machine: each runs its start script, for real."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp

from mercato.agent.environment import environment
from mercato.market.hardware import Hardware
from mercato.wire import agent as wire
from tests.control.api.scripted import ScriptedAgent
from tests.control.api.serving import Served
from tests.pyworker.surroundings import free_ports

BIN = Path(sys.executable).parent


class ProcessAgent(ScriptedAgent):
    """Starts what should run, kills what should not, and starts anew what was made anew."""

    def __init__(self, server: Served, joined: wire.Joined, of: Hardware, directory: Path) -> None:
        """Each instance gets a directory of its own below `directory`."""
        super().__init__(server, joined, of)
        self._directory = directory
        self._running: dict[int, tuple[tuple[int, int], subprocess.Popen[bytes]]] = {}

    def outputs(self) -> str:
        """The end of what each instance printed."""
        files = sorted(self._directory.glob("*.out"))
        return "\n".join(f"--- {file.name}\n{file.read_text()[-2_000:]}" for file in files)

    def kill_all(self) -> None:
        """Leave nothing behind."""
        for instance in tuple(self._running):
            self._kill(instance)

    async def _hear(
        self, line: aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage
    ) -> None:
        await super()._hear(line, message)
        wanted = {one.id: one for one in self.told if one.running}
        for instance, (made, _) in tuple(self._running.items()):
            one = wanted.get(instance)
            if one is None or (one.revision, one.boots) != made:
                self._kill(instance)
        for one in wanted.values():
            if one.id not in self._running:
                self._start(one)

    def _kill(self, instance: int) -> None:
        _, process = self._running.pop(instance)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _start(self, one: wire.DesiredInstance) -> None:
        port, plain = free_ports(2)
        home = self._directory / f"{one.id}-{one.revision}-{one.boots}"
        home.mkdir(parents=True)
        env = environment(one, {"3000/tcp": port}, "127.0.0.1") | {
            # Instances share this machine's ports and its Python.
            "WORKER_PORT": str(port),
            f"VAST_TCP_PORT_{port}": str(port),
            "WORKER_HTTP_PORT": str(plain),
            "WORKSPACE_DIR": str(home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        with home.with_suffix(".out").open("ab") as out:
            process = subprocess.Popen(
                ["bash", "-c", one.onstart],
                env=env,
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._running[one.id] = ((one.revision, one.boots), process)
