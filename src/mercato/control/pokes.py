"""Pokes between replicas: what changed here is heard there, by PostgreSQL's LISTEN and NOTIFY.

A poke carries no data and may be lost: whoever hears none for a while looks for itself. Published
after the commit and not in it, as NOTIFY in a transaction makes all commits wait for one another.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import psycopg
import structlog

CHANNEL: Final = "mercato"
PAYLOAD_MAX: Final = 7_000
"""PostgreSQL takes 8000 bytes."""
RECONNECT_S: Final = 1.0

_log = structlog.get_logger("mercato.pokes")

Connection = psycopg.AsyncConnection[tuple[object, ...]]


class Pokes:
    """This replica's ear and mouth."""

    def __init__(
        self, url: str, hear: Callable[[Sequence[str]], None], deaf: Callable[[], None]
    ) -> None:
        """Call `hear` with topics, and `deaf` when some may have been missed."""
        self._url = url
        self._hear = hear
        self._deaf = deaf
        self._name = secrets.token_hex(4)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._untold: set[str] = set()
        self._told = asyncio.Event()

    def tell(self, topics: Sequence[str]) -> None:
        """Tell everybody, this replica first; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._tell_here, list(topics))

    def _tell_here(self, topics: list[str]) -> None:
        self._hear(topics)
        self._untold.update(topics)
        self._told.set()

    async def run(self) -> None:
        """Listen and publish until cancelled, connecting again whenever it must."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._connected(self._listen))
            tasks.create_task(self._connected(self._speak))

    async def _connected(self, use: Callable[[Connection], Awaitable[None]]) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True
                ) as connection:
                    await use(connection)
            except (psycopg.Error, OSError) as problem:
                _log.warning("pokes_lost", problem=str(problem))
                await asyncio.sleep(RECONNECT_S)

    async def _listen(self, connection: Connection) -> None:
        await connection.execute(f"listen {CHANNEL}")
        self._deaf()
        async for notice in connection.notifies():
            self._heard(notice.payload)

    async def _speak(self, connection: Connection) -> None:
        while True:
            await self._told.wait()
            await self._publish(connection)

    async def _publish(self, connection: Connection) -> None:
        topics, self._untold = sorted(self._untold), set()
        self._told.clear()
        payload = self._name
        for topic in [*topics, ""]:
            if not topic or len(payload) + len(topic) > PAYLOAD_MAX:
                if payload != self._name:
                    await connection.execute("select pg_notify(%s, %s)", (CHANNEL, payload))
                payload = self._name
            payload += f" {topic}"

    def _heard(self, payload: str) -> None:
        sender, *topics = payload.split()
        if sender != self._name and topics:
            self._hear(topics)
