"""The content of an answer, read until a time: the library's own timeouts are for one read each."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx2

LATE: Final = "it was still answering when the time was up"


class Until(httpx2.SyncByteStream):
    """A content that is read until a time: however slowly it comes, it does not come for ever."""

    def __init__(self, content: httpx2.SyncByteStream, until_s: float) -> None:
        """`until_s` is on the clock of `time.monotonic`."""
        self._content = content
        self._until_s = until_s

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._content:
            if time.monotonic() >= self._until_s:
                raise httpx2.ReadTimeout(LATE)
            yield chunk

    def close(self) -> None:
        """Read no more of it."""
        self._content.close()


class AsyncUntil(httpx2.AsyncByteStream):
    """The same, for asyncio."""

    def __init__(self, content: httpx2.AsyncByteStream, until_s: float) -> None:
        """`until_s` is on the loop's clock."""
        self._content = content
        self._until_s = until_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._content)
        while True:
            try:
                # Not around the yield: what the reader does between chunks is no wait of ours.
                async with asyncio.timeout_at(self._until_s):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise httpx2.ReadTimeout(LATE) from None
            if chunk is None:
                return
            yield chunk

    async def aclose(self) -> None:
        """Read no more of it."""
        await self._content.aclose()
