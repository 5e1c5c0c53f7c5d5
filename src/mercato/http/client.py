"""An HTTP/1.1 client for one origin, with connections kept while they are warm."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mercato.http.call import Headers
from mercato.http.line import Answer, Line, Sink, Whole
from mercato.http.outbox import Outbox

KEPT_S: Final = 1.5
"""How long an unused connection is kept: less than any common server's own patience."""
STALE_S: Final = 0.05
"""That a kept connection was closed meanwhile shows within this time."""
KEPT_MAX: Final = 256
CONNECT_S: Final = 10.0


class OriginFailed(Exception):  # noqa: N818 - says which end is at fault
    """The origin could not be reached, or broke off; nothing is known of what it did."""


Done = Callable[[OriginFailed | None], None]
"""Told once that an exchange is over: nothing when its answer is whole, else why it is not."""


class Origin(NamedTuple):
    """Where a server is."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The origin of an http or https URL.

        Raises:
            ValueError: when it is not one.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is not an http or https URL")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)

    @property
    def authority(self) -> str:
        """As the Host header says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Exchange:
    """One request to an origin and its answer, without a task of its own."""

    __slots__ = ("_connecting", "_done", "_line", "_pool", "_request", "_sent_s", "_sink")

    def __init__(self, pool: "Pool", request: bytes, sink: Sink, done: Done) -> None:
        """Send it, as `Pool.start` says."""
        self._pool = pool
        self._request = request
        self._sink = sink
        self._done: Done | None = done
        self._connecting: asyncio.Task[None] | None = None
        self._sent_s: float | None = monotonic()
        self._line = pool.warm(self._sent_s)
        if self._line is None:
            self._connect()
        else:
            self._line.carry(self, request, sink)

    def cancel(self) -> None:
        """Break it off; `done` will not be called."""
        self._done = None
        if self._connecting is not None:
            self._connecting.cancel()
        if self._line is not None:
            self._line.abort()

    # What its line tells.

    def whole(self, line: Line) -> None:
        """The sink has the whole answer."""
        done, self._done, self._line = self._done, None, None
        if done is not None:
            self._pool.keep(line)
            done(None)

    def broken(self, line: Line, why: str) -> None:
        """The line broke before that."""
        stale = (
            self._sent_s is not None and monotonic() - self._sent_s <= STALE_S and not line.begun
        )
        if stale and self._done is not None:
            self._connect()
        else:
            self._end(OriginFailed(why))

    # Inside.

    def _connect(self) -> None:
        self._line = self._sent_s = None  # a new line cannot be stale
        self._connecting = asyncio.get_running_loop().create_task(self._send_anew())

    async def _send_anew(self) -> None:
        try:
            self._line = await self._pool.connect()
        except OriginFailed as failure:
            self._end(failure)
            return
        finally:
            self._connecting = None
        self._line.carry(self, self._request, self._sink)

    def _end(self, failure: OriginFailed | None) -> None:
        done, self._done, self._line = self._done, None, None
        if done is not None:
            done(failure)


def filled(head: bytes, body: bytes) -> bytes:
    """A whole request: a head of `Pool.head`'s, and its body."""
    return b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body)


class Pool:
    """The connections to one origin."""

    def __init__(
        self, origin: Origin, tls: ssl.SSLContext | None = None, *, kept_s: float = KEPT_S
    ) -> None:
        """`tls` is how an https origin is verified; None: as the system does."""
        self.origin = origin
        self._kept_s = kept_s
        self._tls = (tls or ssl.create_default_context()) if origin.tls else None
        self._kept: deque[Line] = deque()
        self._outbox: Outbox | None = None

    def request(self, method: str, target: str, body: bytes = b"", headers: Headers = ()) -> bytes:
        """The bytes of a request for `exchange`."""
        return filled(self.head(method, target, headers), body)

    def head(self, method: str, target: str, headers: Headers = ()) -> bytes:
        """All of such a request but what depends on its body, for `filled`."""
        first = f"{method} {target} HTTP/1.1\r\nhost: {self.origin.authority}\r\n".encode()
        return first + b"".join([b"%s: %s\r\n" % pair for pair in headers])

    def start(self, request: bytes, sink: Sink, done: Done) -> Exchange:
        """Send a request, give the answer to `sink` as it comes, and call `done` at the end.

        A kept connection that turns out to have been closed by the origin is replaced, once. That
        shows at once; what breaks later may have been worked on, and is not sent again.
        """
        return Exchange(self, request, sink, done)

    async def exchange(self, request: bytes, sink: Sink) -> None:
        """As `start`, and wait for the end; cancelling it breaks the exchange off.

        Raises:
            OriginFailed: when the origin cannot be reached or breaks off.
        """
        over: asyncio.Future[OriginFailed | None] = asyncio.get_running_loop().create_future()

        def done(failure: OriginFailed | None) -> None:
            if not over.done():  # whoever waits may have been cancelled just now
                over.set_result(failure)

        exchange = self.start(request, sink, done)
        try:
            failure = await over
        except asyncio.CancelledError:
            exchange.cancel()
            raise
        if failure is not None:
            raise failure

    async def fetch(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Headers = (),
        timeout_s: float = 10.0,
    ) -> Answer:
        """A whole answer within `timeout_s`.

        Raises:
            OriginFailed: when the origin cannot be reached, breaks off or is too slow.
        """
        sink = Whole()
        try:
            async with asyncio.timeout(timeout_s):
                await self.exchange(self.request(method, target, body, headers), sink)
        except TimeoutError:
            raise OriginFailed(f"no answer within {timeout_s:g} s") from None
        return sink.answer

    async def reachable(self) -> bool:
        """Whether the origin takes connections."""
        try:
            line = await self.connect()
        except OriginFailed:
            return False
        line.abort()
        return True

    def close(self) -> None:
        """Hang up the connections that are not in use."""
        while self._kept:
            self._kept.pop().abort()

    # What exchanges ask for.

    def warm(self, now_s: float) -> Line | None:
        """A kept connection; None when there is none."""
        kept, oldest_s = self._kept, now_s - self._kept_s
        while kept and kept[0].kept_at < oldest_s:
            kept.popleft().abort()
        while kept:
            line = kept.pop()
            if line.reusable:
                return line
        return None

    def keep(self, line: Line) -> None:
        """Keep a connection for another exchange, if it is good for one."""
        if line.reusable and len(self._kept) < KEPT_MAX:
            line.kept_at = monotonic()
            self._kept.append(line)
        else:
            line.abort()

    async def connect(self) -> Line:
        """A new connection. Raises OriginFailed."""
        host, port, _ = self.origin
        loop = asyncio.get_running_loop()
        outbox = self._outbox = self._outbox or Outbox(loop)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, line = await loop.create_connection(
                    lambda: Line(outbox), host, port, ssl=self._tls
                )
        except TimeoutError:
            raise OriginFailed(f"{self.origin.authority} does not answer") from None
        except OSError as error:
            raise OriginFailed(f"{self.origin.authority} cannot be reached: {error}") from error
        return line
