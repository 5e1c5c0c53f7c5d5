"""An HTTP/1.1 client for one origin, with connections kept while they are warm.

What the origin answers goes to a `Sink` piece by piece, as it comes, with no task and no queue in
between. A sink that cannot take more pauses its `Line`.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import httptools

from mercato.http.call import Headers

KEPT_S: Final = 1.5
"""How long an unused connection is kept: less than any common server's own patience."""
STALE_S: Final = 0.05
"""That a kept connection was closed meanwhile shows within this time."""
KEPT_MAX: Final = 256
CONNECT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


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


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


class Sink(Protocol):
    """Takes an answer as it comes."""

    def begin(self, line: "Line", status: int, headers: Headers, length: int | None) -> None:
        """The head has come; `line` can be paused and resumed."""

    def write(self, chunk: bytes) -> None:
        """A piece of the body has come."""

    def flush(self) -> None:
        """Nothing more has come for now."""

    def end(self) -> None:
        """The body is complete."""


class Whole:
    """A sink that gathers the whole answer."""

    def __init__(self, bytes_max: int = ANSWER_BYTES_MAX) -> None:
        """An answer with more than `bytes_max` is broken off."""
        self._bytes_max = bytes_max
        self._bytes = 0
        self._line: Line | None = None
        self._status = 0
        self._headers: Headers = ()
        self._chunks: list[bytes] = []

    def begin(self, line: "Line", status: int, headers: Headers, length: int | None) -> None:
        """Remember the head."""
        del length
        self._line, self._status, self._headers = line, status, headers

    def write(self, chunk: bytes) -> None:
        """Add a piece."""
        self._bytes += len(chunk)
        if self._bytes > self._bytes_max and self._line is not None:
            self._line.break_off(f"the answer has more than {self._bytes_max} bytes")
        else:
            self._chunks.append(chunk)

    def flush(self) -> None:
        """Nothing is to be done."""

    def end(self) -> None:
        """Nothing is left to do."""

    @property
    def answer(self) -> Answer:
        """All that came."""
        return Answer(self._status, self._headers, b"".join(self._chunks))


class Line(asyncio.Protocol):
    """One connection to an origin: one exchange at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._sink: Sink | None = None
        self._over: Exchange | None = None
        """What the bytes that are being read have completed."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._until_close = False
        self._interim = False
        self._paused = False
        self.reusable = False
        """Whether another exchange may follow."""
        self.begun = False
        """Whether anything has come since the present exchange was sent."""
        self.kept_at = 0.0

    def carry(self, exchange: "Exchange", request: bytes, sink: Sink) -> None:
        """Send a request; `exchange` is told when the sink has the whole answer, or why not."""
        self._exchange, self._sink, self.begun = exchange, sink, False
        self._until_close = self.reusable = False
        if self._transport is None:
            self._fail("the connection was closed")
        else:
            self._transport.write(request)

    def pause(self) -> None:
        """Read no more until `resume`."""
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        if self._transport is not None:
            self._transport.resume_reading()

    def break_off(self, why: str) -> None:
        """Want no more of the present answer: the exchange has failed."""
        self._fail(why)
        self.abort()

    def abort(self) -> None:
        """Hang up at once."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        self.reusable = False
        if self._exchange is None:
            return
        if self._until_close and self.begun and exc is None:
            over = self._complete()
            if over is not None:
                over.whole(self)
        else:
            self._fail(str(exc) if exc else "the connection was closed before the whole answer")

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._exchange is None:
            # An origin that speaks unasked is not one to talk to again.
            self.abort()
            return
        self.begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.break_off("the origin changed protocols unasked")
        except httptools.HttpParserCallbackError:
            raise  # a bug of a sink's, for the loop to tell; the connection ends with it
        except httptools.HttpParserError as error:
            self.break_off(f"the origin does not speak HTTP/1.1: {error}")
        if self._sink is not None:
            self._sink.flush()
        if self._over is not None:
            # Only now: what the origin said beyond its answer must not be taken for the next one.
            over, self._over = self._over, None
            over.whole(self)

    # What the parser tells.

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._exchange is None:
            self.abort()  # to nothing that was asked

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head has come."""
        status = self._parser.get_status_code()
        self._interim = status < 200
        if self._interim or self._sink is None:
            return
        length, self._until_close = _framing(status, self._headers)
        self._sink.begin(self, status, self._headers, length)

    def on_body(self, body: bytes) -> None:
        """A piece of the body has come."""
        if self._sink is not None:
            self._sink.write(body)

    def on_message_complete(self) -> None:
        """The answer is complete."""
        self._headers = []
        if not self._interim and self._exchange is not None:
            # Only here does the parser know.
            self.reusable = self._parser.should_keep_alive()
            self._over = self._complete()

    # Inside.

    def _complete(self) -> "Exchange | None":
        """Let the sink know that the answer is whole; the exchange that is to be told so too."""
        sink, exchange = self._sink, self._exchange
        self._sink = self._exchange = None
        if sink is not None:
            sink.end()
        if self._paused:  # for the sake of a caller who has it all by now
            self.resume()
        return exchange

    def _fail(self, why: str) -> None:
        exchange = self._exchange
        self._sink = self._exchange = None
        if exchange is not None:
            exchange.broken(self, why)


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
        self._sent_s: float | None = asyncio.get_running_loop().time()
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
            self._sent_s is not None
            and asyncio.get_running_loop().time() - self._sent_s <= STALE_S
            and not line.begun
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


def _framing(status: int, headers: Headers) -> tuple[int | None, bool]:
    """A body's length, None when it is not told; and whether only the line's end ends it."""
    if status in {204, 304}:
        return 0, False
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-length":
            return int(value), False
        if lower == b"transfer-encoding":
            return None, b"chunked" not in value.lower()
    return None, True


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
        """A kept connection, by the loop's clock; None when there is none."""
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
            line.kept_at = asyncio.get_running_loop().time()
            self._kept.append(line)
        else:
            line.abort()

    async def connect(self) -> Line:
        """A new connection. Raises OriginFailed."""
        host, port, _ = self.origin
        try:
            async with asyncio.timeout(CONNECT_S):
                _, line = await asyncio.get_running_loop().create_connection(
                    Line, host, port, ssl=self._tls
                )
        except TimeoutError:
            raise OriginFailed(f"{self.origin.authority} does not answer") from None
        except OSError as error:
            raise OriginFailed(f"{self.origin.authority} cannot be reached: {error}") from error
        return line
