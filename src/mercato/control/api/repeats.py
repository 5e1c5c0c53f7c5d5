"""A change asked for twice is made once: `Idempotency-Key`, and creations without one.

The official client repeats a request whose answer it lost. With the header, any change answers the
second time what it answered the first. Rentals do so without it (creating.py).

When the server died between the change and its answer, or lost its database while it committed,
nobody knows the answer; but that there was a change is known, because every transaction of such a
request that wrote anything says so itself. Then it is not made again, and the client is told to
look.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar, Concatenate, Final, ParamSpec, TypeVar

import msgspec
from starlette.responses import Response

from mercato.control.api.call import Call
from mercato.control.api.errors import KeyReused, error_body, status_of
from mercato.control.api.route import Route
from mercato.control.db import Database, Tx
from mercato.control.secrets_box import SecretsBox
from mercato.control.store import replies
from mercato.market import errors
from mercato.market.ids import AccountId

P = ParamSpec("P")
T = TypeVar("T")

KEPT_MS: Final = 24 * 3_600_000
"""How long an Idempotency-Key is remembered."""

AT_WORK_MS: Final = 150_000
"""A first request that has no answer after this long is taken for lost."""

KEY_MAX: Final = 255


def digest_of(route: Route, call: Call) -> bytes:
    """Names a request: the same key, method, path and arguments have the same digest.

    Another key of the account may reach less far: what this one was answered is not its to read.
    """
    told = (call.who.key, route.method, route.path, call.arguments)
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).digest()


class OutcomeUnknown(errors.Conflict):
    """The request changed something and its answer was lost."""

    code: ClassVar[str] = "outcome_unknown"


_LOST: Final = (
    "The first request of this Idempotency-Key changed something, and its answer was lost. Look at "
    "what is there; take a new key for what is missing."
)


class Marking(Database):
    """The database as a request with a key uses it: what it writes, it writes under the key."""

    def __init__(self, db: Database, account: AccountId, key: str, since_ms: int) -> None:
        """Use the connections of `db`, for the request that has the key since `since_ms`."""
        self._db = db
        self._of = (account, key, since_ms)

    def run_now(
        self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `flow`; when it wrote anything, so does the key, in the same transaction.

        Raises:
            Conflict: when this request took so long that the key is another's by now.
        """

        def marked(tx: Tx) -> T:
            result = flow(tx, *args, **kwargs)
            if tx.wrote and not replies.took_effect(tx, *self._of):
                raise errors.Conflict("Another request of this Idempotency-Key has taken over.")
            return result

        return self._db.run_now(marked)


async def once(call: Call, route: Route, do: Callable[[Call], Awaitable[Response]]) -> Response:
    """Do it, or answer what it came to when this key did it before.

    Raises:
        KeyReused: when the key came with another request, or by another API key, before.
        Conflict: when the first request of this key is still at work.
        OutcomeUnknown: when it changed something and its answer was lost.
    """
    key = call.repeat_key
    assert key is not None, route
    if len(key) > KEY_MAX:
        raise errors.TooLong(f"An Idempotency-Key has at most {KEY_MAX} characters.")
    db, account = call.services.db, call.account
    digest = digest_of(route, call)
    known = await db.run(_claim, account, key, digest, call.now_ms)
    if known is not None:
        assert known.status is not None
        body = call.services.house.box.open(known.body or b"")
        return Response(body, known.status, media_type="application/json")
    claim = (account, key, call.now_ms)
    marking = replace(call.services, db=Marking(db, *claim))
    box = call.services.house.box
    try:
        response = await do(replace(call, services=marking))
        # Sealed, as an answer can hold a new key.
        sealed = box.seal(bytes(response.body).decode())
        await db.run(replies.keep, *claim, response.status_code, sealed)
    except BaseException:
        await db.run(_give_up, *claim, box)
        raise
    return response


def _give_up(tx: Tx, account: AccountId, key: str, since_ms: int, box: SecretsBox) -> None:
    """Let a request be tried again that changed nothing; of one that did, say so from now on."""
    if not replies.drop(tx, account, key, since_ms):
        lost = error_body(OutcomeUnknown.code, _LOST)
        status = status_of(OutcomeUnknown(_LOST))
        replies.keep(tx, account, key, since_ms, status, box.seal(lost.decode()))


def _claim(
    tx: Tx, account: AccountId, key: str, digest: bytes, now_ms: int
) -> replies.Reply | None:
    known = replies.find(tx, account, key, now_ms - KEPT_MS)
    if known is not None:
        if known.digest != digest:
            raise KeyReused(
                "This Idempotency-Key was used for another request, or with another API key. Take a"
                " new one."
            )
        if known.status is not None:
            return known
        if now_ms - known.at_ms < AT_WORK_MS:
            raise errors.Conflict("The first request of this Idempotency-Key is still at work.")
        if known.took_effect:
            raise OutcomeUnknown(_LOST)
    replies.begin(tx, account, key, digest, now_ms)
    return None
