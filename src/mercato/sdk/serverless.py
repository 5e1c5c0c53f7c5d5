"""Endpoints for programs: requests with retries and progress, whole or streamed.

    with Mercato(url, key) as market:
        answer = market.endpoint("llm").request("/v1/completions", {"prompt": "Hello"})
        for piece in market.endpoint("llm").stream("/v1/completions", {"prompt": "Hello"}):
            ...
        with market.endpoint("llm").session(lifetime_s=300) as session:
            session.request("/v1/completions", {"prompt": "Hello"})  # all at the same worker

The key is the account's or the endpoint's own.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self, Unpack

import httpx2

from mercato import __version__
from mercato.sdk.asking import (
    SESSION_S,
    Answered,
    Ask,
    Conversation,
    Heard,
    How,
    Pause,
    Seat,
    Send,
    Tell,
    ended,
    ends,
    is_open,
    lives,
    opening,
    silent,
)
from mercato.sdk.deadline import LATE, AsyncUntil, Until
from mercato.sdk.errors import ServerFailed, Unreachable
from mercato.sdk.pieces import Pieces

_MANY: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
_LOST: Final = (httpx2.RequestError, httpx2.InvalidURL)
_HOPELESS: Final = (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
"""The request itself cannot be sent: not later either."""
_HEADERS: Final = {"User-Agent": f"mercato/{__version__}", "Content-Type": "application/json"}


class _Named:
    """An endpoint by its name, and how its requests are described."""

    def __init__(self, engine: str, key: str | None, name: str, luck: Callable[[], float]) -> None:
        """Connect to nothing yet. `engine` is its address; `luck` in [0, 1) spreads retries."""
        self.name = name
        self._engine = engine
        self._key = key
        self._luck = luck

    def _ask(self, route: str, payload: Mapping[str, Any], how: How) -> Ask:
        return Ask(self.name, route, payload, **how)

    def _talk(self, ask: Ask, progress: Tell) -> Conversation:
        return Conversation(self._engine, ask, progress, time.monotonic, self._luck)

    def _post(self, send: Send) -> dict[str, Any]:
        """How a step is sent: the engine is shown the key, a worker never is."""
        headers = (
            {} if send.to_worker or not self._key else {"Authorization": f"Bearer {self._key}"}
        )
        return {"content": send.body, "headers": headers, "timeout": send.timeout_s}


class _Seated(_Named):
    """An endpoint's requests at one worker, in a session there."""

    def __init__(self, seat: Seat, of: _Named) -> None:
        super().__init__(of._engine, of._key, of.name, of._luck)  # noqa: SLF001 - its own kind
        self._seat = seat

    @property
    def id(self) -> str:
        """The worker's name for it."""
        return self._seat.session_id

    @property
    def url(self) -> str:
        """The worker."""
        return self._seat.url

    def _ask(self, route: str, payload: Mapping[str, Any], how: How) -> Ask:
        return Ask(self.name, route, payload, **how, seat=self._seat)


class _Blocking(_Named):
    """Requests of a program that blocks."""

    _http: httpx2.Client

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
        return self._follow(self._talk(self._ask(route, payload, how), progress))

    def stream(
        self,
        route: str,
        payload: Mapping[str, Any],
        *,
        progress: Tell = silent,
        **how: Unpack[How],
    ) -> Iterator[Any]:
        """The pieces of an answer as they come, each decoded JSON, or text that is none.

        An answer that is no stream is one piece. Another worker is tried only until the first piece
        is here. To stop reading is to cancel.

        Raises:
            Failure: as `request`; also when the worker is lost in the middle.
        """
        talk = self._talk(self._ask(route, payload, how), progress)
        steps = talk.steps()
        heard: Heard | None = None
        while True:
            step = steps.send(heard)
            if isinstance(step, Pause) or not step.to_worker:
                heard = self._do(step)
                continue
            begun = False
            try:
                with self._sent(step) as answer:
                    if answer.status_code < 300:
                        pieces = _pieces(answer)
                        for chunk in answer.iter_bytes():
                            for piece in pieces.feed(chunk):
                                begun = True
                                yield piece
                        yield from pieces.end()
                        return
                    heard = _heard(answer, answer.read())
            except _LOST as error:
                if begun and isinstance(error, httpx2.TimeoutException):
                    raise talk.late(str(error)) from error
                heard = _lost(error, step, begun=begun)

    def _follow(self, talk: Conversation) -> Answered:
        steps = talk.steps()
        heard: Heard | None = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as over:
                answered: Answered = over.value
                return answered
            heard = self._do(step)

    def _do(self, step: Send | Pause) -> Heard | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)  # noqa: TID251 - backing off is the wait
            return None
        try:
            with self._sent(step) as answer:
                return _heard(answer, answer.read())
        except _LOST as error:
            return _lost(error, step, begun=False)

    @contextmanager
    def _sent(self, step: Send) -> Iterator[httpx2.Response]:
        """The answer to a step, still to be read; all of it within the step's time."""
        until_s = time.monotonic() + step.timeout_s
        request = self._http.build_request("POST", step.url, **self._post(step))
        timeouts = request.extensions["timeout"]

        def clip(_event: str, _about: object) -> None:
            # A timeout is for one operation: each has what those before it have left.
            left_s = max(0.001, until_s - time.monotonic())
            timeouts.update(dict.fromkeys(timeouts, left_s))

        request.extensions["trace"] = clip
        answer = self._http.send(request, stream=True)
        try:
            assert isinstance(answer.stream, httpx2.SyncByteStream)
            answer.stream = Until(answer.stream, until_s)
            yield answer
        finally:
            answer.close()


class Endpoint(_Blocking):
    """One endpoint, for a program that blocks; several threads may ask at once."""

    def __init__(
        self, engine: str, key: str | None, name: str, luck: Callable[[], float] = random.random
    ) -> None:
        super().__init__(engine, key, name, luck)
        self._http = httpx2.Client(headers=_HEADERS, limits=_MANY)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def session(
        self,
        *,
        lifetime_s: float = SESSION_S,
        on_close_url: str | None = None,
        on_close_payload: Any = None,
        progress: Tell = silent,
        **how: Unpack[How],
    ) -> "Session":
        """Keep one worker for several requests.

        It counts as work of `cost` from now until it is closed, or its time is up: `lifetime_s`
        from now, and as much more with each of its requests. Then `on_close_payload` is posted to
        `on_close_url`, if there is one. A worker that takes no more sessions is passed over.

        Raises:
            Failure: as `request`.
        """
        ask = opening(self.name, lifetime_s, on_close_url, on_close_payload, how)
        talk = self._talk(ask, progress)
        seat = talk.seat(self._follow(talk))
        return Session(seat, self)


class Session(_Seated, _Blocking):
    """An open session: requests of one worker. Close it, or use it as a context manager.

    A request in it is tried again only while its worker is too busy to begin. When the session has
    ended, it raises `NotFound`; when its worker is lost, `ServerFailed`.
    """

    def __init__(self, seat: Seat, of: Endpoint) -> None:
        super().__init__(seat, of)
        self._http = of._http  # noqa: SLF001 - its endpoint's

    def is_open(self) -> bool:
        """Whether it lives; a worker that does not answer has none."""
        heard = self._do(lives(self._seat))
        return heard is not None and is_open(heard)

    def close(self) -> bool:
        """End it, and what is under way in it; False when it had ended already."""
        heard = self._do(ends(self._seat))
        return heard is not None and ended(heard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Async(_Named):
    """The same, for asyncio."""

    _http: httpx2.AsyncClient

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
        return await self._follow(self._talk(self._ask(route, payload, how), progress))

    async def stream(
        self,
        route: str,
        payload: Mapping[str, Any],
        *,
        progress: Tell = silent,
        **how: Unpack[How],
    ) -> AsyncIterator[Any]:
        """The pieces of an answer as they come, each decoded JSON, or text that is none.

        An answer that is no stream is one piece. Another worker is tried only until the first piece
        is here. To stop reading is to cancel.

        Raises:
            Failure: as `request`; also when the worker is lost in the middle.
        """
        talk = self._talk(self._ask(route, payload, how), progress)
        steps = talk.steps()
        heard: Heard | None = None
        while True:
            step = steps.send(heard)
            if isinstance(step, Pause) or not step.to_worker:
                heard = await self._do(step)
                continue
            begun = False
            try:
                async with self._sent(step) as answer:
                    if answer.status_code < 300:
                        pieces = _pieces(answer)
                        async for chunk in answer.aiter_bytes():
                            for piece in pieces.feed(chunk):
                                begun = True
                                yield piece
                        for piece in pieces.end():
                            yield piece
                        return
                    heard = _heard(answer, await answer.aread())
            except _LOST as error:
                if begun and isinstance(error, httpx2.TimeoutException):
                    raise talk.late(str(error)) from error
                heard = _lost(error, step, begun=begun)

    async def _follow(self, talk: Conversation) -> Answered:
        steps = talk.steps()
        heard: Heard | None = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as over:
                answered: Answered = over.value
                return answered
            heard = await self._do(step)

    async def _do(self, step: Send | Pause) -> Heard | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            async with self._sent(step) as answer:
                return _heard(answer, await answer.aread())
        except _LOST as error:
            return _lost(error, step, begun=False)

    @asynccontextmanager
    async def _sent(self, step: Send) -> AsyncIterator[httpx2.Response]:
        """The answer to a step, still to be read; all of it within the step's time."""
        until_s = asyncio.get_running_loop().time() + step.timeout_s
        request = self._http.build_request("POST", step.url, **self._post(step))
        try:
            async with asyncio.timeout_at(until_s):
                answer = await self._http.send(request, stream=True)
        except TimeoutError:
            raise httpx2.ReadTimeout(LATE) from None
        try:
            assert isinstance(answer.stream, httpx2.AsyncByteStream)
            answer.stream = AsyncUntil(answer.stream, until_s)
            yield answer
        finally:
            await answer.aclose()


class AsyncEndpoint(_Async):
    """One endpoint, for asyncio."""

    def __init__(
        self, engine: str, key: str | None, name: str, luck: Callable[[], float] = random.random
    ) -> None:
        super().__init__(engine, key, name, luck)
        self._http = httpx2.AsyncClient(headers=_HEADERS, limits=_MANY)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def session(
        self,
        *,
        lifetime_s: float = SESSION_S,
        on_close_url: str | None = None,
        on_close_payload: Any = None,
        progress: Tell = silent,
        **how: Unpack[How],
    ) -> "AsyncSession":
        """Keep one worker for several requests.

        It counts as work of `cost` from now until it is closed, or its time is up: `lifetime_s`
        from now, and as much more with each of its requests. Then `on_close_payload` is posted to
        `on_close_url`, if there is one. A worker that takes no more sessions is passed over.

        Raises:
            Failure: as `request`.
        """
        ask = opening(self.name, lifetime_s, on_close_url, on_close_payload, how)
        talk = self._talk(ask, progress)
        seat = talk.seat(await self._follow(talk))
        return AsyncSession(seat, self)


class AsyncSession(_Seated, _Async):
    """An open session, for asyncio; all else as `Session`."""

    def __init__(self, seat: Seat, of: AsyncEndpoint) -> None:
        super().__init__(seat, of)
        self._http = of._http  # noqa: SLF001 - its endpoint's

    async def is_open(self) -> bool:
        """Whether it lives; a worker that does not answer has none."""
        heard = await self._do(lives(self._seat))
        return heard is not None and is_open(heard)

    async def close(self) -> bool:
        """End it, and what is under way in it; False when it had ended already."""
        heard = await self._do(ends(self._seat))
        return heard is not None and ended(heard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _heard(answer: httpx2.Response, content: bytes) -> Heard:
    kind = answer.headers.get("Content-Type", "")
    return Heard(status=answer.status_code, content=content, kind=kind)


def _pieces(answer: httpx2.Response) -> Pieces:
    framed = "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
    return Pieces(answer.headers.get("Content-Type", ""), framed=framed)


def _lost(error: Exception, step: Send, *, begun: bool) -> Heard:
    """Nobody answered.

    Raises:
        ServerFailed: when a part of the answer was here: it cannot be asked for again; also when
            what was answered cannot be read.
        Unreachable: when the engine's address, or the key for it, cannot be right.
    """
    why = str(error) or type(error).__name__
    if begun:
        raise ServerFailed(f"the worker at {step.url} was lost while it answered: {why}") from error
    if not step.to_worker and isinstance(error, _HOPELESS):
        raise Unreachable(f"cannot reach {step.url}: {why}", code="unreachable") from error
    if not isinstance(error, httpx2.TransportError | httpx2.InvalidURL):
        raise ServerFailed(f"the answer of {step.url} cannot be read: {why}") from error
    return Heard(status=0, content=why.encode())
