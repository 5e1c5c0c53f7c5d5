"""A model server that costs almost nothing: constant answers, and streams when asked. Run: PORT."""

import asyncio
import sys
from typing import cast

import uvloop

CHUNKS = 200
ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"' + b"lorem ipsum " * 60 + b'"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(ANSWER),
    ANSWER,
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
)
# Not always the same: LiteLLM breaks off a model that says one thing a hundred times.
CHUNK_PAIR = [
    b"%x\r\n%s\r\n" % (len(event), event) for event in (EVENT % b"word ", EVENT % b"after ")
]
LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Model(asyncio.Protocol):
    """Reads just enough of HTTP to know where a request ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._got = b""

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head = self._got[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._got) < end + 4 + length:
                return
            body, self._got = self._got[end + 4 : end + 4 + length], self._got[end + 4 + length :]
            if b'"stream":true' in body or b'"stream": true' in body:
                self._task = asyncio.get_running_loop().create_task(self._stream())
            else:
                self._transport.write(WHOLE)

    async def _stream(self) -> None:
        self._transport.write(HEAD)
        for number in range(CHUNKS):
            self._transport.write(CHUNK_PAIR[number % 2])
            await asyncio.sleep(0)
        self._transport.write(LAST)


async def main(port: int) -> None:
    await asyncio.get_running_loop().create_server(Model, "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
