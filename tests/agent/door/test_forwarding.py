"""Port forwarding into the container's own network, and to nowhere else."""

import asyncio
import contextlib
import hashlib
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncssh
import pytest

from mercato.agent.door import visit
from mercato.agent.facts.net import routable_address
from tests.agent.door.conftest import PLAIN, House
from tests.agent.door.visitor import Visitor, a_free_port, listens
from tests.agent.real import inside
from tests.agent.test_host import true_soon

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="package")]

AT_ONCE = 8
"""As many as wait to be accepted by busybox's server; it loses others."""

ECHO = """
mkdir -p /www/cgi-bin
cat > /www/cgi-bin/echo <<'END'
#!/bin/sh
printf '\\r\\n'
cat
END
chmod +x /www/cgi-bin/echo
"""

BYTES = random.Random(2).randbytes(2_000_000)


async def asked(port: int, given: bytes) -> bytes:
    """What a service answers, by the end of its line, to a line of ours that ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20.0):
            writer.write(given)
            writer.write_eof()
            return await reader.read(-1)
    except OSError:
        return b""
    finally:
        writer.close()


async def echoed(port: int, given: bytes) -> bytes:
    """What the web server of `serving` makes of it: the same again."""
    head = f"POST /cgi-bin/echo HTTP/1.0\r\nContent-Length: {len(given)}\r\n\r\n"
    return (await asked(port, head.encode() + given)).partition(b"\r\n\r\n")[2]


@contextlib.asynccontextmanager
async def serving(house: House, address: str) -> AsyncIterator[None]:
    """A web server inside, which listens on `address` only and echoes."""
    code, said = await inside(house.host, PLAIN, f"{ECHO}httpd -p {address} -h /www")
    assert code == 0, said
    try:
        yield
    finally:
        await inside(
            house.host, PLAIN, f"kill $(ps -o pid,args | awk '/[h]ttpd -p {address}/ {{print $1}}')"
        )


async def test_a_service_on_the_containers_own_localhost_is_reached(
    house: House, visitor: Visitor
) -> None:
    port = a_free_port()
    async with (
        serving(house, "127.0.0.1:7001"),
        visitor.forwarding(f"-L{port}:localhost:7001", until=port),
    ):
        assert await echoed(port, BYTES) == BYTES
        many = await asyncio.gather(*(echoed(port, f"n{n}".encode()) for n in range(AT_ONCE)))
        assert many == [f"n{n}".encode() for n in range(AT_ONCE)]


async def test_an_end_of_one_direction_is_not_the_end_of_the_other(
    house: House, visitor: Visitor
) -> None:
    await inside(house.host, PLAIN, "nc -ll -p 7004 -e sha256sum > /dev/null 2>&1 &")
    port = a_free_port()
    async with visitor.forwarding(f"-L{port}:127.0.0.1:7004", until=port):
        said = await asked(port, BYTES)
    assert said.split()[0].decode() == hashlib.sha256(BYTES).hexdigest()


async def test_the_hosts_own_services_are_not_reached(house: House, visitor: Visitor) -> None:
    """Neither on its loopback, nor on its bridge, nor on its address."""
    greeting = asyncio.Event()

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting.set()
        writer.write(b"the host")
        writer.close()

    server = await asyncio.start_server(greet, "0.0.0.0", 0)
    hosts_port = server.sockets[0].getsockname()[1]
    _, route = await inside(house.host, PLAIN, "ip route | grep default")
    async with server:
        for host in ("localhost", "127.0.0.1", "[::1]", route.split()[2], routable_address()):
            port = a_free_port()
            async with visitor.forwarding(f"-L{port}:{host}:{hosts_port}", until=port):
                assert await asked(port, b"") == b"", host
        assert not greeting.is_set()


async def test_a_proxy_is_the_containers_own_network_too(house: House, visitor: Visitor) -> None:
    port = a_free_port()
    async with (
        serving(house, "127.0.0.1:7002"),
        visitor.forwarding(f"-D{port}", until=port),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x05\x01\x00" + b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1"))
        writer.write((7002).to_bytes(2, "big"))
        assert (await reader.readexactly(12))[:4] == b"\x05\x00\x05\x00"
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.readexactly(7)) == b"HTTP/1."
        writer.close()


async def test_a_service_that_is_not_there_is_said_not_to_be(visitor: Visitor) -> None:
    assert (await visitor.ssh("true")).code == 0  # from here on its key is known, and not told
    port = a_free_port()
    async with visitor.forwarding("-oLogLevel=INFO", f"-L{port}:localhost:7999", until=port) as ssh:
        assert await asked(port, b"") == b""
        assert ssh.stderr is not None
        assert b"Connection refused" in await ssh.stderr.readline()


async def test_nothing_is_forwarded_the_other_way(visitor: Visitor) -> None:
    """No port of the machine, and no socket file of it, is opened for a visitor."""
    port = a_free_port()
    for words in (
        (f"-R{port}:localhost:22",),
        (f"-R/tmp/socket{port}:localhost:22",),
    ):
        refused = await visitor.ssh("-oExitOnForwardFailure=yes", *words, "true")
        assert refused.code == 255, words
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    unix = a_free_port()
    async with visitor.forwarding(f"-L{unix}:/var/run/docker.sock", until=unix):
        assert await asked(unix, b"GET /info HTTP/1.0\r\n\r\n") == b""


async def test_many_forwarded_megabytes_leave_the_agent_awake(
    house: House, visitor: Visitor
) -> None:
    port = a_free_port()
    async with (
        serving(house, "127.0.0.1:7003"),
        visitor.forwarding(f"-L{port}:localhost:7003", until=port),
    ):
        _, slow = await asyncio.open_connection("127.0.0.1", port)
        # It asks for everything and reads nothing.
        slow.write(b"GET /cgi-bin/echo HTTP/1.0\r\n\r\n" + BYTES)
        assert await echoed(port, BYTES) == BYTES
        slow.close()
    await listens(visitor.port)


class SilentNameServer:
    """Whoever asks it waits until it speaks: every name is this machine's loopback."""

    def __init__(self) -> None:
        self.asked = 0
        self._speaks = threading.Event()
        self._rest = socket.getaddrinfo

    def look_up(self, host: str, *words: Any, **others: Any) -> Any:
        if not str(host).endswith(".silent.example"):
            return self._rest(host, *words, **others)
        self.asked += 1
        assert self._speaks.wait(30.0)
        return self._rest("127.0.0.1", *words, **others)

    def speak(self) -> None:
        self._speaks.set()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentNameServer]:
    server = SilentNameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.look_up)
    yield server
    server.speak()


@contextlib.asynccontextmanager
async def asking_for(
    visitor: Visitor, connections: int, port: int
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A visitor who has asked for connections by names that nobody answers for."""
    async with visitor.connection() as connection:
        asks = [
            asyncio.create_task(connection.open_connection(f"{n}.silent.example", port))
            for n in range(connections)
        ]
        yield connection
        connection.abort()
        await asyncio.gather(*asks, return_exceptions=True)


async def test_a_silent_name_server_keeps_nobody_else_waiting(
    visitor: Visitor, silent: SilentNameServer
) -> None:
    """What the agent itself asks the machine goes through threads that all of it shares."""
    async with asking_for(visitor, 40, 80):
        await true_soon(lambda: silent.asked > 0)
        async with asyncio.timeout(5.0):
            assert await asyncio.to_thread(time.monotonic) > 0


async def test_who_leaves_before_the_connection_is_made_takes_no_place(
    house: House, visitor: Visitor, silent: SilentNameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = 2
    monkeypatch.setattr(visit, "TUNNELS_MAX", places)
    async with serving(house, "127.0.0.1:7005"):
        async with asking_for(visitor, places, 7005):
            await true_soon(lambda: silent.asked == places)
        silent.speak()
        port = a_free_port()
        async with (
            asyncio.timeout(20.0),
            visitor.forwarding(f"-L{port}:localhost:7005", until=port),
        ):
            while await echoed(port, BYTES) != BYTES:  # noqa: ASYNC110 - the door tells nobody
                await asyncio.sleep(0.05)
