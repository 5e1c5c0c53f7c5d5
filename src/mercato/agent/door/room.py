"""What the door knows of one instance: its keys, and who is there."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import asyncssh
import structlog

from mercato.agent.door.session import InstanceSession
from mercato.agent.engine import Engine

_log = structlog.get_logger()

VISITS_MAX: Final = 128
"""Connections at once to one instance."""

STRANGERS_MAX: Final = 32
"""Of these, connections that have not shown a key yet."""

LOOKUPS_MAX: Final = 4
"""Names at once that are looked up for one instance's forwarded connections."""


class Visitor(Protocol):
    """Whoever stands at the door or inside; see `mercato.agent.door.visit`."""

    key: bytes | None
    """The public key that let the visitor in."""
    sessions: set[InstanceSession]

    async def end(self, why: str, within_s: float) -> None:
        """Tell every session why, and hang up."""


class Room:
    """One instance, from the door's side."""

    def __init__(self, engine: Engine, instance: int) -> None:
        """Let nobody in yet."""
        self.engine = engine
        self.instance = instance
        self.visits: set[Visitor] = set()
        self.tunnels = 0
        """Forwarded connections now."""
        self.lookups = ThreadPoolExecutor(LOOKUPS_MAX, "lookup")
        """Where names are looked up: one whose server is silent holds up these alone."""
        self.keys: frozenset[bytes] = frozenset()
        """Public keys that may come in, in SSH's own form."""
        self._written: tuple[str, ...] = ()

    def enter(self, visit: Visitor) -> bool:
        """Let a connection wait at the door; False when too many do."""
        strangers = sum(other.key is None for other in self.visits)
        if strangers >= STRANGERS_MAX or len(self.visits) >= VISITS_MAX:
            return False
        self.visits.add(visit)
        return True

    def admitted(self, visit: Visitor) -> None:
        """Note that a visitor has shown a key."""
        _log.info("somebody came in", instance=self.instance, visits=len(self.visits))
        assert visit in self.visits

    def leave(self, visit: Visitor) -> None:
        """Forget a connection."""
        self.visits.discard(visit)

    def sessions(self) -> list[InstanceSession]:
        """Every session of everybody who is inside."""
        return [session for visit in self.visits for session in visit.sessions]

    def close(self) -> None:
        """Look up no more names; what is being looked up is waited for by nobody."""
        self.lookups.shutdown(wait=False, cancel_futures=True)

    def set_keys(self, written: tuple[str, ...]) -> tuple[Visitor, ...]:
        """Let these keys in from now on; those who are inside by another one are answered."""
        if written == self._written:
            return ()
        self._written = written
        self.keys = frozenset(self._read(written))
        return tuple(v for v in self.visits if v.key is not None and v.key not in self.keys)

    def _read(self, written: tuple[str, ...]) -> list[bytes]:
        read = []
        for line in (line.strip() for key in written for line in key.splitlines()):
            if not line or line.startswith("#"):
                continue
            try:
                read.append(asyncssh.import_public_key(line).public_data)
            except asyncssh.KeyImportError as error:
                _log.warning("not a public key", instance=self.instance, why=str(error))
        return read
