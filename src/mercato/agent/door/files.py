"""SFTP for one session, as a program of its own that can see nothing but the container's files.

python -I -m mercato.agent.door.files MOUNTS CLIENT

`MOUNTS` is an open file descriptor of the container's mount namespace, `CLIENT` the version that
the visitor's program tells: some give the two names of a symbolic link in another order.

The program enters a copy of the container's mounts for good, gives up every right that the
container's own root does not need for files, and only then reads the first byte that the visitor
sent: a symbolic link leads nowhere but into the container, and a device is no more than a name.
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
_CLONE_NEWNS: Final = 0x2_0000
_MS_PRIVATE: Final = 0x4_0000
_NOTHING_BUT_EMPTY: Final = 1 | 2 | 4 | 8
"""Read-only, without set-user bits, devices and programs."""
_MOUNT_SETATTR: Final = 442
_MOUNT_ATTR_NODEV: Final = 4
_AT_RECURSIVE: Final = 0x8000

_DATA_MAX: Final = 96 << 20
_ADDRESSES_MAX: Final = 256 << 20
"""Bytes of memory of its own, and of everything that it maps: it begins with 22 and 50 MB, and a
request and its answer have up to 4 MiB each."""

UNCONFINED: Final = 3
"""The exit status when the host cannot keep it within the container: nothing was done."""

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


def enter(mounts: int) -> None:
    """See nothing but the container's files from now on, and have no rights beyond them.

    Refuses with OSError where the kernel cannot do it.
    """
    # No module may ever be loaded from inside.
    sys.path[:] = []
    sys.path_hooks[:] = []
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
    _see_what_is_mounted(mounts)
    try:
        os.chdir(_HOME)
    except OSError:
        os.chdir("/")
    os.umask(0o022)
    os.setgroups([])
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA_MAX, _DATA_MAX))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES_MAX, _ADDRESSES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _give_up_rights()


def _see_what_is_mounted(mounts: int) -> None:
    """Have the container's mounts, in a copy of our own in which no device can be opened.

    Its image may bring nodes of the host's devices: only the container's control group, in which
    this program is not, keeps its own processes from them. `/proc` would lead from the copy back
    to the mounts of those processes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # What is set, what is cleared, how changes spread, and no mapping of users.
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_NODEV, 0, _MS_PRIVATE, 0)
    given = (-1, b"/", _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    _need(libc.setns(mounts, _CLONE_NEWNS))
    _need(libc.unshare(_CLONE_NEWNS))
    _need(libc.syscall(_MOUNT_SETATTR, *given))
    # Covered and not taken away: what another user namespace has mounted is locked in our copy.
    # Nobody who could undo it is left in here, as the right to mount is given up.
    _need(libc.mount(b"none", b"/proc", b"tmpfs", _NOTHING_BUT_EMPTY, b"size=4k,mode=555"))
    os.close(mounts)


def _give_up_rights() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    kept = sum(1 << number for number in _CAPABILITIES.values())
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    # Two blocks of (effective, permitted, inheritable): capabilities 0 to 31, and 32 on.
    data = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    _need(libc.capset(ctypes.byref(header), ctypes.byref(data)))
    _need(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _need(done: int) -> None:
    """Refuse with OSError when a call of the C library failed."""
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> None:
    """Run the program."""
    try:
        enter(int(sys.argv[1]))
    except OSError as refused:
        os.write(2, f"SFTP cannot be kept within the container: {refused.strerror}\n".encode())
        os._exit(UNCONFINED)  # nothing more is run: it may be half inside, with all rights
    asyncio.run(serve(sys.argv[2]))


if __name__ == "__main__":
    main()
