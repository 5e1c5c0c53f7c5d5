"""Endpoints for programs: requests with retries and progress, whole or streamed.

    with Mercato(url, key) as market:
        answer = market.endpoint("llm").request("/v1/completions", {"prompt": "Hello"})
        for piece in market.endpoint("llm").stream("/v1/completions", {"prompt": "Hello"}):
            ...

The key is the account's or the endpoint's own.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, Unpack

import httpx2

from mercato import __version__
from mercato.sdk.asking import (
    Answered,
    Ask,
    Conversation,
    Heard,
    How,
    NoPiece,
    Pause,
    Send,
    Steps,
    Tell,
    piece_of,
    silent,
)
from mercato.sdk.errors import ServerFailed

_MANY: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
_HEADERS: Final = {"User-Agent": f"mercato/{__version__}", "Content-Type": "application/json"}


class _Named:
    """An endpoint by its name, and how its requests are described."""

    def __init__(self, engine: str, key: str | None, name: str, luck: Callable[[], float]) -> None:
        """Connect to nothing yet. `engine` is its address; `luck` in [0, 1) spreads retries."""
        self.name = name
        self._engine = engine
        self._key = key
        self._luck = luck

    def _steps(self, ask: Ask, progress: Tell) -> Steps:
        return Conversation(self._engine, ask, progress, time.monotonic, self._luck).steps()

    def _post(self, send: Send) -> dict[str, Any]:
        """How a step is sent: the engine is shown the key, a worker never is."""
        headers = (
            {} if send.to_worker or not self._key else {"Authorization": f"Bearer {self._key}"}
        )
        return {"content": send.body, "headers": headers, "timeout": send.timeout_s}


class Endpoint(_Named):
    """One endpoint, for a program that blocks; several threads may ask at once."""

    def __init__(
        self, engine: str, key: str | None, name: str, luck: Callable[[], float] = random.random
    ) -> None:
        super().__init__(engine, key, name, luck)
        self._http = httpx2.Client(headers=_HEADERS, limits=_MANY)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def request(
        self,
        route: str,
        payload: Mapping[str, Any],
        *,
        progress: Tell = silent,
        **how: Unpack[How],
    ) -> Answered:
        """Have a worker answer `payload` at `route`; waits while workers wake.

        `how` is described at `How`; `retries=0` for what must not be done twice.

        Raises:
            Failure: when it is refused, fails, or is not answered within `timeout_s`.
        """
        steps = self._steps(Ask(self.name, route, payload, **how), progress)
        heard: Heard | None = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as ended:
                answered: Answered = ended.value
                return answered
            heard = self._do(step)

    def stream(
        self,
        route: str,
        payload: Mapping[str, Any],
        *,
        progress: Tell = silent,
        **how: Unpack[How],
    ) -> Iterator[Any]:
        """The pieces of an answer as they come, each decoded JSON.

        Another worker is tried only until the first piece is here. To stop reading is to cancel.

        Raises:
            Failure: as `request`; also when the worker is lost in the middle.
        """
        steps = self._steps(Ask(self.name, route, payload, **how), progress)
        heard: Heard | None = None
        while True:
            step = steps.send(heard)
            if isinstance(step, Pause) or not step.to_worker:
                heard = self._do(step)
                continue
            begun = False
            try:
                with self._http.stream("POST", step.url, **self._post(step)) as answer:
                    if answer.status_code < 300:
                        for line in answer.iter_lines():
                            piece = piece_of(line)
                            if piece is not NoPiece:
                                begun = True
                                yield piece
                        return
                    heard = _heard(answer, answer.read())
            except httpx2.TransportError as error:
                heard = _lost(error, step, begun=begun)

    def _do(self, step: Send | Pause) -> Heard | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)  # noqa: TID251 - backing off is the wait
            return None
        try:
            answer = self._http.post(step.url, **self._post(step))
        except httpx2.TransportError as error:
            return _lost(error, step, begun=False)
        return _heard(answer, answer.content)


class AsyncEndpoint(_Named):
    """The same, for asyncio."""

    def __init__(
        self, engine: str, key: str | None, name: str, luck: Callable[[], float] = random.random
    ) -> None:
        super().__init__(engine, key, name, luck)
        self._http = httpx2.AsyncClient(headers=_HEADERS, limits=_MANY)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def request(
        self,
        route: str,
        payload: Mapping[str, Any],
        *,
        progress: Tell = silent,
        **how: Unpack[How],
    ) -> Answered:
        """Have a worker answer `payload` at `route`; waits while workers wake.

        `how` is described at `How`; `retries=0` for what must not be done twice. To cancel the task
        is to cancel the request.

        Raises:
            Failure: when it is refused, fails, or is not answered within `timeout_s`.
        """
        steps = self._steps(Ask(self.name, route, payload, **how), progress)
        heard: Heard | None = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as ended:
                answered: Answered = ended.value
                return answered
            heard = await self._do(step)

    async def stream(
        self,
        route: str,
        payload: Mapping[str, Any],
        *,
        progress: Tell = silent,
        **how: Unpack[How],
    ) -> AsyncIterator[Any]:
        """The pieces of an answer as they come, each decoded JSON.

        Another worker is tried only until the first piece is here. To stop reading is to cancel.

        Raises:
            Failure: as `request`; also when the worker is lost in the middle.
        """
        steps = self._steps(Ask(self.name, route, payload, **how), progress)
        heard: Heard | None = None
        while True:
            step = steps.send(heard)
            if isinstance(step, Pause) or not step.to_worker:
                heard = await self._do(step)
                continue
            begun = False
            try:
                async with self._http.stream("POST", step.url, **self._post(step)) as answer:
                    if answer.status_code < 300:
                        async for line in answer.aiter_lines():
                            piece = piece_of(line)
                            if piece is not NoPiece:
                                begun = True
                                yield piece
                        return
                    heard = _heard(answer, await answer.aread())
            except httpx2.TransportError as error:
                heard = _lost(error, step, begun=begun)

    async def _do(self, step: Send | Pause) -> Heard | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            answer = await self._http.post(step.url, **self._post(step))
        except httpx2.TransportError as error:
            return _lost(error, step, begun=False)
        return _heard(answer, answer.content)


def _heard(answer: httpx2.Response, content: bytes) -> Heard:
    kind = answer.headers.get("Content-Type", "")
    return Heard(status=answer.status_code, content=content, kind=kind)


def _lost(error: httpx2.TransportError, step: Send, *, begun: bool) -> Heard:
    """Nobody answered.

    Raises:
        ServerFailed: when a part of the answer was here: it cannot be asked for again.
    """
    why = str(error) or type(error).__name__
    if begun:
        raise ServerFailed(f"the worker at {step.url} was lost while it answered: {why}") from error
    return Heard(status=0, content=why.encode())
