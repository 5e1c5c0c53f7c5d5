"""A small agent that speaks the real protocol and obeys at once."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import aiohttp
import msgspec
from vastai import VastAI

from mercato.market.hardware import Hardware
from mercato.market.instance import Actual
from mercato.wire import agent as wire
from tests.control.api.serving import Served
from tests.control.market import hardware


def join(server: Served, key: str = "host", of: Hardware | None = None) -> wire.Joined:
    """Let a machine of an account in."""
    token = server.call("POST", "/api/v0/machines/join_tokens/", key, {}).json()["token"]
    body = wire.Join(agent="test", hardware=of or hardware())
    answer = server.call("POST", "/agent/v1/join", token, msgspec.to_builtins(body))
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=wire.Joined)


class ScriptedAgent:
    """One machine's agent."""

    def __init__(self, server: Served, joined: wire.Joined, of: Hardware) -> None:
        self.joined = joined
        self._url = f"{server.url}/agent/v1/connect"
        self._hardware = of
        self._generation = 0
        self._desired: wire.Desired | None = None
        self._ended = threading.Event()

    @property
    def told(self) -> tuple[wire.DesiredInstance, ...]:
        """What should be on the machine, as it was told last."""
        return self._desired.instances if self._desired else ()

    def _observed(self) -> wire.Observed:
        self._generation += 1
        return wire.Observed(
            agent="test",
            boot="boot",
            generation=self._generation,
            desired_generation=self._desired.generation if self._desired else 0,
            sees=True,
            hardware=self._hardware,
            instances=tuple(
                wire.ObservedInstance(
                    id=one.id,
                    revision=one.revision,
                    boots=one.boots,
                    actual=Actual.RUNNING if one.running else Actual.STOPPED,
                    started_at_ms=1_700_000_000_000,
                    ports={"22/tcp": 40_000 + index},
                )
                for index, one in enumerate(self.told)
            ),
        )

    async def run(self) -> None:
        """Talk until told to end."""
        headers = {"Authorization": f"Bearer {self.joined.machine_key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(self._url) as line,
        ):
            await line.send_str(msgspec.json.encode(self._observed()).decode())
            while not self._ended.is_set():
                with contextlib.suppress(TimeoutError):
                    await self._hear(line, await line.receive(timeout=0.2))

    async def _hear(
        self, line: aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage
    ) -> None:
        if message.type is not aiohttp.WSMsgType.TEXT:
            self._ended.set()
            return
        heard = msgspec.json.decode(message.data, type=wire.ToAgent)
        say: wire.FromAgent | None = None
        match heard:
            case wire.Desired():
                # Of another generation: what came and went in between is to be told gone as well.
                before, self._desired = self._desired, heard
                known = before is not None and (
                    (before.generation, before.instances) == (heard.generation, heard.instances)
                )
                say = None if known else self._observed()
            case wire.Poke():
                say = self._observed()
            case wire.Ask(id=number, work=wire.Execute(command=command)):
                say = wire.Answer(id=number, output=f"ran {command}\n")
            case wire.Ask(id=number):
                say = wire.Answer(id=number, output="one\ntwo\n")
            case _:
                raise AssertionError(heard)
        if say is not None:
            await line.send_str(msgspec.json.encode(say).decode())

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """It works while this is held."""
        thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(timeout=10)


@contextlib.contextmanager
def listed(server: Served) -> Iterator[int]:
    """A machine that is connected and on sale; its number."""
    made = hardware()
    joined = join(server, of=made)
    with ScriptedAgent(server, joined, made).working():
        host = VastAI(api_key=server.keys["host"], server_url=server.url)
        assert host.list_machine(id=joined.machine, price_gpu=0.36, price_disk=0.1)["success"]
        yield joined.machine
