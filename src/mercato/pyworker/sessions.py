"""Sessions: a client keeps one worker for several requests (contract, section 4.3).

An open session counts as one working request of the cost that it was opened with. Each of its
requests prolongs it; when it ends, its requests under way are broken off, and an address of the
client's choice is told: a path of the model server, or a whole URL.
"""

import asyncio
import random
import string
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import msgspec
import structlog

from mercato.http.call import Call
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.pyworker.clock import Clock
from mercato.pyworker.measure import Measure, Outcome, counted
from mercato.wire.worker import AuthData

LIFETIME_S: Final = 60.0
LIFETIME_MAX_S: Final = 86_400.0
SWEEP_S: Final = 1.0
ON_CLOSE_S: Final = 10.0
_LETTERS: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 13
_log = structlog.get_logger("mercato.pyworker")


class Opening(msgspec.Struct, kw_only=True):
    """Payload of a request for a session."""

    lifetime: float = LIFETIME_S
    on_close_route: str | None = None
    on_close_payload: Any = None


class Address(NamedTuple):
    """Where the end of a session is told."""

    origin: Origin
    target: str
    """The path and the query."""


def address(route: str | None, model: str | None) -> Address | None:
    """What an `on_close_route` means beside a model server; None when nobody is to be told.

    Raises:
        ValueError: when it cannot be posted to.
    """
    if not route:
        return None
    if not all("!" <= letter <= "~" for letter in route):
        raise ValueError("may have no spaces and nothing but ASCII: quote them by %")
    parts = urlsplit(urljoin(model or "", route))
    if not parts.netloc:
        raise ValueError("must be a whole URL: this worker has no model server for a path of it")
    origin = Origin.of(parts.geturl())
    return Address(origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


class Session:
    """One open session."""

    __slots__ = ("auth", "calls", "created_s", "expires_s", "id", "number", "opening", "told_at")

    def __init__(
        self, name: str, auth: AuthData, opening: Opening, number: int, told_at: Address | None
    ) -> None:
        """`auth` is the ticket that opened it; `number` is what it counts as."""
        self.told_at = told_at
        self.id = name
        self.auth = auth
        self.opening = opening
        self.number = number
        self.calls: set[Call] = set()
        self.created_s = 0.0
        self.expires_s = 0.0

    def shown(self, auth: object) -> dict[str, object]:
        """As its owner sees it; `auth` is what the owner sent."""
        return {
            "session_id": self.id,
            "auth_data": auth,
            "lifetime": self.opening.lifetime,
            "expiration": self.expires_s,
            "created_at": self.created_s,
            "on_close_route": self.opening.on_close_route,
            "on_close_payload": self.opening.on_close_payload,
        }


class Sessions:
    """The open sessions of a worker."""

    def __init__(self, measure: Measure, clock: Clock, luck: random.Random, most: int) -> None:
        """At most `most` at a time; 0 is no limit. `luck` makes their names: be it secure."""
        self._measure = measure
        self._clock = clock
        self._luck = luck
        self._most = most
        self._open: dict[str, Session] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether no more may be opened."""
        return 0 < self._most <= len(self._open)

    def open(self, auth: AuthData, opening: Opening, told_at: Address | None = None) -> Session:
        """Open a session, whose end is told at an address."""
        name = "".join(self._luck.choices(_LETTERS, k=_ID_LENGTH))
        number = self._measure.start(auth.request_idx, counted(auth.cost), session=True)
        session = Session(name, auth, opening, number, told_at)
        session.created_s = self._clock.now_s()
        session.expires_s = session.created_s + opening.lifetime
        self._open[name] = session
        return session

    def get(self, name: str) -> Session | None:
        """The open session of that name; one past its time is not open."""
        session = self._open.get(name)
        if session is not None and session.expires_s <= self._clock.now_s():
            self.close(session)
            return None
        return session

    def prolong(self, session: Session) -> None:
        """A request has come: the session lives longer."""
        session.expires_s += session.opening.lifetime

    def close(self, session: Session) -> bool:
        """End a session; whether it was open."""
        if self._open.pop(session.id, None) is None:
            return False
        for call in tuple(session.calls):
            call.abort()
        self._measure.end(session.number, Outcome.SUCCESS)
        if session.told_at is not None:
            task = asyncio.get_running_loop().create_task(self._tell(session, session.told_at))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        return True

    async def sweep_for_ever(self) -> None:
        """Close sessions as their time runs out."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = self._clock.now_s()
            for session in tuple(self._open.values()):
                if session.expires_s <= now_s:
                    self.close(session)

    async def _tell(self, session: Session, told_at: Address) -> None:
        """Post that the session has ended; it is a courtesy, and nothing depends on it."""
        said = session.opening.on_close_payload
        body = dict(said) if isinstance(said, dict) else {}
        if said is not None and not isinstance(said, dict):
            body["payload"] = said
        body.setdefault("session_id", session.id)
        pool = Pool(told_at.origin)
        headers = ((b"content-type", b"application/json"),)
        try:
            encoded = msgspec.json.encode(body)
            await pool.fetch("POST", told_at.target, encoded, headers, ON_CLOSE_S)
        except OriginFailed as failure:
            where = told_at.origin.authority
            _log.warning("the end of a session was not told", at=where, why=str(failure))
        finally:
            pool.close()
