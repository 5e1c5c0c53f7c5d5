"""A small model server: echoes, streams, dawdles and fails as it is asked to. Run: PORT LOG."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from mercato.http.call import Call
from mercato.http.server import Server


async def generate(call: Call) -> None:
    asked: dict[str, Any] = msgspec.json.decode(call.body)
    await asyncio.sleep(asked.get("dawdle_s", 0.0))
    if "fail" in asked:
        call.answer(asked["fail"], b'{"error":"as you wish"}')
    else:
        call.answer(200, msgspec.json.encode({"echo": asked}))


async def stream(call: Call) -> None:
    asked: dict[str, Any] = msgspec.json.decode(call.body)
    call.begin(200, [(b"content-type", b"text/event-stream")], None)
    for number in range(asked.get("count", 5)):
        call.write(b"data: %s\n\n" % msgspec.json.encode({"number": number}))
        await asyncio.sleep(asked.get("dawdle_s", 0.0))
    call.write(b"data: [DONE]\n\n")
    call.end()


def chat(call: Call) -> Any:
    asked: dict[str, Any] = msgspec.json.decode(call.body)
    if asked.get("stream"):
        return _chat_stream(call)
    choice = {"index": 0, "finish_reason": "stop"}
    message = {"role": "assistant", "content": "hello"}
    answer = {"id": "c", "created": 0, "model": "m", "object": "chat.completion"}
    call.answer(200, msgspec.json.encode(answer | {"choices": [choice | {"message": message}]}))
    return None


async def _chat_stream(call: Call) -> None:
    call.begin(200, [(b"content-type", b"text/event-stream")], None)
    for word in ("hel", "lo"):
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        chunk = {"id": "c", "created": 0, "model": "m", "object": "chat.completion.chunk"}
        call.write(b"data: %s\n\n" % msgspec.json.encode(chunk | {"choices": [choice]}))
        await asyncio.sleep(0.01)
    call.write(b"data: [DONE]\n\n")
    call.end()


def embeddings(call: Call) -> None:
    row = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    body = {"object": "list", "model": "m", "data": [row], "usage": usage}
    call.answer(200, msgspec.json.encode(body))


def handle(call: Call) -> Any:
    match call.path:
        case "/health":
            return call.answer(200, b"{}")
        case "/stream":
            return stream(call)
        case "/v1/chat/completions" | "/v1/completions":
            return chat(call)
        case "/v1/embeddings":
            return embeddings(call)
        case _:
            return generate(call)


def complain(what: str, error: BaseException) -> None:
    sys.stderr.write(f"{what}: {error!r}\n")


async def main(port: int, log: Path) -> None:
    server = Server(handle, complain)
    await server.listen("127.0.0.1", port)
    with log.open("a") as lines:
        lines.write("Model loaded\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2])))
