"""Reaching into a running container: its network and its files, as its own processes see them."""

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from pathlib import Path
from typing import Final, Protocol

CLONE_NEWNET: Final = 0x4000_0000

_libc: Final = ctypes.CDLL(None, use_errno=True)


class NotReached(Exception):  # noqa: N818 - an answer for a person: the message says why
    """The inside of the container cannot be reached; the message is for the renter."""


class KnowsPids(Protocol):
    """Whoever can tell a container's first process."""

    async def pid(self, instance: int) -> int:
        """The host's process id of the container's first process; 0 when it does not run."""
        ...


async def opened(engine: KnowsPids, instance: int, what: str) -> int:
    """A file descriptor of `/proc/PID/<what>` of the container's first process.

    Refuses with NotReached when not root, or when it is not there.
    """
    if os.geteuid() != 0:
        raise NotReached(
            "the agent of this machine does not run as root, so it cannot forward ports or transfer"
            " files by SFTP; commands, terminals, scp -O and rsync work"
        )
    pid = await engine.pid(instance)
    if pid == 0:
        raise NotReached(f"instance {instance} does not run")
    try:
        descriptor = os.open(f"/proc/{pid}/{what}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotReached(f"the container cannot be looked into: {error.strerror}") from error
    # The number may have gone to another process before it was opened: what was opened is right
    # only if the container's first process is the same after.
    with contextlib.ExitStack() as unless_right:
        unless_right.callback(os.close, descriptor)
        if await engine.pid(instance) != pid or _is_ours(descriptor, what):
            raise NotReached(f"instance {instance} has just stopped")
        unless_right.pop_all()
    return descriptor


def lives(pid: int) -> bool:
    """Whether a process of this machine is there, and not just ending.

    One that ends gives up its memory first. Its container's other processes are ended only then.
    """
    try:
        return not Path(f"/proc/{pid}/statm").read_text(encoding="ascii").startswith("0 ")
    except OSError:
        return False


def _is_ours(descriptor: int, what: str) -> bool:
    """Whether it belongs to the host itself, which no visitor may ever reach."""
    return os.path.samestat(os.fstat(descriptor), Path(f"/proc/self/{what}").stat())


async def socket_inside(namespace: int, family: int) -> socket.socket:
    """A TCP socket in the network of an open namespace; it stays there for its life."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[socket.socket] = loop.create_future()
    # A thread of its own, because entering a network is for a thread's whole life.
    threading.Thread(target=_make_socket, args=(namespace, family, loop, made), daemon=True).start()
    return await made


def _make_socket(
    namespace: int,
    family: int,
    loop: asyncio.AbstractEventLoop,
    made: "asyncio.Future[socket.socket]",
) -> None:
    try:
        if _libc.setns(namespace, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))  # noqa: TRY301 - told below with the other
        within = socket.socket(family, socket.SOCK_STREAM)
        within.settimeout(0.0)
    except OSError as error:
        loop.call_soon_threadsafe(_settle, made, None, error)
    else:
        loop.call_soon_threadsafe(_settle, made, within, None)


def _settle(
    made: "asyncio.Future[socket.socket]", within: socket.socket | None, error: OSError | None
) -> None:
    if made.done():  # nobody waits any more
        if within is not None:
            within.close()
    elif within is not None:
        made.set_result(within)
    else:
        assert error is not None
        made.set_exception(error)
