"""Port forwarding: a visitor's channel joined to a socket in the container's own network."""

import asyncio
import contextlib
import functools
import ipaddress
import os
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, cast

import asyncssh

from mercato.agent.door.container import KnowsPids, NotReached, opened, socket_inside
from mercato.agent.engine import EngineDown, StepFailed

CONNECT_S: Final = 10.0
"""How long a service inside may take to accept, and a name to be looked up."""

_LOCAL: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def _nothing() -> None:
    return


class Tunnel(asyncssh.SSHTCPSession[bytes]):
    """The visitor's end: what it sends goes into the container."""

    def __init__(self, inside: "Inside") -> None:
        """Join it to the end inside, which is connected."""
        self._inside = inside
        inside.tunnel = self
        self.channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self.when_closed: Callable[[], None] = _nothing

    def connection_made(self, chan: "asyncssh.SSHTCPChannel[bytes]") -> None:
        """Take the channel."""
        self.channel = chan

    def session_started(self) -> None:
        """Let the service speak, now that somebody listens."""
        self._inside.transport.resume_reading()

    def data_received(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002 - plain data
        """Hand on what the visitor sent."""
        self._inside.transport.write(data)

    def eof_received(self) -> bool:
        """Hand on that the visitor is done; the answer may still come."""
        if not self._inside.transport.is_closing():
            self._inside.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """Slow the service down while the visitor reads slowly."""
        self._inside.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the service go on."""
        self._inside.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - its end is enough
        """Leave the service."""
        self.channel = None
        self._inside.transport.abort()
        self.when_closed()


class Inside(asyncio.Protocol):
    """The container's end: what the service sends goes to the visitor."""

    def __init__(self) -> None:
        """Wait for the connection."""
        self.transport: asyncio.Transport
        self.tunnel: Tunnel | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection and let the service wait until somebody listens."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Hand on what the service sent."""
        if (channel := self._channel) is not None:
            channel.write(data)

    def eof_received(self) -> bool:
        """Hand on that the service is done; the visitor may still send."""
        if (channel := self._channel) is not None:
            channel.write_eof()
        return True

    def pause_writing(self) -> None:
        """Slow the visitor down while the service reads slowly."""
        if (channel := self._channel) is not None:
            channel.pause_reading()

    def resume_writing(self) -> None:
        """Let the visitor go on."""
        if (channel := self._channel) is not None:
            channel.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - its end is enough
        """Tell the visitor that the service has gone."""
        if (channel := self._channel) is not None:
            channel.close()

    @property
    def _channel(self) -> "asyncssh.SSHTCPChannel[bytes] | None":
        return None if self.tunnel is None else self.tunnel.channel


async def dig(engine: KnowsPids, instance: int, host: str, port: int, lookups: Executor) -> Tunnel:
    """A connection from inside the container to `host` and `port`.

    `localhost` is the container's own. Names are looked up in `lookups`, threads in which a silent
    name server keeps nobody else waiting. Refuses with asyncssh.ChannelOpenError.
    """
    try:
        network = await opened(engine, instance, "ns/net")
    except (NotReached, EngineDown, StepFailed) as why:
        raise asyncssh.ChannelOpenError(
            asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, str(why)
        ) from why
    try:
        connected = await _connected(network, host, port, lookups)
    finally:
        os.close(network)
    loop = asyncio.get_running_loop()
    _, inside = await loop.create_connection(Inside, sock=connected)
    return Tunnel(inside)


async def _connected(network: int, host: str, port: int, lookups: Executor) -> socket.socket:
    """A socket in `network` that reaches `host`, by the first of its addresses that answers."""
    failures = []
    try:
        for family, address in await _addresses(host, lookups):
            try:
                return await _connect(network, family, address, port)
            except OSError as error:
                failures.append(error)
    except OSError as error:
        failures.append(error)
    failure = failures[0] if failures else OSError(f"{host} has no address")
    said = os.strerror(failure.errno) if failure.errno else str(failure) or "no answer"
    raise asyncssh.ChannelOpenError(
        asyncssh.OPEN_CONNECT_FAILED, f"{host} port {port}: {said}"
    ) from failure


async def _connect(network: int, family: int, address: str, port: int) -> socket.socket:
    within = await socket_inside(network, family)
    with contextlib.ExitStack() as undo:
        undo.callback(within.close)
        within.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(within, (address, port))
        undo.pop_all()
    return within


async def _addresses(host: str, lookups: Executor) -> tuple[tuple[int, str], ...]:
    if host in {"", "localhost"}:
        return _LOCAL
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        look_up = functools.partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        async with asyncio.timeout(CONNECT_S):
            found = await loop.run_in_executor(lookups, look_up)
        return tuple(dict.fromkeys((entry[0], str(entry[4][0])) for entry in found))
    return ((socket.AF_INET if literal.version == 4 else socket.AF_INET6, host),)
