"""The model server beside the worker."""

from typing import Any, Final

import msgspec

from mercato.http.client import Done, Exchange, Origin, OriginFailed, Pool, filled
from mercato.http.line import Sink

_JSON: Final = ((b"content-type", b"application/json"), (b"accept", b"*/*"))


class ModelFailed(Exception):  # noqa: N818 - says which end is at fault
    """The model server cannot be reached, or refused what it was asked."""


class Model:
    """Calls to one model server, over kept connections."""

    def __init__(self, url: str | None) -> None:
        """None: there is no model server, and every call fails."""
        self._pool = None if url is None else Pool(Origin.of(url))
        self._heads: dict[str, bytes] = {}

    async def relay(self, path: str, payload: bytes, sink: Sink) -> None:
        """Post JSON and give whatever is answered to `sink` as it comes.

        Raises:
            OriginFailed: when the server cannot be reached or breaks off.
        """
        if self._pool is None:
            raise OriginFailed("this worker has no model server")
        await self._pool.exchange(self._pool.request("POST", path, payload, _JSON), sink)

    def pass_on(self, path: str, payload: bytes, sink: Sink, done: Done) -> Exchange:
        """As `relay`, without a task: `done` is called at the end, with what went wrong if so."""
        assert self._pool is not None, "what is passed on has a model server to go to"
        head = self._heads.get(path)
        if head is None:  # its paths are the routes': there are few
            head = self._heads[path] = self._pool.head("POST", path, _JSON)
        return self._pool.start(filled(head, payload), sink, done)

    async def post(self, path: str, value: Any, timeout_s: float = 600.0) -> Any:
        """Post a value as JSON; what the JSON of the answer says.

        Raises:
            ModelFailed: when there is no answer, or one that is not 2xx, or not JSON.
        """
        return await self._json("POST", path, msgspec.json.encode(value), timeout_s)

    async def get(self, path: str, timeout_s: float = 600.0) -> Any:
        """What the JSON at a path says. Raises as `post` does."""
        return await self._json("GET", path, b"", timeout_s)

    async def get_bytes(self, path: str, timeout_s: float = 600.0) -> bytes:
        """What is at a path. Raises as `post` does."""
        return await self._bytes("GET", path, b"", timeout_s)

    async def is_well(self, path: str) -> bool:
        """Whether a path answers 200 within ten seconds."""
        if self._pool is None:
            return False
        try:
            return (await self._pool.fetch("GET", path)).status == 200
        except OriginFailed:
            return False

    async def listens(self) -> bool:
        """Whether the server takes connections."""
        return self._pool is not None and await self._pool.reachable()

    def close(self) -> None:
        """Hang up."""
        if self._pool is not None:
            self._pool.close()

    async def _json(self, method: str, path: str, body: bytes, timeout_s: float) -> Any:
        said = await self._bytes(method, path, body, timeout_s)
        try:
            return msgspec.json.decode(said)
        except msgspec.DecodeError as error:
            raise ModelFailed(f"{path} did not answer JSON: {error}") from error

    async def _bytes(self, method: str, path: str, body: bytes, timeout_s: float) -> bytes:
        if self._pool is None:
            raise ModelFailed("this worker has no model server")
        try:
            answer = await self._pool.fetch(method, path, body, _JSON, timeout_s)
        except OriginFailed as error:
            raise ModelFailed(f"{path}: {error}") from error
        if not 200 <= answer.status < 300:
            raise ModelFailed(f"{path} answered {answer.status}")
        return answer.body
