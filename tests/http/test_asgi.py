"""Handlers carried by an ASGI server, beside another application: a real server, real clients."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import aiohttp
import pytest
import uvicorn

from mercato.http.asgi import Beside
from mercato.http.call import Call


class Scene:
    """What the handler under test has seen."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.full = asyncio.Event()
        self.complaints: list[str] = []

    def handle(self, call: Call) -> Coroutine[Any, Any, None] | None:
        match call.path:
            case "/now":
                call.answer(200, call.body, headers=[(b"x-query", call.query.encode())])
            case "/later":
                return self._later(call)
            case "/stream":
                return self._stream(call)
            case "/broken":
                return self._broken(call)
            case "/hold":
                call.on_gone = self.left.set
            case "/flood":
                call.on_full = self.full.set
                call.begin(200, [], None)
                for _ in range(64):
                    call.write(b"x" * 65_536)
                call.end()
            case _:
                raise ValueError(call.path)
        return None

    async def _later(self, call: Call) -> None:
        await asyncio.sleep(0)
        call.answer(201, b"{}")

    async def _stream(self, call: Call) -> None:
        # The second belongs to another connection, from which the stream might be passed on.
        headers = [(b"content-type", b"text/event-stream"), (b"Keep-Alive", b"timeout=5")]
        call.begin(200, headers, None)
        for number in range(3):
            call.write(f"data: {number}\n\n".encode())
            await asyncio.sleep(0)
        call.end()

    async def _broken(self, call: Call) -> None:
        call.begin(200, [], None)
        call.write(b"half")
        await asyncio.sleep(0.05)
        raise OSError("the other side broke")

    def complain(self, what: str, error: BaseException) -> None:
        self.complaints.append(f"{what}: {error}")


async def rest(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 203, "headers": []})
    await send({"type": "http.response.body", "body": b"the rest"})


@pytest.fixture
async def scene() -> Scene:
    return Scene()


@pytest.fixture
async def url(scene: Scene) -> AsyncIterator[str]:
    known = {"/now", "/later", "/stream", "/broken", "/hold", "/flood", "/bug"}
    app = Beside(
        lambda _method, path: path in known, scene.handle, scene.complain, rest, body_bytes_max=100
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


async def test_what_is_known_is_answered_here_and_the_rest_there(url: str, scene: Scene) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.post(f"{url}//now?a=b", data=b"[1]") as answer:
            assert (answer.status, await answer.read()) == (200, b"[1]")
            assert answer.headers["x-query"] == "a=b"
        async with client.get(f"{url}/later") as answer:
            assert (answer.status, await answer.read()) == (201, b"{}")
        async with client.get(f"{url}/elsewhere") as answer:
            assert (answer.status, await answer.read()) == (203, b"the rest")
        async with client.post(f"{url}/now", data=b"x" * 101) as answer:
            assert answer.status == 413
    assert scene.complaints == []


async def test_a_stream_comes_whole_and_a_broken_one_is_seen_to_be(url: str, scene: Scene) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{url}/stream") as answer:
            assert "keep-alive" not in answer.headers
            assert await answer.read() == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        with pytest.raises(aiohttp.ClientError):
            async with client.get(f"{url}/broken") as answer:
                await answer.read()
        async with client.get(f"{url}/bug") as answer:
            assert answer.status == 500
    assert len(scene.complaints) == 2


async def test_who_hangs_up_is_noticed(url: str, scene: Scene) -> None:
    async with aiohttp.ClientSession() as client:
        with pytest.raises(TimeoutError):
            await client.get(f"{url}/hold", timeout=aiohttp.ClientTimeout(total=0.2))
    async with asyncio.timeout(5):
        await scene.left.wait()


async def test_who_reads_slowly_holds_the_writer_back(url: str, scene: Scene) -> None:
    async with aiohttp.ClientSession() as client, client.get(f"{url}/flood") as answer:
        async with asyncio.timeout(5):
            await scene.full.wait()
        assert len(await answer.read()) == 64 * 65_536


async def test_who_leaves_in_the_middle_of_a_body_has_asked_for_nothing() -> None:
    heard: list[bytes] = []
    said: list[Any] = []
    messages = iter(
        [
            {"type": "http.request", "body": b'{"half":', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        said.append(message)

    app = Beside(lambda *_: True, lambda call: heard.append(call.body), lambda *_: None, rest)
    scope = {"type": "http", "method": "POST", "path": "/now", "headers": []}
    await app(scope, receive, send)
    assert (heard, said) == ([], [])
