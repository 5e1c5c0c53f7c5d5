"""Clients of every sort that ask without end, while workers are killed at random.

What the official client cannot save is allowed to break, and only while its own worker dies: a
stream that has begun, and a session. Everything else that does not end as it should is lost.
"""

import asyncio
import contextlib
import math
import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

PATIENCE_S = 60.0
"""A request that has no answer this long after every worker is back has none at all."""


class Lost(Exception):  # noqa: N818 - what the test is after
    """A request did not end as it should, and nothing excuses it."""


Dying = Callable[[str], AbstractContextManager[None]]
"""Held while the worker at an address is being killed."""


class Mortals(ABC):
    """Workers that can be killed, as their engine shows them."""

    count: int
    """How many there are when all are well."""

    @abstractmethod
    async def rows(self) -> dict[int, dict[str, Any]]:
        """What the engine shows of each."""

    @abstractmethod
    async def slay(self, number: int, luck: random.Random, dying: Dying) -> None:
        """Kill the `number`th, if it lives, and see that it comes back."""

    async def until_ready(self, count: int, *, seconds: float = 60.0) -> None:
        """Wait until so many are ready."""
        await self.until(
            seconds,
            lambda rows: sum(row["status"] == "idle" for row in rows.values()) >= count,
        )

    async def until_nothing_is_here(self, *, seconds: float = 60.0) -> None:
        """Wait until every count of what is under way is exactly 0."""
        counts = ("reqs_working", "cur_load", "cur_load_rolling_avg")
        await self.until(
            seconds, lambda rows: not any(row[each] for row in rows.values() for each in counts)
        )

    async def until(
        self, seconds: float, true: Callable[[dict[int, dict[str, Any]]], bool]
    ) -> None:
        """Wait until something is true of what the engine shows."""
        try:
            async with asyncio.timeout(seconds):
                while not true(await self.rows()):  # noqa: ASYNC110 - other processes
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(await self.rows()) from None


class Ordeal:
    """One endpoint's clients, and the death of its workers."""

    def __init__(self, workers: Mortals, endpoint: Any, luck: random.Random, life_s: float) -> None:
        """A worker lives for `life_s` on average."""
        self._workers = workers
        self._endpoint = endpoint
        self._luck = luck
        self._life_s = life_s
        self._killed_at: dict[str, float] = {}
        self._over = asyncio.Event()
        self.ended: Counter[str] = Counter()
        """How often what ended how."""

    async def run(self, seconds: float) -> Counter[str]:
        """Go on for so long, then let everything end; how often what ended how. Raises Lost."""
        kinds = [*4 * [self._request], self._stream, self._session, self._leaves, self._fails]
        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(self._again_and_again(kind)) for kind in kinds]
            lives = [tasks.create_task(self._live(n)) for n in range(self._workers.count)]
            await asyncio.sleep(seconds)
            self._over.set()
            await asyncio.gather(*lives)
            await self._workers.until_ready(self._workers.count, seconds=120)
            _, hung = await asyncio.wait(clients, timeout=PATIENCE_S)
            if hung:
                raise Lost(f"{len(hung)} clients have no answer")
        return self.ended

    async def _again_and_again(self, kind: Callable[[], Awaitable[str]]) -> None:
        while not self._over.is_set():
            self.ended[await kind()] += 1

    async def _live(self, number: int) -> None:
        """A worker's lives, one after another."""
        while True:
            try:
                async with asyncio.timeout(self._luck.expovariate(1 / self._life_s)):
                    await self._over.wait()
            except TimeoutError:
                await self._workers.slay(number, self._luck, self._dying)
            else:
                return

    @contextlib.contextmanager
    def _dying(self, url: str) -> Iterator[None]:
        """At some moment while this is held, the worker at an address dies."""
        self._killed_at[url] = math.inf
        yield
        self._killed_at[url] = time.monotonic()
        self.ended["worker killed"] += 1

    def _excused(self, url: str, since_s: float) -> bool:
        """Whether the worker at an address has died since."""
        return self._killed_at.get(url, 0.0) >= since_s

    # What clients do.

    async def _request(self) -> str:
        payload = {"n": self._luck.random(), "dawdle_s": self._luck.choice((0.0, 0.1, 0.5))}
        route = self._luck.choice(("/generate", "/generate", "/serial"))
        answer = await self._endpoint.request(route, payload, cost=self._luck.uniform(1, 200))
        if not answer["ok"] or answer["response"]["echo"] != payload:
            raise Lost(f"a request ended with {answer}")
        return "request answered"

    async def _stream(self) -> str:
        payload = {"count": 10, "dawdle_s": self._luck.choice((0.01, 0.1))}
        began_s = time.monotonic()
        answer = await self._endpoint.request("/stream", payload, stream=True)
        if not answer["ok"]:
            raise Lost(f"a stream ended with {answer}")
        pieces: list[Any] = []
        try:
            async for piece in answer["response"]:
                pieces.append(piece)  # noqa: PERF401 - those before it breaks are wanted too
        except Exception as error:  # whatever the client makes of a broken connection
            if not self._excused(answer["url"], began_s):
                raise Lost(f"a stream broke: {error!r}") from error
            return "stream broken by its worker's death"
        if pieces != [{"number": number} for number in range(10)]:
            if not self._excused(answer["url"], began_s):
                raise Lost(f"a stream said {pieces}")
            return "stream cut by its worker's death"
        return "stream whole"

    async def _session(self) -> str:
        began_s = time.monotonic()
        session = await self._endpoint.session(cost=40, lifetime=1)
        try:
            for number in range(4):
                answer = await session.request("/generate", {"n": number, "dawdle_s": 0.1})
                if not answer["ok"] or answer["response"]["echo"]["n"] != number:
                    raise Lost(f"a request of a session ended with {answer}")  # noqa: TRY301 - excused as all else is
        except Exception as error:  # the same
            if not self._excused(session.url, began_s):
                raise Lost(f"a session broke: {error!r}") from error
            return "session broken by its worker's death"
        if self._luck.random() < 0.8:
            await session.close()
            return "session closed"
        return "session left to its end"

    async def _leaves(self) -> str:
        request = self._endpoint.request("/generate", {"dawdle_s": 30})
        await asyncio.sleep(self._luck.uniform(0, 0.5))
        if request.done():
            raise Lost(f"a request of half a minute ended with {request}")
        request.cancel()
        await asyncio.sleep(self._luck.uniform(0, 0.5))
        return "request cancelled"

    async def _fails(self) -> str:
        await asyncio.sleep(self._luck.uniform(0, 1))
        answer = await self._endpoint.request("/generate", {"fail": 418})
        if answer["status"] != 418:
            raise Lost(f"an error of the model ended with {answer}")
        return "error passed on"
