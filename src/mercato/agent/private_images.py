"""Images that came by somebody's login: marked for as long as they are here.

A mark is a name by the image's id, so that it holds under every name of the image. What a pull by
a login may bring is remembered from before it begins: an agent that is cut off before the mark
makes it later, and gives the image to nobody before.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

import aiodocker
import msgspec

from mercato.agent.image_names import MARKS, identity
from mercato.agent.memory import Memory

CUT_OFF_S: Final = 60.0
"""So long after a pull was cut off the engine may still bring what it had begun."""

_FACT: Final = "pull by a login: "


class PrivateImages:
    """What came by logins, on one engine."""

    def __init__(self, memory: Memory) -> None:
        """Go on with what `memory` holds of pulls that were cut off."""
        self._memory = memory
        self._under_way: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def coming(self, docker: aiodocker.Docker, name: str) -> AsyncIterator[None]:
        """Pull the image `name` by a login within this; it is marked at the end."""
        before = sorted({str(each["Id"]) for each in await docker.images.list(all=True)})
        if self._memory.fact(_FACT + name) is None:
            self._memory.set_fact(_FACT + name, msgspec.json.encode(before).decode())
        self._under_way[name] += 1
        try:
            yield
        except aiodocker.DockerError:
            self._under_way[name] -= 1
            raise
        except BaseException:
            asyncio.get_running_loop().call_later(CUT_OFF_S, self._ended, name)
            raise
        self._ended(name)
        await self.mark(docker)

    async def mark(self, docker: aiodocker.Docker) -> None:
        """Mark what pulls by logins have brought, those included that were cut off."""
        for fact, before in self._memory.facts(_FACT).items():
            name = fact.removeprefix(_FACT)
            came = await identity(docker, name)
            if came is not None and came not in msgspec.json.decode(before, type=list[str]):
                await docker.images.tag(came, MARKS, tag=_tag(came))
            if not self._under_way[name]:
                self._memory.drop_fact(fact)

    async def has(self, docker: aiodocker.Docker, image_id: str) -> bool:
        """Whether an image came by a login."""
        return await identity(docker, f"{MARKS}:{_tag(image_id)}") is not None

    def _ended(self, name: str) -> None:
        self._under_way[name] -= 1


def _tag(image_id: str) -> str:
    return image_id.removeprefix("sha256:")
