"""SFTP for one session, as a program of its own that can see nothing but the container's files.

python -I -m mercato.agent.door.files ROOT CLIENT

`ROOT` is an open file descriptor of the container's root directory, `CLIENT` the version that the
visitor's program tells: some give the two names of a symbolic link in another order.

The program enters the root for good, gives up every right that the container's own root does not
need for files, and only then reads the first byte that the visitor sent: a symbolic link leads
nowhere but into the container.
"""

import asyncio
import contextlib
import ctypes
import importlib.machinery
import os
import resource
import sys
from typing import Any, Final, cast

import asyncssh
from asyncssh.logging import SSHLogger, logger
from asyncssh.sftp import run_sftp_server

_CAPABILITIES: Final = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4}
"""Kept: what the container's own root has for files, by the kernel's numbers."""

_CAPABILITY_VERSION: Final = 0x2008_0522
_PR_SET_NO_NEW_PRIVS: Final = 38
_MEMORY_MAX: Final = 1 << 30
_SFTP_VERSION: Final = 3
_HOME: Final = "/root"


class Files(asyncssh.SFTPServer):
    """The container's files, with owners by number.

    Looking up names would load the container's own libraries into this program.
    """

    def __init__(self) -> None:
        """Serve without a channel: the session is at the other end of the pipes."""
        super().__init__(cast("asyncssh.SSHServerChannel[bytes]", None))

    def format_user(self, uid: int | None) -> str:
        """The owner's number."""
        return "" if uid is None else str(uid)

    def format_group(self, gid: int | None) -> str:
        """The group's number."""
        return "" if gid is None else str(gid)


class _Pipes:
    """Standard input and output, in the form of an SSH channel's two streams."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str
    ) -> None:
        self._client = client
        self._reader = reader
        self._writer = writer
        self.logger: SSHLogger = logger

    @property
    def channel(self) -> "_Pipes":
        return self

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._client if name == "client_version" else default

    async def readexactly(self, count: int) -> bytes:
        # Not before the answers have gone: a visitor who only asks must not fill the memory.
        await self._writer.drain()
        return await self._reader.readexactly(count)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def is_closing(self) -> bool:
        return self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()


async def serve(client: str) -> None:
    """Answer until the visitor has gone."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, sys.stdout.buffer
    )
    pipes: Any = _Pipes(reader, asyncio.StreamWriter(transport, protocol, None, loop), client)
    with contextlib.suppress(ConnectionError):
        await run_sftp_server(Files(), pipes, pipes, _SFTP_VERSION)


def enter(root: int) -> None:
    """See nothing but the container's files from now on, and have no rights beyond them."""
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    try:
        os.chdir(_HOME)
    except OSError:
        os.chdir("/")
    os.umask(0o022)
    os.setgroups([])
    # No module may ever be loaded from inside.
    sys.path[:] = []
    sys.path_hooks[:] = []
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_MAX, _MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _give_up_rights()


def _give_up_rights() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    kept = sum(1 << number for number in _CAPABILITIES.values())
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    # Two blocks of (effective, permitted, inheritable): capabilities 0 to 31, and 32 on.
    data = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    for done in (
        libc.capset(ctypes.byref(header), ctypes.byref(data)),
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    ):
        if done != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def main() -> None:
    """Run the program."""
    enter(int(sys.argv[1]))
    asyncio.run(serve(sys.argv[2]))


if __name__ == "__main__":
    main()
