"""A server of a test, and bytes written to it by hand."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from mercato.http.call import Call
from mercato.http.client import Origin, Pool
from mercato.http.server import Handler, Server


class Site:
    """A server of this test and what its handlers complained of."""

    def __init__(self, handler: Handler, body_bytes_max: int = 1_000_000) -> None:
        self.complaints: list[str] = []
        self.server = Server(
            handler,
            lambda what, error: self.complaints.append(f"{what}: {error}"),
            body_bytes_max=body_bytes_max,
        )
        self.port = 0

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator["Site"]:
        self.port = await self.server.listen("127.0.0.1", 0)
        try:
            yield self
        finally:
            await self.server.stop(0.0)

    def pool(self) -> Pool:
        return Pool(Origin("127.0.0.1", self.port, tls=False))

    async def raw(self, *pieces: bytes) -> bytes:
        """Everything that is answered to these bytes, one packet after another."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    async def said(self, *pieces: bytes) -> bytes:
        """Everything that is answered until the server hangs up, by a caller who stays."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)  # else the kernel makes one packet of all
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer


def echo(call: Call) -> None:
    call.answer(200, f"{call.method} {call.path} {call.query} ".encode() + call.body, b"text/plain")


def half(call: Call) -> None:
    """A handler that breaks off in the middle of its answer."""
    call.begin(200, [], 100)
    call.write(b"half")
    call.abort()


async def slow_socket(port: int, takes: int = 65_536) -> socket.socket:
    """A connection whose kernel takes little before its owner reads."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    caller.setblocking(False)  # noqa: FBT003 - its name is its own
    await asyncio.get_running_loop().sock_connect(caller, ("127.0.0.1", port))
    return caller
