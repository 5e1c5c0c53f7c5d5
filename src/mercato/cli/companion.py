"""The Serverless Engine beside the control plane, in one process and on one origin."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import structlog

from mercato.engine.api import Api
from mercato.engine.clock import SystemClock
from mercato.engine.engine import Engine
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

    def around(self, rest: App) -> App:
        """The engine's calls, and the rest by another application."""
        return Beside(
            self._api.knows, self._api.handle, _complain, rest, body_bytes_max=BODY_BYTES_MAX
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The engine runs while this is held."""
        await self._engine.open()
        task = asyncio.create_task(self._engine.run(), name="engine")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _complain(what: str, error: BaseException) -> None:
    _log.error("a call failed", asked=what, exc_info=error)
