"""An SFTP session, seen from the agent: a program that runs beside the container."""

import asyncio
import os
import sys
from typing import Final

import mercato.agent.door.files
from mercato.agent.door.container import KnowsPids, opened

_PIECE: Final = 64 * 1_024
_PROGRAM: Final = mercato.agent.door.files.__name__

_UNCONFINED: Final = (
    b"mercato: the kernel of this machine cannot keep SFTP within the instance (that takes Linux "
    b"5.12): copy with scp -O or rsync\n"
)

# A time zone file or locale of the container must not be read by the program.
_ENVIRONMENT: Final = {"TZ": "UTC0", "LC_ALL": "C"}


class FilesSession:
    """A running SFTP program; a `Session` like a command in the container."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take the started program."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self._explained = False

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output; None at its end."""
        if piece := await self._output.read(_PIECE):
            return 1, piece
        if self._explained or await self._process.wait() != mercato.agent.door.files.UNCONFINED:
            return None
        self._explained = True
        return 2, _UNCONFINED

    async def write(self, data: bytes) -> None:
        """Give it input; nothing when it has ended."""
        try:
            self._input.write(data)
            await self._input.drain()
        except ConnectionError:
            return

    async def write_eof(self) -> None:
        """End its input, which ends it."""
        self._input.close()

    async def resize(self, columns: int, rows: int) -> None:
        """Do nothing: there is no terminal."""

    async def signal(self, number: int) -> None:
        """Do nothing: it is the agent's program, not the visitor's."""

    async def exit_code(self) -> int:
        """How it ended."""
        return await self._process.wait()

    async def close(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def serve_files(engine: KnowsPids, instance: int, client: str) -> FilesSession:
    """Start SFTP for a container and a client of that version. Refuses with NotReached."""
    mounts = await opened(engine, instance, "ns/mnt")
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-m", _PROGRAM, str(mounts), client),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(mounts,),
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(mounts)
    return FilesSession(process)
