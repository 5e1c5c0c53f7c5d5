"""The agent's SSH server: one listening port for each instance, one key for the whole machine."""

import asyncio
import contextlib
import functools
from pathlib import Path
from typing import Final

import asyncssh
import structlog

from mercato.agent.door.host_key import host_key
from mercato.agent.door.room import Room
from mercato.agent.door.visit import Visit
from mercato.agent.engine import Engine

_log = structlog.get_logger()

CIPHERS: Final = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
"""The quickest first: AES-GCM moves twice as much per core."""

VERSION: Final = "OpenSSH_9.2 Mercato"
"""OpenSSH's client says only to its like when nobody reads what a command prints."""

LOGIN_S: Final = 30
"""How long a visitor may take to show a key."""

KEEP_ALIVE_S: Final = 30
"""A visitor that answers nothing this often four times over has gone."""

HANG_UP_S: Final = 1.0
"""How long a visitor may take to hear why the connection ends."""


class SshDoor:
    """The way into every instance of one agent."""

    def __init__(self, data: Path, engine: Engine) -> None:
        """Open nothing yet. The machine's key is kept in `data`.

        Refuses with OSError or asyncssh.KeyImportError when it cannot be.
        """
        self._engine = engine
        self._host_key = host_key(data)
        self._rooms: dict[int, Room] = {}
        self._listeners: dict[int, asyncssh.SSHAcceptor] = {}
        self._endings: set[asyncio.Task[None]] = set()

    async def open(self, instance_id: int, port: int) -> None:
        """Listen on `port` for `instance_id`; the same call again changes nothing.

        Refuses with OSError when the port cannot be had.
        """
        listener = self._listeners.get(instance_id)
        if listener is not None:
            if listener.get_port() == port:
                return
            await self.close(instance_id)
        room = self._room(instance_id)
        self._listeners[instance_id] = await asyncssh.listen(
            "",
            port,
            server_factory=functools.partial(Visit, room),
            server_host_keys=[self._host_key],
            encryption_algs=CIPHERS,
            encoding=None,
            line_editor=False,
            password_auth=False,
            kbdint_auth=False,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_pty=True,
            login_timeout=LOGIN_S,
            keepalive_interval=KEEP_ALIVE_S,
            keepalive_count_max=4,
            server_version=VERSION,
        )

    async def close(self, instance_id: int) -> None:
        """Stop listening and end what goes on; nothing when it is not open."""
        listener = self._listeners.pop(instance_id, None)
        room = self._rooms.pop(instance_id, None)
        if listener is not None:
            listener.close()
        if room is not None:
            why = f"instance {instance_id} was stopped, or the agent of its machine has ended"
            await asyncio.gather(
                *(visit.end(why, HANG_UP_S) for visit in tuple(room.visits)),
                return_exceptions=True,
            )
            room.close()
        if listener is not None:
            with contextlib.suppress(OSError):
                await listener.wait_closed()

    def set_keys(self, instance_id: int, keys: tuple[str, ...]) -> None:
        """Let these public keys in, and no other; who came in by another is sent away."""
        for visit in self._room(instance_id).set_keys(keys):
            ending = asyncio.create_task(visit.end("your key was taken away", HANG_UP_S))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    def _room(self, instance_id: int) -> Room:
        if instance_id not in self._rooms:
            self._rooms[instance_id] = Room(self._engine, instance_id)
        return self._rooms[instance_id]
