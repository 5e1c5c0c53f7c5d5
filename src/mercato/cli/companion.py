"""The Serverless Engine beside the control plane, in one process and on one origin."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from mercato.control.flows.serving import TOPIC
from mercato.engine.api import Api
from mercato.engine.clock import SystemClock
from mercato.engine.engine import Engine
from mercato.engine.market import UNREACHABLE
from mercato.http.asgi import App, Beside

if TYPE_CHECKING:
    from mercato.control.app import ControlPlane

BODY_BYTES_MAX: Final = 64 * 1_024 * 1_024
"""What passes through an endpoint's door may be large; everything else is small."""

_log = structlog.get_logger("mercato.engine")


class EngineBeside:
    """One engine, for the market of one control plane."""

    def __init__(self, plane: "ControlPlane", url: str) -> None:
        """Serve under `url`, where workers and other engines reach this process."""
        market = plane.recruiter(url)
        self._engine = Engine(market, SystemClock(), secrets.token_hex(4), url)
        self._api = Api(self._engine)
        self._changed = asyncio.Event()
        plane.also_hears = self._hear

    def around(self, rest: App) -> App:
        """The engine's calls, and the rest by another application."""
        return Beside(
            self._api.knows, self._api.handle, _complain, rest, body_bytes_max=BODY_BYTES_MAX
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The engine runs while this is held."""
        await self._engine.open()
        tasks = [
            asyncio.create_task(self._engine.run(), name="engine"),
            asyncio.create_task(self._refresh_when_told(), name="engine refresh"),
        ]
        for task in tasks:
            task.add_done_callback(_ended)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _hear(self, topics: Sequence[str]) -> None:
        if TOPIC in topics:
            self._changed.set()
        if "keys" in topics:
            self._engine.forget_keys()

    async def _refresh_when_told(self) -> None:
        """See at once what was changed through this market: the engine looks by itself seldom."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._engine.refresh()
            except UNREACHABLE as error:
                _log.warning("the market cannot be reached", why=str(error))
            except Exception:  # noqa: BLE001 - it looks by itself, and will hear of the next change
                _log.exception("the market cannot be looked at")


def _ended(task: asyncio.Task[None]) -> None:
    """Neither task ends by itself; say so if one does."""
    if not task.cancelled():
        _log.error("the engine has ended", task=task.get_name(), exc_info=task.exception())


def _complain(what: str, error: BaseException) -> None:
    _log.error("a call failed", asked=what, exc_info=error)
