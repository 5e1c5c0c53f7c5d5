"""A command that runs in a Docker container, with its input and output open."""

from typing import Final

import aiodocker
from aiodocker.execs import Exec
from aiodocker.stream import Stream

UNKNOWN_EXIT: Final = 255
"""Told when the engine no longer knows how a command ended."""


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
        """End the command's input; its output stays open."""
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

    async def exit_code(self) -> int:
        """How the command ended."""
        try:
            state = await self._command.inspect()
        except aiodocker.DockerError:
            return UNKNOWN_EXIT
        code = state.get("ExitCode")
        return UNKNOWN_EXIT if code is None else int(code)

    async def close(self) -> None:
        """Let go of the command."""
        try:
            await self._stream.close()
        except AssertionError:
            return  # the engine closed it first
