"""Calls that an ASGI server carries: what is served here can stand beside another application.

The same handlers as under our own server (server.py), at the price of ASGI's messages.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from mercato.http.call import HOP_BY_HOP, JSON, Call, Headers
from mercato.http.server import BODY_BYTES_MAX, Complaint, Handler

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

FULL_BYTES: Final = 256 * 1024
"""More than this unsent, and whoever writes is told that the caller reads slowly."""


class _AsgiCall(Call):
    """A call that came through ASGI; what is answered waits here to be sent."""

    __slots__ = ("_due", "_full", "_out", "_unsent")

    def __init__(self, method: str, path: str, query: str, headers: Headers, body: bytes) -> None:
        super().__init__(method, path, query, headers, body)
        self._out: deque[Message] = deque()
        self._due = asyncio.Event()
        self._unsent = 0
        self._full = False

    def answer(
        self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: Headers = ()
    ) -> None:
        if self.gone or self.begun:
            return
        self.begun = self.ended = True
        told = [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            *headers,
        ]
        self._put({"type": "http.response.start", "status": status, "headers": told})
        self._put({"type": "http.response.body", "body": body})

    def begin(self, status: int, headers: Headers, length: int | None) -> None:
        if self.gone or self.begun:
            return
        self.begun = True
        told = [pair for pair in headers if pair[0].lower() not in HOP_BY_HOP]
        if length is not None:
            told.append((b"content-length", str(length).encode()))
        self._put({"type": "http.response.start", "status": status, "headers": told})

    def write(self, chunk: bytes) -> None:
        if self.gone or self.ended or not chunk:
            return
        self._unsent += len(chunk)
        self._put({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._unsent > FULL_BYTES and not self._full:
            self._full = True
            if self.on_full is not None:
                self.on_full()

    def end(self) -> None:
        if self.gone or self.ended:
            return
        self.ended = True
        self._put({"type": "http.response.body", "body": b""})

    def abort(self) -> None:
        if not (self.gone or self.ended):
            self.leave()

    def leave(self) -> None:
        """The caller has gone, or is left without the rest."""
        self.gone = True
        self._due.set()

    async def send(self, send: Send) -> None:
        """Send what is answered as it comes, until the answer is whole.

        Raises:
            ConnectionAbortedError: when it was broken off after it had begun.
        """
        while True:
            while self._out and not self.gone:
                message = self._out.popleft()
                await send(message)
                self._unsent -= len(message.get("body", b"")) if message.get("more_body") else 0
                if self._full and self._unsent <= FULL_BYTES // 2:
                    self._full = False
                    if self.on_drained is not None:
                        self.on_drained()
            if self.gone:
                raise ConnectionAbortedError
            if self.ended and not self._out:
                return
            self._due.clear()
            await self._due.wait()

    def _put(self, message: Message) -> None:
        self._out.append(message)
        self._due.set()


class Beside:
    """An ASGI application in which a handler answers what it knows and another one the rest."""

    def __init__(
        self,
        knows: Callable[[str, str], bool],
        handler: Handler,
        complain: Complaint,
        rest: App,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        """`knows` says of a method and a path whether `handler` answers it."""
        self._knows = knows
        self._handler = handler
        self._complain = complain
        self._rest = rest
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or let the other application."""
        if scope["type"] == "http":
            path = _plain(scope["path"])
            if self._knows(scope["method"], path):
                await self._answer(scope, path, receive, send)
                return
        await self._rest(scope, receive, send)

    async def _answer(
        self, scope: MutableMapping[str, Any], path: str, receive: Receive, send: Send
    ) -> None:
        try:
            body = await self._body(receive)
        except ConnectionAbortedError:
            return
        query = scope.get("query_string", b"").decode("latin-1")
        call = _AsgiCall(scope["method"], path, query, scope["headers"], body or b"")
        if body is None:
            call.answer(413, b'{"error":"the body is too large"}')
            await call.send(send)
            return
        work = asyncio.create_task(self._work(call))
        watch = asyncio.create_task(_watch(call, receive))
        sending = asyncio.create_task(call.send(send))
        try:
            await sending
            await work
        except ConnectionAbortedError:
            if call.on_gone is not None:
                call.on_gone()
            if call.begun:
                raise  # so that the server breaks the connection off
        finally:
            for task in (work, watch, sending):
                task.cancel()
            await asyncio.gather(work, watch, sending, return_exceptions=True)

    async def _work(self, call: Call) -> None:
        try:
            work = self._handler(call)
            if work is not None:
                await work
                if not (call.ended or call.gone or call.on_gone is not None):
                    self._failed(call, RuntimeError("the handler returned without an answer"))
        except Exception as error:  # noqa: BLE001 - the edge: a bug answers 500 and is told
            self._failed(call, error)

    def _failed(self, call: Call, error: BaseException) -> None:
        self._complain(f"{call.method} {call.path}", error)
        if call.begun:
            call.abort()
        else:
            call.answer(500, b'{"error":"internal server error"}')

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None when it is too large.

        Raises:
            ConnectionAbortedError: when the caller has left before it was whole.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionAbortedError
            part = message.get("body", b"")
            size += len(part)
            if size > self._body_bytes_max:
                return None
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)


async def _watch(call: _AsgiCall, receive: Receive) -> None:
    """Notice that the caller hangs up."""
    with suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass
        if not call.ended:
            call.leave()


def _plain(path: str) -> str:
    """The path with repeated slashes as one: a client may be given an address that ends in one."""
    while "//" in path:
        path = path.replace("//", "/")
    return path
