"""A request to an endpoint, step by step, without doing any of it: both clients follow these steps.

    route   ask the engine for a worker; while there is none, ask again with the number it gave
    work    give that worker the request, with the ticket that the engine signed
    again   it did not answer, or is too busy: route, with the same number, after a pause

A worker is somebody's machine: it gets the ticket, never a key.
"""

import math
from collections.abc import Callable, Generator, Mapping
from enum import StrEnum
from typing import Any, Final, TypedDict

import msgspec

from mercato.sdk.errors import BadQuery, NotFound, Refused, ServerFailed, TimedOut, failure
from mercato.sdk.pieces import value_of

COST_DEFAULT: Final = 100.0
TIMEOUT_S: Final = 600.0
TIMEOUT_MAX_S: Final = 7 * 86_400.0
"""Who waits longer, or for ever, waits this long: clocks of sockets end not far above."""
RETRIES: Final = 8
ROUTE_TIMEOUT_S: Final = 20.0
"""The engine holds the line for less than half of this."""
ROUTE_EVERY_S: Final = 1.0
"""From one question to the next at the least."""
PAUSE_FIRST_S: Final = 0.25
PAUSE_MAX_S: Final = 5.0
DEADLINE_MAX_S: Final = 86_400.0
SESSION_S: Final = 60.0
SESSION_CALL_S: Final = 10.0
AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
"""What another worker, or the same one later, may answer otherwise."""
BUSY: Final = frozenset({429})
"""What the worker of a session may answer otherwise later: it has not begun."""
ENDED: Final = 410
ROUTE_AGAIN: Final = frozenset({408, 429, 502, 503, 504})


class Stage(StrEnum):
    """How far a request has come."""

    ROUTING = "routing"
    """The engine is asked for a worker."""
    WAITING = "waiting"
    """No worker has room yet; `text` says what the workers do."""
    WORKING = "working"
    """A worker, at `url`, has it."""
    RETRYING = "retrying"
    """A worker failed it; `text` says how. Another is asked for."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a request while it is under way."""

    stage: Stage
    waited_s: float
    """Since it was made."""
    request_idx: int = 0
    url: str = ""
    text: str = ""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker answered."""

    value: Any
    """Decoded JSON; text or bytes when it is something else."""
    status: int
    url: str
    """The worker."""
    request_idx: int
    took_s: float
    """From the request to the answer, waiting included."""
    tries: int
    """Workers that it took."""


class How(TypedDict, total=False):
    """How a request may be made otherwise than most are."""

    cost: float
    """Units of work, in the unit in which its workers are measured; 100 when left out."""
    priority: int
    """0, the default, is served first."""
    timeout_s: float
    """For everything, waiting included; 600 when left out, a week at most. The blocking client may
    wait longer for a worker that falls silent or trickles in the middle: each read begins anew."""
    retries: int
    """How many more workers may be tried; 8 when left out."""


class Seat(msgspec.Struct, frozen=True):
    """A session at a worker: its requests go there, with the ticket that opened it."""

    url: str
    session_id: str
    ticket: Mapping[str, Any]


class Ask(msgspec.Struct, frozen=True):
    """A request as its maker describes it."""

    endpoint: str
    route: str
    payload: Mapping[str, Any]
    cost: float = COST_DEFAULT
    priority: int = 0
    timeout_s: float = TIMEOUT_S
    retries: int = RETRIES
    seat: Seat | None = None
    """The session that it is made in."""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """A step: post this, and say what came back."""

    url: str
    body: bytes
    timeout_s: float
    to_worker: bool


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A step: wait so many seconds."""

    seconds: float


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came back; status 0 when nobody answered, `content` then says why."""

    status: int
    content: bytes
    kind: str = ""
    """The content type."""


Steps = Generator[Send | Pause, Heard | None, Answered]
Tell = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Tell nobody."""


class Conversation:
    """One request under way. `steps` yields what to do and is sent what came of it."""

    def __init__(
        self,
        engine: str,
        ask: Ask,
        tell: Tell,
        clock: Callable[[], float],
        luck: Callable[[], float],
    ) -> None:
        """`engine` is its address, `clock` counts seconds, `luck` draws from [0, 1).

        Raises:
            BadQuery: when its `timeout_s` is no number.
        """
        if math.isnan(ask.timeout_s):
            raise BadQuery("timeout_s must be a number of seconds", code="invalid_request")
        self._engine = engine.rstrip("/")
        self._ask = ask
        self._tell_to = tell
        self._clock = clock
        self._luck = luck
        self._began_s = clock()
        self._idx = 0
        self._tries = 0
        self._failures = 0
        self._ticket: Mapping[str, Any] = {}
        self._failed = ""
        """What the last worker that failed it said."""
        self._waiting = ""
        """What the engine says while there is no worker for it."""

    def steps(self) -> Steps:
        """All steps, in order; at the end the answer.

        Raises:
            Failure: when it is refused, or is not answered in time.
        """
        while True:
            seat = self._ask.seat
            if seat is None:
                self._tell(Stage.ROUTING)
                self._ticket = yield from self._route()
            else:
                self._ticket = seat.ticket
            url = str(self._ticket["url"])
            self._tries += 1
            self._tell(Stage.WORKING, url=url)
            heard = yield Send(
                url=f"{url}/{self._ask.route.lstrip('/')}",
                body=msgspec.json.encode(
                    {
                        "auth_data": self._ticket,
                        "session_id": seat.session_id if seat else None,
                        "payload": self._ask.payload,
                    }
                ),
                timeout_s=self._left_s(),
                to_worker=True,
            )
            assert heard is not None
            if 200 <= heard.status < 300:
                return self._answer(heard, url)
            if heard.status or not self._failed:
                self._failed = f"the worker at {url}: {_said(heard)}"
            self._refuse(heard, url)
            self._tell(Stage.RETRYING, url=url, text=_said(heard))
            yield self._pause()

    def _route(self) -> Generator[Send | Pause, Heard | None, dict[str, Any]]:
        """Ask for a worker until there is one; what it is shown, its `url` among it."""
        while True:
            asked_s = self._clock()
            left_s = self._left_s()
            body = {
                "endpoint": self._ask.endpoint,
                "cost": self._ask.cost,
                "request_idx": self._idx,
                "priority": self._ask.priority,
                "deadline_s": min(left_s, DEADLINE_MAX_S),
            }
            heard = yield Send(
                url=f"{self._engine}/route/",
                body=msgspec.json.encode(body),
                timeout_s=min(ROUTE_TIMEOUT_S, left_s),
                to_worker=False,
            )
            assert heard is not None
            if heard.status != 200:
                if heard.status and heard.status not in ROUTE_AGAIN:
                    raise _failed(heard)
                self._waiting = f"the engine does not answer: {_said(heard)}"
                self._tell(Stage.WAITING, text=self._waiting)
                yield self._pause()
                continue
            said = _object(heard.content)
            self._idx = int(said.get("request_idx") or self._idx)
            self._waiting = "" if "url" in said else str(said.get("status") or "")
            if "url" in said:
                return said
            self._tell(Stage.WAITING, text=self._waiting)
            yield Pause(seconds=max(0.0, asked_s + ROUTE_EVERY_S - self._clock()))

    def _left_s(self) -> float:
        """Seconds until it is given up.

        Raises:
            TimedOut: when there are none left.
        """
        timeout_s = min(self._ask.timeout_s, TIMEOUT_MAX_S)
        left_s = self._began_s + timeout_s - self._clock()
        if left_s <= 0:
            raise self.late()
        return left_s

    def late(self, last: str = "") -> TimedOut:
        """What to raise when its time is up; `last` is what was heard since the last step."""
        late = f"endpoint {self._ask.endpoint!r} did not answer within {self._ask.timeout_s:g} s"
        heard = "; ".join(filter(None, (self._failed, self._waiting, last)))
        return TimedOut(f"{late}; last heard: {heard}" if heard else late, code="timed_out")

    def _pause(self) -> Pause:
        wait_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2**self._failures) * (0.5 + self._luck() / 2)
        self._failures += 1
        return Pause(seconds=min(wait_s, self._left_s()))

    def _refuse(self, heard: Heard, url: str) -> None:
        """Raise what a worker's answer means when it is not worth asking another."""
        seated = self._ask.seat is not None
        if seated and heard.status == ENDED:
            raise NotFound(
                "the session has ended: it was closed, its time ran out, or its worker was "
                "started again",
                code="session_ended",
                status=ENDED,
            )
        if heard.status and heard.status not in (BUSY if seated else AGAIN):
            raise _failed(heard)
        if not heard.status:
            self._left_s()  # that its time is up is why nothing was heard
        if self._tries > self._ask.retries or (seated and not heard.status):
            if heard.status:
                raise _failed(heard)
            raise ServerFailed(f"the worker at {url} does not answer: {_said(heard)}")

    def seat(self, answered: Answered) -> Seat:
        """The session that was opened by this conversation, which is over.

        Raises:
            ServerFailed: when the worker opened none.
        """
        said = answered.value if isinstance(answered.value, dict) else {}
        if not said.get("session_id"):
            raise ServerFailed(f"the worker at {answered.url} opened no session: {said}")
        return Seat(answered.url, str(said["session_id"]), self._ticket)

    def _answer(self, heard: Heard, url: str) -> Answered:
        return Answered(
            value=value_of(heard.content, heard.kind),
            status=heard.status,
            url=url,
            request_idx=self._idx,
            took_s=self._clock() - self._began_s,
            tries=self._tries,
        )

    def _tell(self, stage: Stage, *, url: str = "", text: str = "") -> None:
        waited_s = self._clock() - self._began_s
        self._tell_to(
            Progress(stage=stage, waited_s=waited_s, request_idx=self._idx, url=url, text=text)
        )


def opening(
    endpoint: str, lifetime_s: float, on_close_url: str | None, on_close_payload: Any, how: How
) -> Ask:
    """The request that opens a session."""
    payload = {
        "lifetime": lifetime_s,
        "on_close_route": on_close_url,
        "on_close_payload": on_close_payload,
    }
    return Ask(endpoint, "/session/create", payload, **how)


def lives(seat: Seat) -> Send:
    """Ask a worker whether a session is open; `is_open` reads the answer."""
    return _of_session(seat, "health")


def is_open(heard: Heard) -> bool:
    """What a worker said of a session; one that does not answer has none."""
    return heard.status == 200 and _object(heard.content).get("ok") is True


def ends(seat: Seat) -> Send:
    """Tell a worker to end a session; `ended` reads the answer."""
    return _of_session(seat, "end")


def ended(heard: Heard) -> bool:
    """Whether a session was open until now."""
    return 200 <= heard.status < 300


def _of_session(seat: Seat, verb: str) -> Send:
    body = {"session_id": seat.session_id, "session_auth": seat.ticket}
    return Send(
        url=f"{seat.url}/session/{verb}",
        body=msgspec.json.encode(body),
        timeout_s=SESSION_CALL_S,
        to_worker=True,
    )


def _object(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ServerFailed(
            f"the engine answered with something else than an object ({error}); is this the "
            "address of a Mercato server?"
        ) from None


def _failed(heard: Heard) -> Refused | ServerFailed:
    try:
        body = msgspec.json.decode(heard.content)
    except msgspec.DecodeError:
        body = None
    made = failure(heard.status, body, _said(heard))
    assert isinstance(made, Refused | ServerFailed)
    return made


def _said(heard: Heard) -> str:
    text = heard.content.decode(errors="replace").strip()[:200]
    return f"{heard.status} {text}".strip() if heard.status else text
