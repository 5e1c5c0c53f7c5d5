"""The agent goes and comes back: as it was told to, and as it was killed."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mercato.agent import main
from mercato.agent.main import Setup
from tests.agent.builders import PORT_FIRST, desired, wanted
from tests.agent.door.visitor import Visitor, listens, new_key, soon
from tests.agent.test_client import TOKEN, Market, serving
from tests.agent.test_killed import start

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="package")]


class Machine:
    """A joined machine whose agent is a process, and a visitor of its instance."""

    def __init__(self, market: Market, home: Path, visitor: Visitor) -> None:
        self.market = market
        self.home = home
        self.visitor = visitor
        self.agent: asyncio.subprocess.Process

    async def up(self, *options: str) -> None:
        """Start the agent, until it has told of the instance and opened its door."""
        self.market.reports.clear()
        self.agent = await start(self.home, *options)
        await self.market.until_running(1)
        await listens(self.visitor.port)

    async def down(self, number: signal.Signals) -> None:
        self.agent.send_signal(number)
        await asyncio.wait_for(self.agent.wait(), 20.0)


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def machine(box: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machine]:
    tmp_path = tmp_path_factory.mktemp("machine")
    market = Market()
    market.desired = desired(wanted(1, image=box, keys=(new_key(tmp_path / "key"),)))
    async with serving(market) as url:
        setup = Setup(port_first=PORT_FIRST + 40, port_last=PORT_FIRST + 50)
        await main.join(url, TOKEN, tmp_path / "data", setup)
        visitor = Visitor(PORT_FIRST + 40, tmp_path, tmp_path / "key")
        machine = Machine(market, tmp_path / "data", visitor)
        await machine.up()
        try:
            yield machine
        finally:
            await machine.down(signal.SIGTERM)
            await machine.up("--stop-all")
            await machine.down(signal.SIGTERM)


async def typing(machine: Machine) -> asyncio.subprocess.Process:
    """A visitor's session that goes on."""
    session = await asyncio.create_subprocess_exec(
        *machine.visitor.ssh_words("echo on; exec sleep 88"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert session.stdout is not None
    assert await session.stdout.readline() == b"on\n"
    return session


async def test_an_agent_that_is_told_to_end_says_so_to_who_is_inside(machine: Machine) -> None:
    session = await typing(machine)
    await machine.down(signal.SIGTERM)
    _, said = await asyncio.wait_for(session.communicate(), 10.0)
    assert b"the agent of its machine has ended" in said
    await machine.up()
    # Strictly: the machine's key and the instance's port are the same as before.
    assert (await machine.visitor.ssh("-oStrictHostKeyChecking=yes", "echo back")).out == b"back\n"
    assert (await machine.visitor.ssh(soon("! ps -o args | grep -qx 'sleep 88'"))).code == 0


async def test_what_a_killed_agent_left_running_for_a_visitor_is_hung_up(machine: Machine) -> None:
    session = await typing(machine)
    async with machine.visitor.terminal("exec sleep 89", size=(80, 24)):
        assert (await machine.visitor.ssh(soon("ps -o args | grep -qx 'sleep 89'"))).code == 0
        await machine.down(signal.SIGKILL)
    assert await asyncio.wait_for(session.wait(), 10.0) == 255
    await machine.up()
    assert (await machine.visitor.ssh("echo back")).out == b"back\n"
    for left in ("sleep 88", "sleep 89"):
        assert (await machine.visitor.ssh(soon(f"! ps -o args | grep -qx '{left}'"))).code == 0, (
            left
        )


async def test_what_the_instance_itself_runs_outlives_the_agent(machine: Machine) -> None:
    await machine.visitor.ssh("setsid sleep 90 > /dev/null 2>&1 < /dev/null &")
    await machine.down(signal.SIGKILL)
    await machine.up()
    assert (await machine.visitor.ssh("ps -o args | grep -x 'sleep 90'")).code == 0
