"""One connection to an origin, and who takes what it answers.

What the origin answers goes to a `Sink` piece by piece, as it comes, with no task and no queue in
between. A sink that cannot take more pauses its `Line`.
"""

import asyncio
from typing import Final, NamedTuple, Protocol, cast

import httptools

from mercato.http.call import Headers
from mercato.http.head import Heads
from mercato.http.outbox import Outbox

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


class Sink(Protocol):
    """Takes an answer as it comes."""

    __slots__ = ()

    def begin(self, line: "Line", status: int, headers: Headers, length: int | None) -> None:
        """The head has come; `line` can be paused and resumed."""

    def write(self, chunk: bytes) -> None:
        """A piece of the body has come."""

    def flush(self) -> None:
        """Nothing more has come for now."""

    def end(self) -> None:
        """The body is complete."""

    def take(self, line: "Line", status: int, headers: Headers, body: bytes) -> None:
        """The whole answer has come at once."""
        self.begin(line, status, headers, len(body))
        if body:
            self.write(body)
        self.end()


class Whole(Sink):
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


class Asker(Protocol):
    """Who waits for an answer, and is told once how it ended."""

    def whole(self, line: "Line") -> None:
        """The sink has the whole answer."""

    def broken(self, line: "Line", why: str) -> None:
        """The line broke before that, or the sink broke off."""


class Line(asyncio.Protocol):
    """One connection to an origin: one exchange at a time."""

    def __init__(self, outbox: Outbox) -> None:
        """Send by way of `outbox`."""
        self._outbox = outbox
        self._request = b""
        """What is to be sent."""
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Asker | None = None
        self._sink: Sink | None = None
        self._over: Asker | None = None
        """What the bytes that are being read have completed."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._heads = Heads(ANSWER_BYTES_MAX)
        self._packet = b""
        """The packet that is being read, if it is the first of an answer."""
        self._body_bytes = 0
        self._until_close = False
        self._interim = False
        self._paused = False
        self.reusable = False
        """Whether another exchange may follow."""
        self.begun = False
        """Whether anything has come since the present exchange was sent."""
        self.kept_at = 0.0

    def carry(self, exchange: Asker, request: bytes, sink: Sink) -> None:
        """Send a request; `exchange` is told when the sink has the whole answer, or why not."""
        self._exchange, self._sink, self.begun = exchange, sink, False
        self._until_close = self.reusable = False
        if self._transport is None:
            self._fail("the connection was closed")
        else:
            self._request = request
            self._outbox.add(self)

    def send(self) -> None:
        """Put the request on the line."""
        request, self._request = self._request, b""
        if request and self._transport is not None:
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
        self._request = b""
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
        if not self.begun:
            if self._heads.again(data):
                self._take(data)
                return
            self.begun, self._packet = True, data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.break_off("the origin changed protocols unasked")
        except httptools.HttpParserCallbackError:
            raise  # a bug of a sink's, for the loop to tell; the connection ends with it
        except httptools.HttpParserError as error:
            self.break_off(f"the origin does not speak HTTP/1.1: {error}")
        self._packet = b""
        if self._sink is not None:
            self._sink.flush()
        if self._over is not None:
            # Only now: what the origin said beyond its answer must not be taken for the next one.
            over, self._over = self._over, None
            over.whole(self)

    def _take(self, data: bytes) -> None:
        """A whole answer has come, with a head that is known."""
        assert self._sink is not None
        heads = self._heads
        self.begun = True
        self._sink.take(self, heads.what, heads.headers, data[heads.body_at :])
        exchange = self._exchange
        if exchange is not None:  # else the sink has broken it off
            self._sink = self._exchange = None
            self.reusable = True
            if self._paused:
                self.resume()
            exchange.whole(self)

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
        self._body_bytes += len(body)
        if self._sink is not None:
            self._sink.write(body)

    def on_message_complete(self) -> None:
        """The answer is complete."""
        headers, self._headers = self._headers, []
        body_bytes, self._body_bytes = self._body_bytes, 0
        if not self._interim and self._exchange is not None:
            # Only here does the parser know.
            self.reusable = self._parser.should_keep_alive()
            if self.reusable and self._packet:
                status = self._parser.get_status_code()
                self._heads.learn(self._packet, headers, body_bytes, status)
            self._over = self._complete()

    # Inside.

    def _complete(self) -> Asker | None:
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
