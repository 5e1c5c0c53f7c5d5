"""Agents at the line: one WebSocket for each machine, whole observed in, whole desired out.

A machine's newer connection replaces its older one. A lost connection changes nothing on the host
and nothing here: what a silent machine means is the silence loop's to decide.
"""

import asyncio
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
from starlette.websockets import (
    WebSocket,
    WebSocketDisconnect,
    WebSocketDisconnected,
    WebSocketState,
)

from mercato.control.api.auth import KeyRing
from mercato.control.clock import Clock
from mercato.control.db import Database, Tx
from mercato.control.store import api_keys
from mercato.market import errors
from mercato.market.ids import MachineId
from mercato.wire import agent as wire

ANSWER_GRACE_S: Final = 2.0
"""How much longer than the agent's own deadline an answer is waited for."""

CLOSE_TEXT_MAX: Final = 120
"""A close frame carries at most 123 bytes."""

Observe = Callable[[Tx, MachineId, wire.Observed, int], wire.Desired]

_log = structlog.get_logger("mercato.agents")
_decoder = msgspec.json.Decoder(wire.FromAgent)


class Goodbye(Exception):  # noqa: N818 - one line for the operator
    """Why a connection is closed, told to the agent."""

    def __init__(self, code: int, reason: str) -> None:
        """Close with `code` (4000 and above are ours) and a text."""
        super().__init__(reason)
        self.code = code
        self.reason = reason[:CLOSE_TEXT_MAX]


class _Line:
    """One machine's connection."""

    def __init__(self, socket: WebSocket, machine: MachineId) -> None:
        self.machine = machine
        self.poked = asyncio.Event()
        self.waiting: dict[int, asyncio.Future[wire.Answer]] = {}
        self._socket = socket
        self._sending = asyncio.Lock()
        self._asked = 0

    async def send(self, frame: wire.ToAgent) -> None:
        """Send one whole frame."""
        async with self._sending:
            await self._socket.send_text(msgspec.json.encode(frame).decode())

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye, if there is still somebody to say it to."""
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(errors.HostUnavailable("The host's connection was lost."))
        with suppress(RuntimeError, WebSocketDisconnect, OSError):
            if self._socket.application_state is WebSocketState.CONNECTED:
                await self._socket.close(code, reason)

    async def ask(self, work: wire.Logs | wire.Execute, deadline_s: float) -> wire.Answer:
        """Have work done and wait for what it came to."""
        self._asked += 1
        number = self._asked
        future: asyncio.Future[wire.Answer] = asyncio.get_running_loop().create_future()
        self.waiting[number] = future
        try:
            await self.send(wire.Ask(id=number, deadline_s=deadline_s, work=work))
            return await asyncio.wait_for(future, deadline_s + ANSWER_GRACE_S)
        except TimeoutError:
            raise errors.HostUnavailable(
                f"The host did not answer within {deadline_s:g} s."
            ) from None
        except (RuntimeError, WebSocketDisconnect, OSError):
            raise errors.HostUnavailable("The host's connection was lost.") from None
        finally:
            self.waiting.pop(number, None)

    async def poke_when_told(self) -> None:
        """Pass pokes on; several at once are one."""
        while True:
            await self.poked.wait()
            self.poked.clear()
            await self.send(wire.Poke())


class Agents:
    """The connections of this process."""

    def __init__(self, db: Database, clock: Clock, keys: KeyRing, observe: Observe) -> None:
        """Run `observe` on every report."""
        self._db = db
        self._clock = clock
        self._keys = keys
        self._observe = observe
        self._lines: dict[MachineId, _Line] = {}

    @property
    def connected(self) -> int:
        """How many machines are connected here."""
        return len(self._lines)

    def poke(self, machines: Iterable[MachineId]) -> None:
        """Ask machines to report now; those not connected here report when they are."""
        for machine in machines:
            line = self._lines.get(machine)
            if line is not None:
                line.poked.set()

    def poke_everyone(self) -> None:
        """Ask every connected machine to report now: pokes may have been lost."""
        self.poke(tuple(self._lines))

    async def ask(
        self, machine: MachineId, work: wire.Logs | wire.Execute, deadline_s: float
    ) -> wire.Answer:
        """Have a machine's agent do work.

        Raises:
            HostUnavailable: when it is not connected, or does not answer in time.
        """
        line = self._lines.get(machine)
        if line is None:
            raise errors.HostUnavailable(
                f"Machine {machine} is not connected now; try again when it is back."
            )
        return await line.ask(work, deadline_s)

    async def hang_up(self) -> None:
        """Close every connection: the server stops. Agents come back by themselves."""
        for line in tuple(self._lines.values()):
            await line.close(1012, "the server restarts")

    async def serve(self, socket: WebSocket) -> None:
        """Talk with one agent until either side ends it."""
        await socket.accept()
        line: _Line | None = None
        try:
            line = await self._enter(socket)
            await self._talk(socket, line)
        except Goodbye as goodbye:
            _log.info("agent_refused", machine=line and line.machine, reason=goodbye.reason)
            await (line or _Line(socket, MachineId(0))).close(goodbye.code, goodbye.reason)
        except (WebSocketDisconnect, WebSocketDisconnected, OSError):
            pass  # it hung up: while it was heard, or while it was told something
        except Exception:  # noqa: BLE001 - whatever went wrong is told and logged
            _log.exception("agent_line_failed", machine=line and line.machine)
            await (line or _Line(socket, MachineId(0))).close(1011, "internal error; come back")
        finally:
            if line is not None:
                await self._leave(line)

    async def _enter(self, socket: WebSocket) -> _Line:
        scheme, _, secret = socket.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Goodbye(4401, "send the machine's key as Authorization: Bearer")
        try:
            caller = await self._keys.caller(secret.strip())
        except errors.NotAuthenticated:
            if await self._db.run(api_keys.is_off_market, secret.strip()):
                raise Goodbye(4410, "this machine was taken off the market") from None
            raise Goodbye(4401, "this machine key is not valid") from None
        if caller.machine is None:
            raise Goodbye(4403, "this is not a machine's key; join first")
        line = _Line(socket, caller.machine)
        older = self._lines.get(caller.machine)
        self._lines[caller.machine] = line
        if older is not None:
            await older.close(4409, "a newer connection of this machine took over")
        return line

    async def _leave(self, line: _Line) -> None:
        if self._lines.get(line.machine) is line:
            del self._lines[line.machine]
        await line.close(1000, "")

    async def _talk(self, socket: WebSocket, line: _Line) -> None:
        poking = asyncio.create_task(line.poke_when_told())
        try:
            while True:
                await self._take(line, _frame(await socket.receive()))
        finally:
            poking.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await poking

    async def _take(self, line: _Line, frame: wire.FromAgent) -> None:
        if isinstance(frame, wire.Answer):
            future = line.waiting.get(frame.id)
            if future is not None and not future.done():
                future.set_result(frame)
            return
        if frame.protocol != wire.PROTOCOL:
            raise Goodbye(4426, f"this server speaks protocol {wire.PROTOCOL}")
        try:
            desired = await self._db.run(self._observe, line.machine, frame, self._clock.now_ms())
        except errors.Refusal as refusal:
            raise Goodbye(4400, str(refusal)) from None
        await line.send(desired)


def _frame(message: MutableMapping[str, Any]) -> wire.FromAgent:
    """One frame from the agent, or goodbye."""
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005)
    raw: str | bytes = message.get("text") or message.get("bytes") or b""
    if len(raw) > wire.FRAME_BYTES_MAX:
        raise Goodbye(1009, f"a frame is longer than {wire.FRAME_BYTES_MAX} bytes")
    try:
        frame: wire.FromAgent = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Goodbye(4400, f"bad frame: {problem}") from None
    return frame
