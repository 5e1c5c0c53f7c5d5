"""What the audit log keeps of a request, and what it must never keep."""

from collections.abc import Mapping
from typing import Any, Final

from mercato.control.api.call import Call
from mercato.control.api.route import Route
from mercato.control.store import audit, ip_addresses

BLANK: Final = "*****"

SECRET: Final = frozenset(
    {
        "api_key",
        "code",
        "docker_login_pass",
        "env",
        "extra",
        "image_login",
        "key_params",
        "launch_args",
        "password",
        "backup_code",
        "payout_to",
        "secret",
        "token",
        "value",
        "onstart",
        "command",
        "args",
        "args_str",
    }
)
"""Arguments that hold, or can hold, what must not be read again."""

TEXT_MAX: Final = 256
"""Longer texts are cut: the log says what was done and is no copy of it."""

ADDRESSES_REMEMBERED_MAX: Final = 10_000


async def record(call: Call, route: Route) -> None:
    """Leave a line about a change that was made."""
    who = call.who
    deed = audit.Deed(
        ip_address=call.ip,
        api_key_id=who.key,
        method=route.method,
        route=route.path,
        args=blanked(call.arguments),
        at_ms=call.now_ms,
    )
    await call.services.db.run(audit.record, who.account, deed)


def blanked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with every secret blanked, at any depth."""
    return {
        name: BLANK if name.lower() in SECRET and value is not None else _short(value)
        for name, value in arguments.items()
    }


def _short(value: Any) -> Any:
    match value:
        case str():
            return value if len(value) <= TEXT_MAX else f"{value[:TEXT_MAX]}…"
        case dict():
            return blanked(value)
        case list():
            return [_short(item) for item in value[:64]]
        case _:
            return value


async def saw(call: Call) -> None:
    """Remember the address that an account was used from, once for each."""
    pair = (call.who.account, call.ip)
    seen = call.services.addresses_seen
    if pair in seen:
        return
    await call.services.db.run(ip_addresses.saw, *pair, call.now_ms)
    if len(seen) >= ADDRESSES_REMEMBERED_MAX:
        seen.clear()
    seen.add(pair)
