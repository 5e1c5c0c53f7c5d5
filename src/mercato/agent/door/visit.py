"""One SSH connection to one instance: who may come in, and what they may ask for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import asyncssh

from mercato.agent.door import command, tunnel
from mercato.agent.door.room import Room
from mercato.agent.door.session import InstanceSession

SESSIONS_MAX: Final = 64
"""Sessions at once in one instance."""

TUNNELS_MAX: Final = 256
"""Forwarded connections at once in one instance."""


class Visit(asyncssh.SSHServer):
    """A connection: keys only, two names only."""

    def __init__(self, room: Room) -> None:
        """Wait for the connection to `room`."""
        self._room = room
        self._user = ""
        self._offered: bytes | None = None
        self.key: bytes | None = None
        """The public key that let the visitor in."""
        self.connection: asyncssh.SSHServerConnection | None = None
        self.sessions: set[InstanceSession] = set()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Come to the door."""
        self.connection = conn
        if not self._room.enter(self):
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - its end is enough
        """Be gone."""
        self.connection = None
        self._room.leave(self)

    def begin_auth(self, username: str) -> bool:
        """Ask everybody for a key."""
        self._user = username
        return True

    def public_key_auth_supported(self) -> bool:
        """Take keys, and nothing else."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the instance's keys have this one, and the name is one that may come in."""
        if username not in command.USERS or key.public_data not in self._room.keys:
            return False
        self._offered = key.public_data
        return True

    def auth_completed(self) -> None:
        """Be inside."""
        self.key = self._offered
        self._room.admitted(self)

    def session_requested(self) -> InstanceSession | bool:
        """Have a session, unless there are too many."""
        if len(self._room.sessions()) >= SESSIONS_MAX:
            return False
        session = InstanceSession(
            self._room.engine,
            self._room.instance,
            self._user,
            lambda: self.sessions.discard(session),
            lambda: sum(each.serves_files for each in self._room.sessions()),
        )
        self.sessions.add(session)
        return session

    def connection_requested(
        self,
        dest_host: str,
        dest_port: int,
        orig_host: str,  # noqa: ARG002 - it makes no difference who asks
        orig_port: int,  # noqa: ARG002 - the same
    ) -> Coroutine[Any, Any, tunnel.Tunnel]:
        """Be joined to a port as the container sees it."""
        if self._user != command.ROOT:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, f"{self._user} may only copy files"
            )
        if self._room.tunnels >= TUNNELS_MAX:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE, f"{TUNNELS_MAX} connections are forwarded already"
            )
        return self._dig(dest_host, dest_port)

    async def _dig(self, host: str, port: int) -> tunnel.Tunnel:
        room = self._room
        room.tunnels += 1
        try:
            dug = await tunnel.dig(room.engine, room.instance, host, port, room.lookups)
        except BaseException:
            room.tunnels -= 1
            raise
        dug.when_closed = self._closed
        if self.connection is None:  # it has no channel any more, and nobody would tell its end
            dug.connection_lost(None)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the visitor has gone")
        return dug

    def _closed(self) -> None:
        self._room.tunnels -= 1

    async def end(self, why: str, within_s: float) -> None:
        """Tell every session why, and hang up."""
        sessions = tuple(self.sessions)
        for session in sessions:
            session.end(why)
        connection = self.connection
        if connection is None:
            return
        connection.disconnect(asyncssh.DISC_BY_APPLICATION, why)
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(session.ended() for session in sessions))
                await connection.wait_closed()
        except TimeoutError:
            connection.abort()
