"""The port by which an instance is reached, when another program has it."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from mercato.agent.door.server import SshDoor
from mercato.agent.engine import Engine
from mercato.agent.memory import Memory
from mercato.agent.sync import Door
from tests.agent.builders import desired, wanted
from tests.agent.door.visitor import PATIENCE_S, Visitor, listens, new_key
from tests.agent.real import living_host, until_running

pytestmark = pytest.mark.docker


async def test_a_port_that_was_taken_while_the_agent_was_away_is_left_for_another(
    box: str, tmp_path: Path
) -> None:
    def door(engine: Engine) -> Door:
        return SshDoor(tmp_path, engine)

    memory, owner = Memory(), f"ports{os.getpid()}"
    what = desired(wanted(1, image=box, keys=(new_key(tmp_path / "key"),)))
    async with living_host(memory, owner=owner, clean=False, make_door=door) as host:
        host.take(what)
        port = (await until_running(host, 1)).ports["22/tcp"]
        await listens(port)
    with socket.socket() as hosts_own:
        hosts_own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hosts_own.bind(("0.0.0.0", port))
        hosts_own.listen()
        async with living_host(memory, owner=owner, make_door=door) as host:
            async with asyncio.timeout(PATIENCE_S):
                while (other := memory.of(1).ports["22/tcp"]) == port:
                    host.take(what)  # so that it tries in moments, not in periods
                    await asyncio.sleep(0.05)
            assert (await until_running(host, 1)).ports["22/tcp"] == other
            await listens(other)
            visitor = Visitor(other, tmp_path, tmp_path / "key")
            came = await visitor.ssh("echo in")
            assert (came.code, came.out) == (0, b"in\n"), came.err
