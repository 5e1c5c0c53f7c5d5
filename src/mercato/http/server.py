"""An HTTP/1.1 server with little work per request, streaming, and news of callers who left.

A handler is a plain function from a `Call` to nothing or to a coroutine. One that can answer at
once does so and costs no task; one that cannot returns a coroutine, which is cancelled when the
caller hangs up; one that answers later, after it has returned, keeps the call and sets `on_gone`.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from functools import cache
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools

from mercato.http.call import HOP_BY_HOP, JSON, TEXT, Call, Headers, header

Handler = Callable[[Call], Coroutine[Any, Any, None] | None]
Complaint = Callable[[str, BaseException], None]
"""Told of a handler's exception that nobody caught: what was asked, and the exception."""

HEAD_BYTES_MAX: Final = 64 * 1024
"""A head that has not ended after so many bytes is refused."""
BODY_BYTES_MAX: Final = 256 * 1024 * 1024
PIPELINED_MAX: Final = 16
"""Requests of one connection that may wait behind the one at work."""

SWEEP_S: Final = 5.0
IDLE_SWEEPS: Final = 15
"""A connection without a request is closed after this many sweeps (75 s)."""
HALF_SWEEPS: Final = 12
"""A request whose bytes have not all come within this many sweeps (60 s) is given up, unless its
body is still moving."""


@cache
def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def _bodiless(status: int) -> bool:
    return status < 200 or status in {204, 304}


class _WireCall(Call):
    """A call that came over a connection of this server."""

    __slots__ = ("_chunked", "_connection", "_head", "keep")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        body: bytes,
        connection: "_Connection",
        keep: bool,  # noqa: FBT001 - by its name it would cost more than the rest
    ) -> None:
        Call.__init__(self, method, path, query, headers, body)  # super() would cost as much again
        self._connection = connection
        self.keep = keep
        self._chunked = False
        self._head = b""

    def answer(
        self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: Headers = ()
    ) -> None:
        if self.gone or self.begun:
            return
        self.begun = self.ended = True
        extra = b"".join([b"%s: %s\r\n" % pair for pair in headers]) if headers else b""
        self._connection.write(
            b"%scontent-type: %s\r\n%scontent-length: %d\r\n%s\r\n%s"
            % (
                _status_line(status),
                content_type,
                extra,
                len(body),
                b"" if self.keep else b"connection: close\r\n",
                body,
            )
        )
        self._connection.answered(self)

    def begin(self, status: int, headers: Headers, length: int | None) -> None:
        if self.gone or self.begun:
            return
        self.begun = True
        parts = [_status_line(status)]
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                parts += (name, b": ", value, b"\r\n")
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
        elif self.keep and not _bodiless(status):
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        if not self.keep:
            # The end of the connection is the end of the body.
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        self._head = b"".join(parts)

    def write(self, chunk: bytes) -> None:
        if self.gone or self.ended or not chunk:
            return
        piece = b"%x\r\n%s\r\n" % (len(chunk), chunk) if self._chunked else chunk
        if self._head:
            piece, self._head = self._head + piece, b""
        transport = self._connection.transport  # not by `write`: streams come here at every piece
        if transport is not None:
            transport.write(piece)

    def flush(self) -> None:
        if self._head and not self.gone:
            self._connection.write(self._head)
            self._head = b""

    def end(self) -> None:
        if self.gone or self.ended:
            return
        self.ended = True
        if self._chunked or self._head:
            self._connection.write(self._head + (b"0\r\n\r\n" if self._chunked else b""))
        self._connection.answered(self)

    def abort(self) -> None:
        if not (self.gone or self.ended):
            self._connection.abort()


class _Connection(asyncio.Protocol):
    """One caller's connection: requests one after another, each with its answer."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None
        self._call: _WireCall | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[_WireCall] = deque()
        self._refused = False
        self._sweeps = 0
        self._half = False
        """Whether a request has come in part: as far as is known, in between packets."""
        self._fresh()

    def _fresh(self) -> None:
        """Expect another request."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._head_bytes = 0
        self._body_bytes = 0
        self._headed = False
        self._told_on = False

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.connections.discard(self)
        self.transport = None
        self._waiting.clear()
        call, self._call = self._call, None
        if call is not None and not call.ended:
            call.gone = True
            if call.on_gone is not None:
                call.on_gone()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._body_bytes or not self._half:
            self._sweeps = 0
        self._half = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "this server does not change protocols")
        except httptools.HttpParserError as error:
            self._refuse(400, f"not an HTTP/1.1 request: {error}")
        if self._half:
            self._look_at_half(len(data))

    def eof_received(self) -> bool:
        """A caller that has closed its side has left, as far as HTTP goes."""
        return False

    def pause_writing(self) -> None:
        if self._call is not None and self._call.on_full is not None:
            self._call.on_full()

    def resume_writing(self) -> None:
        if self._call is not None and self._call.on_drained is not None:
            self._call.on_drained()

    # What the parser tells.

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._half = True  # though a request before it in the same packet was whole

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._server.body_bytes_max:
            self._refuse(413, f"the body may have {self._server.body_bytes_max} bytes")
        elif not self._refused:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._half = False
        if self._refused:
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        call = _WireCall(
            self._parser.get_method().decode(),
            unquote(path) if "%" in path else path,
            query,
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            self,
            self._parser.should_keep_alive() and not self._server.stopping,
        )
        self._fresh()
        if self._call is None:
            self._start(call)
        else:
            self._waiting.append(call)
            if len(self._waiting) >= PIPELINED_MAX and self.transport is not None:
                self.transport.pause_reading()

    # What calls do.

    def write(self, data: bytes) -> None:
        """Put bytes on the line."""
        if self.transport is not None:
            self.transport.write(data)

    def answered(self, call: _WireCall) -> None:
        """The call at work has its whole answer."""
        self._call = None
        self._sweeps = 0
        if self.transport is None:
            return
        if not call.keep:
            self.transport.close()
        elif self._waiting:
            # Not from here, so that a hundred requests in one packet are no deep recursion.
            self._server.loop.call_soon(self._next)

    def abort(self) -> None:
        """Break the connection off."""
        if self.transport is not None:
            self.transport.abort()

    # Inside.

    def _look_at_half(self, received: int) -> None:
        """A request has come in part: see that its head is not endless, and that it may go on."""
        if not self._headed:
            self._head_bytes += received
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(431, f"the head may have {HEAD_BYTES_MAX} bytes")
        elif not self._body and not self._told_on:
            self._told_on = True
            expected = header(self._headers, b"expect")
            if expected is not None and expected.lower() == b"100-continue":
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, status: int, why: str) -> None:
        if self._refused:
            return
        self._refused = True
        if self._call is None:
            body = why.encode()
            self.write(
                b"%scontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (_status_line(status), TEXT, len(body), body)
            )
        if self.transport is None:
            return
        if self.transport.can_write_eof():
            # What still comes is thrown away for a while: a line that is cut while its caller
            # writes would take the answer with it.
            self.transport.write_eof()
            self._sweeps = 0
        else:
            self.transport.close()

    def _next(self) -> None:
        if self._call is None and self._waiting and self.transport is not None:
            call = self._waiting.popleft()
            self.transport.resume_reading()
            self._start(call)

    def _start(self, call: _WireCall) -> None:
        self._call = call
        try:
            work = self._server.handler(call)
        except Exception as error:  # noqa: BLE001 - the edge: a bug answers 500 and is told
            self._failed(call, error)
            return
        if work is not None:
            self._task = self._server.loop.create_task(self._see_through(call, work))

    async def _see_through(self, call: _WireCall, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
            if not (call.ended or call.gone or call.on_gone is not None):
                self._failed(call, RuntimeError("the handler returned without an answer"))
        except Exception as error:  # noqa: BLE001 - the edge: a bug answers 500 and is told
            self._failed(call, error)
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def _failed(self, call: _WireCall, error: BaseException) -> None:
        self._server.complain(f"{call.method} {call.path}", error)
        if call.begun:
            call.abort()
        else:
            call.answer(500, b'{"error":"internal server error"}')

    def sweep(self) -> None:
        """Give up on a connection that has been quiet for too long."""
        self._sweeps += 1
        quiet_max = HALF_SWEEPS if self._half else IDLE_SWEEPS
        if self._refused:
            quiet_max = 1
        if self._call is None and self._sweeps > quiet_max and self.transport is not None:
            self.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is at work here."""
        return self._call is None

    def close(self) -> None:
        """Hang up after what has been written."""
        if self.transport is not None:
            self.transport.close()


class Server:
    """Listens on addresses and hands calls to one handler."""

    def __init__(
        self, handler: Handler, complain: Complaint, *, body_bytes_max: int = BODY_BYTES_MAX
    ) -> None:
        """`complain` hears of handlers' bugs; the callers get a 500."""
        self.handler = handler
        self.complain = complain
        self.body_bytes_max = body_bytes_max
        self.connections: set[_Connection] = set()
        self.stopping = False
        self.loop: asyncio.AbstractEventLoop
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, shared: bool = False
    ) -> int:
        """Accept calls on an address; `shared` lets other processes listen on it too.

        Returns the port, which differs from the one asked for when that is 0.
        Raises OSError when the address cannot be had.
        """
        self.loop = asyncio.get_running_loop()
        listener = await self.loop.create_server(
            lambda: _Connection(self), host, port, ssl=tls, reuse_port=shared or None, backlog=4096
        )
        self._listeners.append(listener)
        if self._sweeper is None:
            self._sweep()
        return int(listener.sockets[0].getsockname()[1])

    def _sweep(self) -> None:
        for connection in tuple(self.connections):
            connection.sweep()
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, let calls at work end for at most `grace_s`, then break them off."""
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        deadline = self.loop.time() + grace_s
        while self.connections and self.loop.time() < deadline:
            for connection in tuple(self.connections):
                if connection.idle:
                    connection.close()
            await asyncio.sleep(0.02)
        for connection in tuple(self.connections):
            connection.abort()
