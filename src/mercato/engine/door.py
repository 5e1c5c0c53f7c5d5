"""The OpenAI-compatible door of each endpoint: for clients that know nothing of tickets.

    /v1/...                  with an endpoint's own key, or with an account's key and the endpoint's
                             name as `model`
    /openai/NAME/v1/...      with either key, for clients that want a model name of their own

It is the only way on which what is asked and answered passes through the engine. A request waits in
the same queue as all others; one whose worker fails before it began to answer gets another.
"""

import asyncio
import hashlib
import random
from typing import Any, Final

import msgspec

from mercato.engine.asking import Refused, cost_of, endpoint_named, holder_of, key_of
from mercato.engine.engine import Engine
from mercato.engine.peers import Peers
from mercato.engine.request import Ask, Desk, Ready
from mercato.http.call import Call, Headers
from mercato.http.client import OriginFailed
from mercato.http.line import Line
from mercato.http.relay import Relay
from mercato.serverless.prefix import CHAIN_MAX
from mercato.wire.fleet import Definition

PATHS: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
MODELS: Final = "/v1/models"
NAMED: Final = "/openai/"

TOKENS: Final = 256
"""Counted for a completion that does not say how long it may be."""
CHARS_PER_TOKEN: Final = 4
WAIT_MAX_S: Final = 600.0
TRIES_MAX: Final = 6
BETWEEN_TRIES_MAX_S: Final = 5.0

_KINDS: Final = {401: "authentication_error", 503: "server_error"}
"""What that API calls a refusal, by its status; all others are the caller's fault."""

BLOCK_BYTES: Final = 2_048
"""Of a prompt as it was sent: some 512 tokens."""


class _Body(msgspec.Struct, kw_only=True):
    """What of a request matters here; all of it goes to the worker as it is."""

    model: Any = None
    max_tokens: float | None = None
    max_completion_tokens: float | None = None
    n: float | None = None
    input: Any = None
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()


class _Try(Relay):
    """Passes an answer on, unless it says that another worker should be tried."""

    def __init__(self, call: Call, *, last: bool) -> None:
        super().__init__(call)
        self._last = last
        self.refused = False

    def begin(self, line: Line, status: int, headers: Headers, length: int | None) -> None:
        """Look at the status first."""
        self.refused = not self._last and (status in {408, 429} or status >= 500)
        if self.refused:
            self.status = status
        else:
            super().begin(line, status, headers, length)

    def write(self, chunk: bytes) -> None:
        """Pass a piece on."""
        if not self.refused:
            super().write(chunk)

    def flush(self) -> None:
        """Nothing more has come for now."""
        if not self.refused:
            super().flush()

    def end(self) -> None:
        """The answer is whole."""
        if not self.refused:
            super().end()


class Door:
    """Answers OpenAI's calls with an engine's workers."""

    def __init__(self, engine: Engine, peers: Peers) -> None:
        self._engine = engine
        self._peers = peers
        self._luck = random.Random()  # noqa: S311 - spreads tries; nothing hangs on it

    def knows(self, path: str) -> bool:
        """Whether a path is one of this door's."""
        return path in PATHS or path == MODELS or path.startswith(NAMED)

    async def open(self, call: Call) -> None:
        """Answer a call."""
        try:
            await self._open(call)
        except Refused as refused:
            kind = _KINDS.get(refused.status, "invalid_request_error")
            error = {"message": str(refused), "type": kind, "param": None, "code": None}
            call.answer(refused.status, msgspec.json.encode({"error": error}))

    async def _open(self, call: Call) -> None:
        name, path = None, call.path
        if path.startswith(NAMED):
            name, _, rest = path[len(NAMED) :].partition("/")
            path = f"/{rest}"
        if path == MODELS and call.method == "GET":
            await self._models(call)
        elif path in PATHS and call.method == "POST":
            await self._serve(call, name, path)
        else:
            raise Refused(404, "there is no such call")

    async def _models(self, call: Call) -> None:
        key = key_of(call)
        holder = await holder_of(self._engine, key)
        if isinstance(holder, Definition):
            mine = [holder]
        else:
            mine = [one for one in self._engine.endpoints() if one.account == holder]
        rows = [
            {"id": one.name, "object": "model", "created": 0, "owned_by": "mercato"} for one in mine
        ]
        call.answer(200, msgspec.json.encode({"object": "list", "data": rows}))

    async def _serve(self, call: Call, name: str | None, path: str) -> None:
        try:
            body = msgspec.json.decode(call.body, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(400, f"the body cannot be read: {error}") from None
        key = key_of(call)
        definition = await self._endpoint(key, name, body.model)
        chain = _chain(bytes(body.messages or body.prompt))
        cost = cost_of(_cost(body, path))
        ask = Ask(cost=cost, caller=hash(key) & 0xFFFF_FFFF, chain=chain)
        await self._try(call, definition, ask, path)

    async def _endpoint(self, key: str, name: str | None, model: object) -> Definition:
        holder = await holder_of(self._engine, key)
        wanted = name if name is not None else str(model)
        if not isinstance(holder, Definition):
            found = await endpoint_named(self._engine, holder, wanted)
        elif name in {None, holder.name}:
            found = holder
        else:
            found = None
        if found is None:
            raise Refused(404, f"there is no endpoint {wanted!r} among yours; name it as the model")
        return found

    async def _try(self, call: Call, definition: Definition, ask: Ask, path: str) -> None:
        for attempt in range(1, TRIES_MAX + 1):
            station = await self._peers.station_of(self._engine, definition.id, call)
            if station is None:
                return
            try:
                async with asyncio.timeout(WAIT_MAX_S):
                    ready = await self._worker(station.desk, ask)
            except TimeoutError:
                raise Refused(503, "no worker became free in ten minutes; try again") from None
            if ready is None:
                continue
            sink = _Try(call, last=attempt == TRIES_MAX)
            if await self._passed(call, ready, path, sink):
                return
            await asyncio.sleep(self._luck.random() * min(2.0**attempt, BETWEEN_TRIES_MAX_S))
        raise Refused(503, "every worker that was tried failed; try again")

    async def _worker(self, desk: Desk, ask: Ask) -> Ready | None:
        """The worker for a request, however long that takes; None when another engine must say."""
        dismissed = False
        while not dismissed:
            told: asyncio.Future[Ready | None] = asyncio.get_running_loop().create_future()

            def reply(ready: Ready | None, told: asyncio.Future[Ready | None] = told) -> None:
                if not told.done():
                    told.set_result(ready)

            ask.idx = desk.ask(ask, reply)
            try:
                ready = await told
            except asyncio.CancelledError:
                desk.hang_up(ask.idx, reply)
                raise
            if ready is not None:
                return ready
            dismissed = desk.dismissed
        return None

    async def _passed(self, call: Call, ready: Ready, path: str, sink: _Try) -> bool:
        """Whether a worker has answered the call; False: another should be asked."""
        body = b'{"auth_data":%s,"session_id":null,"payload":%s}' % (
            msgspec.json.encode(ready),
            call.body,
        )
        pool = self._peers.pool(ready.url)
        headers = ((b"content-type", b"application/json"),)
        try:
            await pool.exchange(pool.request("POST", path, body, headers), sink)
        except OriginFailed:
            if call.begun:
                call.abort()
            return call.begun
        return not sink.refused


def _cost(body: _Body, path: str) -> float:
    """Tokens to generate, or to read when none are generated: what workers count too."""
    if path == "/v1/embeddings":
        texts = body.input if isinstance(body.input, list) else [body.input]
        return sum(
            max(1.0, len(text) / CHARS_PER_TOKEN) if isinstance(text, str | list) else 1.0
            for text in texts
        )
    tokens = body.max_completion_tokens or body.max_tokens or TOKENS
    return max(1.0, tokens) * max(1.0, body.n or 1.0)


def _chain(prompt: bytes) -> tuple[int, ...]:
    """A mark for each whole block of a prompt's beginning, of all that is up to its end."""
    marks, read = [], hashlib.blake2b(digest_size=8)
    for end in range(BLOCK_BYTES, min(len(prompt), CHAIN_MAX * BLOCK_BYTES) + 1, BLOCK_BYTES):
        read.update(prompt[end - BLOCK_BYTES : end])
        marks.append(int.from_bytes(read.digest()))
    return tuple(marks)
