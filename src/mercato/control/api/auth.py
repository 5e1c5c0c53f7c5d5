"""Who asks, and may they: keys from header, query or body; permissions; instance keys."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from mercato.control.api.caller import Caller
from mercato.control.api.route import Route
from mercato.control.clock import Clock
from mercato.control.db import Database
from mercato.control.store import api_keys
from mercato.market import errors
from mercato.market.access import Permission, allows

REMEMBERED_MS: Final = 2_000
"""How long a key is believed without asking again.

A key deleted through this process is forgotten at once, through another when its poke arrives; this
bounds what a lost poke can do.
"""
REMEMBERED_MAX: Final = 10_000

UNKNOWN_KEY: Final = "Invalid user key"
"""Exactly this text makes the official client drop an expired session and try its own key."""


def new_secret() -> str:
    """A new key: 256 bits as 64 hexadecimal digits."""
    return secrets.token_hex(32)


def key_of(headers: Mapping[str, str], query: Mapping[str, str], body: Any) -> str | None:
    """The key that came with a request: Bearer header, then query, then body."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return secret.strip()
    if query.get("api_key"):
        return query["api_key"]
    given = body.get("api_key") if isinstance(body, dict) else None
    return given if isinstance(given, str) and given else None


class KeyRing:
    """Callers by key, remembered for a moment: a busy key does not cost a query each time."""

    def __init__(self, db: Database, clock: Clock) -> None:
        """Look keys up in `db`."""
        self._db = db
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[int, Caller]] = OrderedDict()
        self._forgotten = 0

    async def caller(self, secret: str) -> Caller:
        """Whose key this is.

        Raises:
            NotAuthenticated: when it is nobody's.
        """
        name = api_keys.digest(secret)
        now_ms = self._clock.now_ms()
        known = self._known.get(name)
        if known is not None and now_ms - known[0] < REMEMBERED_MS:
            return known[1]
        forgotten = self._forgotten
        owner = await self._db.run(api_keys.owner_of, secret)
        if owner is None:
            self._known.pop(name, None)
            raise errors.NotAuthenticated(UNKNOWN_KEY)
        key = owner.key
        caller = Caller(
            account=key.account_id,
            key=key.id,
            kind=key.kind,
            is_operator=owner.is_operator,
            is_host=owner.is_host,
            permissions=key.permissions,
            contract=key.contract_id,
            machine=key.machine_id,
            member=key.member_id,
            role=owner.role,
        )
        if forgotten == self._forgotten:  # else it may have changed while it was looked up
            self._known[name] = (now_ms, caller)
            self._known.move_to_end(name)
            if len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
        return caller

    def forget(self) -> None:
        """Believe nothing any more: some key has changed."""
        self._known.clear()
        self._forgotten += 1


def authorize(route: Route, caller: Caller | None, arguments: Mapping[str, Any]) -> None:
    """Let the caller use the route with these arguments, or refuse.

    Raises:
        NotAuthenticated: when the route needs a key and none came.
        NotPermitted: when the key does not reach so far.
    """
    if route.permission is Permission.PUBLIC:
        return
    if caller is None:
        raise errors.NotAuthenticated(
            "This action requires an API key: send it as `Authorization: Bearer <key>`."
        )
    if caller.kind == "machine":
        raise errors.NotPermitted("A machine's key is for its agent and does nothing else.")
    if caller.kind == "instance":
        if route.own_worker:
            return
        if not route.own_instance or arguments.get("id") != caller.contract:
            raise errors.NotPermitted(
                f"This key belongs to instance {caller.contract} and can only show, start, stop,"
                " label and destroy that instance and read its logs."
            )
        return
    if route.permission is Permission.OPERATOR:
        if not caller.is_operator or caller.permissions is not None:
            raise errors.NotPermitted("Only a full key of an operator of this market may do this.")
        return
    if not caller.may(route.permission, arguments, route.scope):
        key_may = allows(caller.permissions, route.permission, arguments, route.scope)
        whose = "Your role in this team" if key_may else "This API key"
        raise errors.NotPermitted(
            f"{whose} lacks the permission {route.permission.value!r} for this, has it for other"
            " routes alone, or one of its constraints is not met."
        )
