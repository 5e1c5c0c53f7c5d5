"""A command that runs in a Docker container, with its input and output open."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Any, Final

import aiodocker
from aiodocker.execs import Exec
from aiodocker.stream import Stream

UNKNOWN_EXIT: Final = 255
"""Told when the engine no longer knows how a command ended."""

ENDED_WITHIN_S: Final = 2.0
"""How soon the engine knows that a command has ended whose output has."""

BEGUN_WITHIN_S: Final = 5.0
"""So long after a command was started the engine knows its process."""
QUIET_S: Final = 0.3
"""After this long without output a command that has ended is taken to have none left."""


class DockerSession:
    """One exec of the Docker Engine."""

    def __init__(self, command: Exec, stream: Stream, *, tty: bool) -> None:
        """Wrap a started exec."""
        self._command = command
        self._stream = stream
        self._tty = tty
        self._pieces = 0
        self._awaits_output = False

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output; None at its end."""
        self._awaits_output = True
        try:
            message = await self._stream.read_out()
        except (aiodocker.DockerError, ConnectionError):
            return None
        finally:
            self._awaits_output = False
            self._pieces += 1
        return None if message is None else (message.stream, message.data)

    async def write(self, data: bytes) -> None:
        """Give the command input; nothing when it no longer listens."""
        outliving = asyncio.create_task(self._cut_off_when_outlived())
        try:
            await self._stream.write_in(data)
        except (AssertionError, ConnectionError, RuntimeError):
            return
        finally:
            outliving.cancel()

    async def _cut_off_when_outlived(self) -> None:
        """End the output of a command that ended without reading all of its input.

        The engine itself would wait for somebody to read the input, and give up after 20 s.
        """
        ended = False
        while True:
            before = self._pieces
            await asyncio.sleep(QUIET_S)
            if ended and self._awaits_output and self._pieces == before:
                break
            with contextlib.suppress(aiodocker.DockerError):
                ended = not (await self._command.inspect()).get("Running")
        transport = self._transport()
        if transport is not None:
            transport.abort()

    async def write_eof(self) -> None:
        """End the command's input; its output stays open. A terminal's input has no end."""
        if self._tty:
            return  # the engine would end its output too
        transport = self._transport()
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            transport.write_eof()

    def _transport(self) -> asyncio.Transport | None:
        """The connection itself: aiodocker offers only close(), which ends the output too."""
        response = self._stream._resp  # noqa: SLF001 - see above
        if response is None or response.connection is None:
            return None
        return response.connection.transport

    async def resize(self, columns: int, rows: int) -> None:
        """Change the size of its terminal."""
        if self._tty:
            try:
                await self._command.resize(w=columns, h=rows)
            except aiodocker.DockerError:
                return  # it has just ended

    async def signal(self, number: int) -> None:
        """Send the command and all of its process group a signal; only root can."""
        await _signal(self._command, number)

    async def exit_code(self) -> int:
        """How the command ended."""
        code = None
        with contextlib.suppress(TimeoutError, aiodocker.DockerError):
            async with asyncio.timeout(ENDED_WITHIN_S):
                while code is None:
                    state = await self._command.inspect()
                    code = None if state.get("Running") else state.get("ExitCode")
                    if code is None:
                        await asyncio.sleep(0.02)  # its output ended a moment before
        return UNKNOWN_EXIT if code is None else int(code)

    async def close(self) -> None:
        """Let go of the command."""
        try:
            await self._stream.close()
        except AssertionError:
            return  # the engine closed it first


async def hang_up_all(docker: aiodocker.Docker, shown: Mapping[str, Any]) -> None:
    """Hang up every command with its input open in a container, as `shown` by the engine.

    Of our commands only those of visitors have their input open.
    """
    for number in shown.get("ExecIDs") or ():
        command = Exec(docker, number, tty=None)
        with contextlib.suppress(aiodocker.DockerError):  # it has just ended
            if (await command.inspect()).get("OpenStdin"):
                await _signal(command, signal.SIGHUP)


async def _signal(command: Exec, number: int) -> None:
    leader = await _leader(command)
    if leader == 0 or os.geteuid() != 0:
        return
    with contextlib.suppress(ProcessLookupError):
        group = os.getpgid(leader)
        # Asked again: the number might have gone to a process of the host since.
        if await _leader(command) == leader and group == leader:
            os.killpg(group, number)


async def _leader(command: Exec) -> int:
    """The host's process id of a command; 0 when it has ended.

    A command can have spoken before the engine knows its process.
    """
    with contextlib.suppress(aiodocker.DockerError, TimeoutError):
        async with asyncio.timeout(BEGUN_WITHIN_S):
            while (state := await command.inspect()).get("Running"):
                if state.get("Pid"):
                    return int(state["Pid"])
                await asyncio.sleep(0.02)
    return 0
