"""Child processes: started, watched, started again when they die, stopped in good order."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from mercato.cli.errors import Trouble
from mercato.cli.up.say import Say

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
SETTLED_S: Final = 30.0
"""A child that lived this long is started again at once if it dies."""

STOP_S: Final = 20.0
CHECK_S: Final = 0.1


def mercato(*arguments: str) -> list[str]:
    """The command line of this program with other arguments."""
    return [sys.executable, "-m", "mercato.cli", *arguments]


class Child:
    """One child process under one name."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        say: Say,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Name it; `log` gets all that it prints, `env` is added to this process's."""
        self.name = name
        self.log = log
        self._command = [*_dies_with_us(), *command]
        self._env = {**os.environ, **(env or {})}
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._restarting = False

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def start(
        self, ready: Callable[[], Awaitable[bool]], *, deadline_s: float = 60.0
    ) -> None:
        """Start it, wait until it is ready, and from then on keep it alive.

        Raises:
            Trouble: when it ends first, or is not ready in time; tells what it said last.
        """
        await self._spawn()
        until = time.monotonic() + deadline_s
        while not await ready():
            if self.pid is None:
                raise Trouble(f"the {self.name} ended at once: {self.last_words()}")
            if time.monotonic() > until:
                raise Trouble(f"the {self.name} is not ready after {deadline_s:.0f} s: {self.log}")
            await asyncio.sleep(CHECK_S)
        self._watch = asyncio.create_task(self._keep())

    async def restart(self) -> None:
        """Ask it to end and start it anew at once; returns when the old one is gone."""
        process = self._process
        if process is not None and process.returncode is None:
            self._restarting = True
            process.send_signal(signal.SIGTERM)
            await process.wait()

    async def stop(self, deadline_s: float = STOP_S) -> None:
        """Ask it to end, and end it when it does not within `deadline_s`."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), deadline_s)
        except TimeoutError:
            self._say.trouble(f"the {self.name} did not stop within {deadline_s:.0f} s; killed")
            process.kill()
            await process.wait()

    def last_words(self) -> str:
        """The last line that it printed."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return f"{lines[-1].strip()[-300:]} (all of it: {self.log})" if lines else str(self.log)

    async def _spawn(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C reaches only the supervisor, which stops all in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )

    async def _keep(self) -> None:
        delay_s = BACKOFF_FIRST_S
        while True:
            assert self._process is not None
            began = time.monotonic()
            code = await self._process.wait()
            if self._restarting:
                self._restarting = False
                await self._spawn()
                continue
            if time.monotonic() - began >= SETTLED_S:
                delay_s = BACKOFF_FIRST_S
            self._say.trouble(
                f"the {self.name} ended ({_how(code)}); started again in {delay_s:g} s; "
                f"it said: {self.last_words()}"
            )
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, BACKOFF_MAX_S)
            await self._spawn()


def _how(code: int) -> str:
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


def _dies_with_us() -> list[str]:
    """A prefix by which the kernel ends the child if the supervisor is killed outright."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
