"""A house with a door: an agent's host with its SSH server, and instances that go on running."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mercato.agent.door.server import SshDoor
from mercato.agent.engine import Engine
from mercato.agent.sync import Door, Host
from mercato.wire.agent import DesiredInstance
from tests.agent.builders import desired, wanted
from tests.agent.door.visitor import Visitor, listens, new_key
from tests.agent.real import RSYNC_IMAGE, build_box, living_host, until_running
from tests.agent.test_host import until

PLAIN = 1
"""An instance with nothing but busybox in it."""

COPYING = 2
"""One that has bash and rsync too."""


class House:
    """One host, told what should be by its tests."""

    def __init__(self, host: Host, home: Path) -> None:
        self.host = host
        self.home = home
        self.key = home / "key"
        self._public = new_key(self.key)
        self._generation = 0
        self._wanted: dict[int, DesiredInstance] = {}

    async def has(self, *instances: DesiredInstance) -> None:
        """Have these instances beside those that are here, and wait for them and their doors."""
        self._wanted |= {each.id: each for each in instances}
        self._generation += 1
        self.host.take(desired(*self._wanted.values(), generation=self._generation))
        for each in instances:
            if each.running:
                await listens(await self.port(each.id))

    async def loses(self, number: int) -> None:
        """Have an instance no more, and wait until it is gone."""
        del self._wanted[number]
        await self.has()
        await until(self.host, number, lambda it: it is None)

    async def lets_in(self, number: int, *keys: str) -> None:
        """Let these keys into an instance and no other."""
        wish = self._wanted[number]
        await self.has(wanted(number, image=wish.image, gpus=wish.gpus, keys=keys))
        await self.host.act()

    async def port(self, number: int) -> int:
        return (await until_running(self.host, number)).ports["22/tcp"]

    async def visitor(self, number: int, key: Path | None = None, user: str = "root") -> Visitor:
        """Somebody who has the key that the house's own instances let in."""
        return Visitor(await self.port(number), self.home, key or self.key, user)

    @property
    def public(self) -> str:
        return self._public


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def house(box: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    build_box(RSYNC_IMAGE, "bash", "rsync")
    home = tmp_path_factory.mktemp("door")

    def door(engine: Engine) -> Door:
        return SshDoor(home, engine)

    async with living_host(owner=f"door{os.getpid()}", make_door=door) as host:
        house = House(host, home)
        await house.has(
            wanted(PLAIN, image=box, keys=(house.public,), gpus=(0,)),
            wanted(COPYING, image=RSYNC_IMAGE, keys=(house.public,), gpus=(1,), ram_mb=256),
        )
        yield house


@pytest_asyncio.fixture(loop_scope="package")
async def visitor(house: House) -> Visitor:
    """A visitor of the plain instance."""
    return await house.visitor(PLAIN)
