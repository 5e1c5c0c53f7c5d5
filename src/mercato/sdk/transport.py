"""Sends calls: with the key, over kept connections, again when that is worth it."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import httpx2
import msgspec

from mercato import __version__
from mercato.sdk.call import Call, answer_of, read
from mercato.sdk.errors import TimedOut, Unreachable
from mercato.sdk.retry import NOT_BEGUN, WORTH_REPEATING, delay_s

T = TypeVar("T")

TIMEOUT_S: Final = 60.0
RESULT_DEADLINE_S: Final = 60.0
RESULT_EVERY_S: Final = 0.2
_NEVER_SENT: Final = (
    *(httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout),
    *(httpx2.UnsupportedProtocol, httpx2.LocalProtocolError),
)


def _headers(key: str | None) -> dict[str, str]:
    headers = {"User-Agent": f"mercato/{__version__}"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return headers


def _content(call: Call[Any]) -> bytes | None:
    return None if call.body is None else msgspec.json.encode(call.body)


def _call_headers(call: Call[Any], name: str) -> dict[str, str]:
    headers = {} if call.body is None else {"Content-Type": "application/json"}
    if not call.repeatable:
        headers["Idempotency-Key"] = name
    return headers


def _unreachable(base_url: str, error: Exception, call: Call[Any] | None = None) -> Unreachable:
    why = str(error) or type(error).__name__
    if call is not None and call.once and _may_have_arrived(error):
        why += "; it may have been done all the same: look before you ask again"
    return Unreachable(f"cannot reach {base_url}: {why}", code="unreachable")


class Blocking:
    """The transport of the blocking client.

    `luck` draws from [0, 1) to spread retries; `pause` waits a number of seconds.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        luck: Callable[[], float] = random.random,
        pause: Callable[[float], None] = time.sleep,  # noqa: TID251 - backing off is the wait
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Connect to nothing yet."""
        self.base_url = base_url.rstrip("/")
        self._http = httpx2.Client(headers=_headers(key), timeout=timeout_s)
        self._luck = luck
        self._pause = pause

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Make a call and read its answer.

        Raises:
            Failure: whatever kind it is.
        """
        return read(call, self.fetch(call))

    def fetch(self, call: Call[Any]) -> Any:
        """Make a call; the decoded JSON as the server gave it."""
        attempt = 0
        headers = _call_headers(call, secrets.token_hex(16))
        while True:
            wait: float | None
            try:
                answer = self._http.request(
                    call.method,
                    self.base_url + call.url_path,
                    params=call.parameters(),
                    content=_content(call),
                    headers=headers,
                )
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                wait = _after_error(call, error, attempt, self._luck())
                if wait is None:
                    raise _unreachable(self.base_url, error, call) from error
            else:
                wait = _after_answer(call, answer, attempt, self._luck())
                if wait is None:
                    return answer_of(call, answer.status_code, answer.content)
            self._pause(wait)
            attempt += 1

    def result(self, url: str, deadline_s: float = RESULT_DEADLINE_S) -> str:
        """The text behind a result address, once it is there.

        Raises:
            TimedOut: when it is not there in time.
        """
        until = time.monotonic() + deadline_s
        while time.monotonic() < until:
            try:
                answer = self._http.get(url)
            except httpx2.TransportError as error:
                raise _unreachable(url, error) from error
            if answer.status_code == 200:
                return answer.text
            self._pause(RESULT_EVERY_S)
        raise TimedOut(f"no result after {deadline_s:.0f} s", code="timed_out")


class Awaiting:
    """The transport of the asyncio client."""

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        luck: Callable[[], float] = random.random,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Connect to nothing yet."""
        self.base_url = base_url.rstrip("/")
        self._http = httpx2.AsyncClient(headers=_headers(key), timeout=timeout_s)
        self._luck = luck

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Make a call and read its answer.

        Raises:
            Failure: whatever kind it is.
        """
        return read(call, await self.fetch(call))

    async def fetch(self, call: Call[Any]) -> Any:
        """Make a call; the decoded JSON as the server gave it."""
        attempt = 0
        headers = _call_headers(call, secrets.token_hex(16))
        while True:
            wait: float | None
            try:
                answer = await self._http.request(
                    call.method,
                    self.base_url + call.url_path,
                    params=call.parameters(),
                    content=_content(call),
                    headers=headers,
                )
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                wait = _after_error(call, error, attempt, self._luck())
                if wait is None:
                    raise _unreachable(self.base_url, error, call) from error
            else:
                wait = _after_answer(call, answer, attempt, self._luck())
                if wait is None:
                    return answer_of(call, answer.status_code, answer.content)
            await asyncio.sleep(wait)
            attempt += 1

    async def result(self, url: str, deadline_s: float = RESULT_DEADLINE_S) -> str:
        """The text behind a result address, once it is there.

        Raises:
            TimedOut: when it is not there in time.
        """
        until = time.monotonic() + deadline_s
        while time.monotonic() < until:
            try:
                answer = await self._http.get(url)
            except httpx2.TransportError as error:
                raise _unreachable(url, error) from error
            if answer.status_code == 200:
                return answer.text
            await asyncio.sleep(RESULT_EVERY_S)
        raise TimedOut(f"no result after {deadline_s:.0f} s", code="timed_out")


def _may_have_arrived(error: Exception) -> bool:
    return isinstance(error, httpx2.TransportError) and not isinstance(error, _NEVER_SENT)


def _after_error(call: Call[Any], error: Exception, attempt: int, luck: float) -> float | None:
    hopeless = not isinstance(error, httpx2.TransportError)
    if hopeless or isinstance(error, httpx2.UnsupportedProtocol):
        return None
    if call.once and _may_have_arrived(error):
        return None
    return delay_s(attempt, None, luck)


def _after_answer(
    call: Call[Any], answer: httpx2.Response, attempt: int, luck: float
) -> float | None:
    if answer.status_code not in (NOT_BEGUN if call.once else WORTH_REPEATING):
        return None
    return delay_s(attempt, answer.headers.get("Retry-After"), luck)
