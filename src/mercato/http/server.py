"""An HTTP/1.1 server with little work per request, streaming, and news of callers who left.

A handler is a plain function from a `Call` to nothing or to a coroutine. One that can answer at
once does so and costs no task; one that cannot returns a coroutine, which is cancelled when the
caller hangs up; one that answers later, after it has returned, keeps the call and sets `on_gone`.
"""

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools

from mercato.http.answer import WireCall, status_line
from mercato.http.call import TEXT, Call, Headers, header
from mercato.http.head import Heads
from mercato.http.outbox import Outbox

Handler = Callable[[Call], Coroutine[Any, Any, None] | None]
Complaint = Callable[[str, BaseException], None]
"""Told of a handler's exception that nobody caught: what was asked, and the exception."""

HEAD_BYTES_MAX: Final = 64 * 1024
"""A head that has not ended after so many bytes is refused, and so is what comes after the last of
a body and is no end of it."""
BODY_BYTES_MAX: Final = 256 * 1024 * 1024
PIPELINED_MAX: Final = 16
"""Requests of one connection that may wait behind the one at work."""
PIECES_MAX: Final = 16
PIECE_BYTES_MAX: Final = 16 * 1024
"""What is written waits for others to be sent with it, but not more pieces than that, and no larger
ones: whoever writes is to hear soon that the caller takes no more."""
OF_ANOTHER_PROTOCOL: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})
"""Headers of a request that offers to go on in another protocol, which is not taken up."""

SWEEP_S: Final = 5.0
IDLE_SWEEPS: Final = 15
"""A connection without a request at work is closed after this many sweeps (75 s) in which its
caller has taken nothing of the answers to those before."""
HALF_SWEEPS: Final = 12
"""A request whose bytes have not all come within this many sweeps (60 s) is given up, unless its
body is still moving."""


_TCP_INFO_BYTES: Final = 256
_BYTES_ACKED_AT: Final = 120


def _taken(transport: asyncio.Transport) -> int:
    """How many bytes the other side's kernel has taken so far: tcpi_bytes_acked of tcp(7).

    What a transport has not sent yet says little: under TLS it knows of a part of it, and it sees
    no change until much has gone.
    """
    try:
        line = transport.get_extra_info("socket")
        told: bytes = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from("Q", told, _BYTES_ACKED_AT)[0])
    except (AttributeError, OSError, struct.error):
        return -transport.get_write_buffer_size()


class _Connection(asyncio.Protocol):
    """One caller's connection: requests one after another, each with its answer."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None
        self._call: WireCall | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[WireCall] = deque()
        self._old = False
        """Whether the request that is being read is one by HTTP/1.0."""
        self._hung_up = False
        self._refusal = b""
        """The last answer, to what was no request: given when the requests before have theirs."""
        self._full = False
        """Whether there is more to send than the caller takes."""
        self._taken = 0
        """Bytes that the caller's side had taken at the last sweep."""
        self._sweeps = 0
        self._half = False
        """Whether a request has come in part: as far as is known, in between packets."""
        self._out: list[bytes] = []
        """What has been written and not been sent."""
        self._heads = Heads(server.body_bytes_max)
        self._packet = b""
        """The packet that is being read, if it begins with a request."""
        self._fresh()

    def _fresh(self) -> None:
        """Expect another request."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._head: list[tuple[bytes, bytes]] | None = None
        """The headers once they are all there; what comes after a body is not among them."""
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_seen = 0
        self._more = 0
        """Bytes of the present packet, if it brought nothing but a further part of one request."""
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
        if self._refusal:
            return
        if self._body_bytes or not self._half:
            self._sweeps = 0
        if not self._half:
            if self._heads.again(data):
                self._take(self._heads.what, self._heads.headers, data[self._heads.body_at :])
                return
            self._packet = data
        left: bytes | None = data
        while left is not None:
            self._more = len(left) if self._half else 0
            self._half = True
            left = self._feed(left)
        self._packet = b""
        if self._half:
            self._look_at_half(self._more)

    def _feed(self, data: bytes) -> bytes | None:
        """Have the parser read; what it must read anew, if so."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            return self._decline(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, f"not an HTTP/1.1 request: {error}")
        return None

    def eof_received(self) -> bool:
        """A caller that has closed its side has left, as far as HTTP goes."""
        return False

    def pause_writing(self) -> None:
        self._full = True
        if self._call is not None and self._call.on_full is not None:
            self._call.on_full()

    def resume_writing(self) -> None:
        self._full = False
        if self._call is not None and self._call.on_drained is not None:
            self._call.on_drained()
        self._next()

    # What the parser tells.

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._half = True  # though a request before it in the same packet was whole

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head, self._headers = self._headers, []
        self._old = self._parser.get_http_version() == "1.0"

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._server.body_bytes_max:
            self._refuse(413, f"the body may have {self._server.body_bytes_max} bytes")
        elif not self._refusal:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return  # the parser stops here, as if what follows were not HTTP; see `_decline`
        self._half = False
        if self._refusal:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        keep = self._parser.should_keep_alive() and not self._old
        path, _, query = self._url.decode("latin-1").partition("?")
        if "%" in path:
            path = unquote(path)
        asked = self._parser.get_method().decode(), path, query
        headers = self._head or []
        if keep and self._packet:
            self._heads.learn(self._packet, headers, len(body), asked)
        self._fresh()
        self._take(asked, headers, body, keep=keep, old=self._old)

    def _take(
        self,
        asked: tuple[str, str, str],
        headers: Headers,
        body: bytes,
        *,
        keep: bool = True,
        old: bool = False,
    ) -> None:
        """A request has come whole: let it begin, or wait for those before it."""
        method, path, query = asked
        keep = keep and not self._server.stopping
        call = WireCall(method, path, query, headers, body, self, keep)
        call.old = old
        if self._call is None and not (self._waiting or self._full):
            self._start(call)
        else:
            self._waiting.append(call)
            if len(self._waiting) >= PIPELINED_MAX and self.transport is not None:
                self.transport.pause_reading()

    # What calls do.

    def write(self, data: bytes) -> None:
        """Put bytes on the line: soon, and with others'."""
        out = self._out
        out.append(data)
        if len(data) > PIECE_BYTES_MAX or len(out) > PIECES_MAX:
            self.send()
        elif len(out) == 1:
            self._server.outbox.add(self)

    def send(self) -> None:
        """Put on the line what has been written."""
        out = self._out
        if out and self.transport is not None:
            self._out = []
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def answered(self, keep: bool) -> None:  # noqa: FBT001 - by its name it would cost more
        """The call at work has its whole answer; `keep` the connection for more."""
        self._call = None
        self._sweeps = 0
        if not keep:
            self.close()
        elif self._waiting or self._refusal or self._half:
            # Not from here, so that a hundred requests in one packet are no deep recursion.
            self._server.loop.call_soon(self._next)

    def close(self) -> None:
        """Hang up after what has been written."""
        if self.transport is not None:
            self.send()
            self.transport.close()

    def abort(self) -> None:
        """Break the connection off."""
        if self.transport is not None:
            self.send()
            self.transport.abort()

    # Inside.

    def _look_at_half(self, received: int) -> None:
        """A request has come in part: see that it ends some time, and that it may go on."""
        if self._body_bytes > self._body_seen:
            self._body_seen, self._head_bytes = self._body_bytes, 0
            return
        self._head_bytes += received
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(431, f"the head may have {HEAD_BYTES_MAX} bytes")
        elif self._head is not None and not self._told_on and self.idle:
            self._told_on = True
            expected = header(self._head, b"expect")
            if expected is not None and expected.lower() == b"100-continue":
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _decline(self, rest: bytes) -> bytes | None:
        """Go on in HTTP/1.1 where another protocol was offered, as RFC 9110 (7.8) has it.

        The parser takes the head for the last of this protocol: it is to be read again without the
        offer, and what is to be read is returned.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        head = self._head or []
        if method == b"CONNECT":
            self._refuse(405, "this server is no proxy")
            return None
        options = b",".join(value for name, value in head if name.lower() == b"connection").lower()
        lines = [b"%s %s HTTP/%s\r\n" % (method, self._url, version)]
        lines += [
            b"%s: %s\r\n" % pair for pair in head if pair[0].lower() not in OF_ANOTHER_PROTOCOL
        ]
        if b"close" in options.replace(b" ", b"").split(b","):
            lines.append(b"connection: close\r\n")
        self._parser = httptools.HttpRequestParser(self)
        self._packet = b""
        self._fresh()
        return b"".join(lines) + b"\r\n" + rest

    def _refuse(self, status: int, why: str) -> None:
        if self._refusal:
            return
        body = why.encode()
        self._refusal = (
            b"%scontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status_line(status), TEXT, len(body), body)
        )
        if self.idle:
            self._hang_up()

    def _hang_up(self) -> None:
        if self.transport is None or self._hung_up or self.transport.is_closing():
            return
        self._hung_up = True
        self.write(self._refusal)
        self.send()
        if self.transport.can_write_eof():
            # What still comes is thrown away for a while: a line that is cut while its caller
            # writes would take the answer with it.
            self.transport.write_eof()
            self._sweeps = 0
        else:
            self.transport.close()

    def _next(self) -> None:
        """Go on with what has come behind an answered request."""
        if self.transport is None or self._call is not None or self._full:
            return
        if self.transport.is_closing():
            return  # the answer before was the last
        if self._waiting:
            call = self._waiting.popleft()
            self.transport.resume_reading()
            self._start(call)
        elif self._refusal:
            self._hang_up()
        elif self._half:
            self._look_at_half(0)

    def _start(self, call: WireCall) -> None:
        self._call = call
        try:
            work = self._server.handler(call)
        except Exception as error:  # noqa: BLE001 - the edge: a bug answers 500 and is told
            self._failed(call, error)
            return
        if work is not None:
            self._task = self._server.loop.create_task(self._see_through(call, work))

    async def _see_through(self, call: WireCall, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
            if not (call.ended or call.gone or call.on_gone is not None):
                self._failed(call, RuntimeError("the handler returned without an answer"))
        except Exception as error:  # noqa: BLE001 - the edge: a bug answers 500 and is told
            self._failed(call, error)
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def _failed(self, call: WireCall, error: BaseException) -> None:
        self._server.complain(f"{call.method} {call.path}", error)
        if call.begun:
            call.abort()
        else:
            call.answer(500, b'{"error":"internal server error"}')

    def sweep(self) -> None:
        """Give up on a connection that has been quiet for too long."""
        if self.transport is None:
            return
        taken, self._taken = self._taken, _taken(self.transport)
        self._sweeps = 0 if self._taken != taken else self._sweeps + 1
        quiet_max = HALF_SWEEPS if self._half else IDLE_SWEEPS
        if self._hung_up:
            quiet_max = 1
        if self._call is None and self._sweeps > quiet_max:
            self.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is at work here, or waits to be."""
        return self._call is None and not self._waiting


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
        self.outbox: Outbox
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
        self.outbox = Outbox(self.loop)
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
