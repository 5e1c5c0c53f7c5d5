"""How a program in an instance reaches a control plane on its own host."""

import asyncio
import os

import pytest

from mercato.agent.way_home import HOME, WayHome
from mercato.wire.agent import DesiredInstance
from tests.agent.builders import desired, wanted
from tests.agent.real import inside, living_host, new_engine, until_running


@pytest.mark.parametrize(
    ("url", "needed"),
    [
        ("http://127.0.0.1:8400", True),
        ("http://localhost:8400", True),
        ("http://[::1]:8400", True),
        ("https://gpus.example.org", False),
        ("http://192.0.2.7:8400", False),
    ],
)
def test_only_a_loopback_control_plane_needs_a_way(url: str, *, needed: bool) -> None:
    assert WayHome(url).needed is needed
    assert WayHome(url).names == []


async def test_it_relays_both_ways_and_closes(unused_tcp_port: int) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", unused_tcp_port)
    way = WayHome(f"http://127.0.0.1:{unused_tcp_port}")
    await way.open("127.0.0.2")
    await way.open("127.0.0.2")
    assert way.openings == [("127.0.0.2", unused_tcp_port)]
    assert way.names == [f"{HOME}:127.0.0.2"]
    reader, writer = await asyncio.open_connection("127.0.0.2", unused_tcp_port)
    writer.write(b"hello\n")
    assert await reader.read() == b"HELLO\n"
    writer.close()
    another = WayHome(f"http://127.0.0.1:{unused_tcp_port}")  # of another agent of this host
    await another.open("127.0.0.2")
    await way.close()
    reader, writer = await asyncio.open_connection("127.0.0.2", unused_tcp_port)
    writer.write(b"hello\n")
    assert await reader.read() == b"HELLO\n"
    writer.close()
    server.close()
    await another.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.2", unused_tcp_port)


@pytest.mark.docker
async def test_an_instance_reaches_the_control_plane_and_no_other_port_of_its_host(
    box: str, unused_tcp_port: int
) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"home\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", unused_tcp_port)
    way = WayHome(f"http://127.0.0.1:{unused_tcp_port}")
    it: DesiredInstance = wanted(1, image=box)
    # By its address: a static program cannot look up a name.
    ask = f"echo GET / | nc -w 3 $(grep {HOME} /etc/hosts | cut -f 1)"
    async with living_host(way_home=way) as host:
        host.take(desired(it))
        await until_running(host, 1)
        # Another agent of the market on this host comes and goes: what it shares stays open.
        another = WayHome(f"http://127.0.0.1:{unused_tcp_port}")
        other = new_engine(f"other{os.getpid()}", another)
        await other.contents()
        assert another.openings == way.openings
        await other.close()
        assert another.openings == []
        assert await inside(host, 1, f"{ask} {unused_tcp_port}") == (0, "home\n")
        code, _ = await inside(host, 1, f"{ask} 22 2>&1")
        assert code != 0
    server.close()
