"""The agent's one connection: outbound, to the control plane, kept for ever."""

import asyncio
import contextlib
import random
from typing import Final

import aiohttp
import msgspec
import structlog

from mercato import __version__
from mercato.agent.sync import CHANGES_GATHERED_S, Host
from mercato.market.hardware import Hardware
from mercato.wire.agent import (
    FRAME_BYTES_MAX,
    PROTOCOL,
    SYNC_PERIOD_S,
    Answer,
    Ask,
    Desired,
    Join,
    Joined,
    Observed,
    Poke,
    ToAgent,
)

_log = structlog.get_logger()

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MOST_S: Final = 15.0
HEARD_BYTES_MAX: Final = 64 * 1024 * 1024
"""The longest frame of the market's that is read: it holds every script and key of the machine."""

KEY_REFUSED: Final = frozenset({401, 403, 4401, 4403})
"""HTTP statuses and close codes that say that the key is wrong: trying again would not help."""

OFF_MARKET: Final = 4410
"""The close code that says that the machine was taken off the market."""

PROTOCOL_REFUSED: Final = 4426
"""The close code that says that the two speak different versions."""

_READS: Final = msgspec.json.Decoder(ToAgent)


class AgentTrouble(Exception):  # noqa: N818 - one line for the host
    """The agent cannot go on; the message is one line that says what to do."""


class OffMarket(AgentTrouble):
    """The market has no such machine any more, and nothing of the market's should be here."""


async def join(url: str, token: str, hardware: Hardware) -> Joined:
    """Make this machine known to the control plane at `url`. Refuses with AgentTrouble."""
    body = msgspec.json.encode(Join(protocol=PROTOCOL, agent=__version__, hardware=hardware))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=30.0)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{url.rstrip('/')}/agent/v1/join", data=body, headers=headers) as answer,
        ):
            said = await answer.read()
            if answer.status in {401, 403}:
                raise AgentTrouble(
                    "the join token is wrong, used or out of date; ask the market for a new one"
                )
            if answer.status != 200:
                raise AgentTrouble(f"{url} refused this machine: {_message(said, answer.status)}")
            return msgspec.json.decode(said, type=Joined)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise AgentTrouble(f"{url} cannot be reached: {error}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise AgentTrouble(f"{url} does not answer as a market does: {error}") from error


def _message(said: bytes, status: int) -> str:
    try:
        return str(msgspec.json.decode(said)["msg"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {status}"


async def stay_connected(url: str, key: str, host: Host, luck: random.Random) -> None:
    """Speak with the control plane for ever, connecting again whenever the line is lost.

    Refuses with AgentTrouble when the key is wrong: trying again would not help.
    """
    wait_s = BACKOFF_FIRST_S
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        while True:
            try:
                async with session.ws_connect(
                    f"{url.rstrip('/')}/agent/v1/connect",
                    max_msg_size=HEARD_BYTES_MAX,
                    heartbeat=4 * SYNC_PERIOD_S,
                ) as line:
                    _log.info("connected", url=url)
                    told = await _converse(line, host)
                _refuse_if_final(line.close_code)
                wait_s = BACKOFF_FIRST_S if told else wait_s
                _log.warning("the line was closed", code=line.close_code)
            except aiohttp.WSServerHandshakeError as refused:
                _refuse_if_final(refused.status)
                _log.warning("not connected", status=refused.status)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _log.warning("not connected", why=str(error) or type(error).__name__)
            # Spread, so that a thousand agents do not come back in one instant.
            await asyncio.sleep(wait_s * luck.uniform(0.5, 1.5))
            wait_s = min(2 * wait_s, BACKOFF_MOST_S)


def _refuse_if_final(code: int | None) -> None:
    if code in KEY_REFUSED:
        raise AgentTrouble("the machine key is wrong or was revoked; join again with a new token")
    if code == OFF_MARKET:
        raise OffMarket(
            "this machine was taken off the market, and what ran on it for the market is removed; "
            "to put it on the market again, join from another data directory"
        )
    if code == PROTOCOL_REFUSED:
        raise AgentTrouble(
            f"the market does not speak version {PROTOCOL} of the agent's protocol; "
            "install the agent of the market's own version"
        )


async def _converse(line: aiohttp.ClientWebSocketResponse, host: Host) -> bool:
    """Tell and be told until the line is lost; whether anything was told to us."""
    told = False
    telling = asyncio.create_task(_tell(line, host))
    answering: set[asyncio.Task[None]] = set()
    try:
        async for frame in line:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            if telling.done():
                break
            heard = _heard(frame.data)
            told = True
            if isinstance(heard, Desired):
                host.take(heard)
            elif isinstance(heard, Poke):
                host.changed.set()
            elif isinstance(heard, Ask):
                task = asyncio.create_task(_answer(line, host, heard))
                answering.add(task)
                task.add_done_callback(answering.discard)
    finally:
        for task in (telling, *answering):
            task.cancel()
        ended = await asyncio.gather(telling, *answering, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
            raise outcome
    return told


def _heard(text: str) -> Desired | Poke | Ask | None:
    try:
        heard: Desired | Poke | Ask = _READS.decode(text)
    except msgspec.DecodeError as error:
        _log.error("a frame could not be read", why=str(error))
        return None
    return heard


async def _tell(line: aiohttp.ClientWebSocketResponse, host: Host) -> None:
    """Report at once, on every change, and at least every period.

    A change after a pause is told at once; only what follows closely is gathered.
    """
    loop = asyncio.get_running_loop()
    while True:
        host.changed.clear()
        told_at_s = loop.time()
        await _send(line, await host.observe())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SYNC_PERIOD_S * 0.9):
                await host.changed.wait()
        await asyncio.sleep(told_at_s + CHANGES_GATHERED_S - loop.time())


async def _answer(line: aiohttp.ClientWebSocketResponse, host: Host, ask: Ask) -> None:
    await _send(line, within_a_frame(await host.answer(ask)))


def within_a_frame(answer: Answer) -> Answer:
    """The answer with as much of its output as a frame takes: the last of it, after a line on that.

    A longer frame would end the connection, and with it every other work that has an answer.
    """
    whole, kept = len(answer.output), answer
    while (length := len(msgspec.json.encode(kept))) > FRAME_BYTES_MAX:
        # By how much it is too long, and some more: what is left may need more bytes a character.
        last = int(0.95 * FRAME_BYTES_MAX / length * len(kept.output))
        note = f"[cut: the first {whole - last} of {whole} characters are left out]\n"
        kept = msgspec.structs.replace(answer, output=note + answer.output[whole - last :])
    return kept


async def _send(line: aiohttp.ClientWebSocketResponse, frame: Observed | Answer) -> None:
    await line.send_str(msgspec.json.encode(frame).decode())
