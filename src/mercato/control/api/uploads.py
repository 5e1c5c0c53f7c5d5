"""Uploads where this server keeps them itself: whoever has a link that it signed may use it.

With a store elsewhere (settings `s3_url` and so on) links lead there, and nothing is here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import IO, Final

import msgspec
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import StreamingResponse

from mercato.control.api.call import Call, Done
from mercato.control.api.errors import BodyTooLarge
from mercato.control.blobs.directory import BRING, FETCH, Directory, expired
from mercato.market import errors

AROUND_MAX: Final = 65_536
"""Bytes that the form may have around the file."""


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A file, and the signature that lets its holder have it."""

    name: str
    size: int
    until: int
    """Seconds since the epoch."""
    signature: str


async def bring(call: Call, asked: Signed) -> Done:
    """Take the file of a form, `multipart/form-data` with one part named `file`."""
    store = _checked(call, BRING, asked)
    source = await _file(call, asked.size + AROUND_MAX)
    try:
        await asyncio.to_thread(store.take, asked.name, asked.size, source)
    finally:
        source.close()
    return Done(msg=f"{asked.size} bytes are kept.")


async def fetch(call: Call, asked: Signed) -> StreamingResponse:
    """Give a file out."""
    store = _checked(call, FETCH, asked)
    size, pieces = await asyncio.to_thread(store.read, asked.name)
    return StreamingResponse(
        pieces, media_type="application/octet-stream", headers={"Content-Length": str(size)}
    )


def _checked(call: Call, deed: str, asked: Signed) -> Directory:
    store = call.services.blobs
    if not isinstance(store, Directory):
        raise errors.NotFound("There is no such file: this market keeps uploads elsewhere.")
    store.check(deed, asked.name, asked.size, asked.until, asked.signature)
    expired(asked.until, call.now_ms)
    return store


async def _file(call: Call, bytes_max: int) -> IO[bytes]:
    """The file of a form, on disk when it is large."""
    assert call.stream is not None, "the route streams"
    if not call.content_type.startswith("multipart/form-data") or "boundary=" not in (
        call.content_type
    ):
        raise errors.InvalidRequest("Send a form, multipart/form-data, with one part named file.")
    headers = Headers({"content-type": call.content_type})
    parser = MultiPartParser(headers, _at_most(call.stream, bytes_max), max_files=1, max_fields=32)
    try:
        file = (await parser.parse()).get("file")
    except MultiPartException as problem:
        raise errors.InvalidRequest(f"The form cannot be read: {problem.message}") from None
    if not isinstance(file, UploadFile):
        raise errors.InvalidRequest("The form has no file in a part named file.")
    return file.file


async def _at_most(stream: AsyncIterator[bytes], bytes_max: int) -> AsyncGenerator[bytes, None]:
    seen = 0
    async for chunk in stream:
        seen += len(chunk)
        if seen > bytes_max:
            raise BodyTooLarge("The file is larger than was announced.")
        yield chunk
