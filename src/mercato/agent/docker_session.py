"""A command that runs in a Docker container, with its input and output open."""

import asyncio
import contextlib
import os
from typing import Final

import aiodocker
from aiodocker.execs import Exec
from aiodocker.stream import Stream

UNKNOWN_EXIT: Final = 255
"""Told when the engine no longer knows how a command ended."""

ENDED_WITHIN_S: Final = 2.0
"""How soon the engine knows that a command has ended whose output has."""


class DockerSession:
    """One exec of the Docker Engine."""

    def __init__(self, command: Exec, stream: Stream, *, tty: bool) -> None:
        """Wrap a started exec."""
        self._command = command
        self._stream = stream
        self._tty = tty

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output; None at its end."""
        try:
            message = await self._stream.read_out()
        except (aiodocker.DockerError, ConnectionError):
            return None
        return None if message is None else (message.stream, message.data)

    async def write(self, data: bytes) -> None:
        """Give the command input; nothing when it no longer listens."""
        try:
            await self._stream.write_in(data)
        except (AssertionError, ConnectionError, RuntimeError):
            return

    async def write_eof(self) -> None:
        """End the command's input; its output stays open. A terminal's input has no end."""
        if self._tty:
            return  # the engine would end its output too
        # aiodocker offers only close(), which ends the output too.
        response = self._stream._resp  # noqa: SLF001 - see above
        if response is None or response.connection is None:
            return
        transport = response.connection.transport
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            transport.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        """Change the size of its terminal."""
        if self._tty:
            try:
                await self._command.resize(w=columns, h=rows)
            except aiodocker.DockerError:
                return  # it has just ended

    async def signal(self, number: int) -> None:
        """Send the command and all of its process group a signal; only root can."""
        leader = await self._leader()
        if leader == 0 or os.geteuid() != 0:
            return
        with contextlib.suppress(ProcessLookupError):
            group = os.getpgid(leader)
            # Asked again: the number might have gone to a process of the host since.
            if await self._leader() == leader and group == leader:
                os.killpg(group, number)

    async def _leader(self) -> int:
        """The host's process id of the command; 0 when it has ended."""
        try:
            state = await self._command.inspect()
        except aiodocker.DockerError:
            return 0
        return int(state.get("Pid") or 0) if state.get("Running") else 0

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
