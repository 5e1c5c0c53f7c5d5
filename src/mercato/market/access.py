"""Who may do what: the permissions that a route can name and a key can carry.

The categories are those of the official API keys (`{"api": {"<category>": {...}}}`), so that a
permission file written for Vast.ai means the same here.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


class Permission(StrEnum):
    """What a route needs. `PUBLIC` needs nothing, `ANYONE` a valid key of whatever rights."""

    PUBLIC = "public"
    ANYONE = "anyone"
    INSTANCE_READ = "instance_read"
    INSTANCE_WRITE = "instance_write"
    USER_READ = "user_read"
    USER_WRITE = "user_write"
    BILLING_READ = "billing_read"
    BILLING_WRITE = "billing_write"
    MACHINE_READ = "machine_read"
    MACHINE_WRITE = "machine_write"
    TEAM_READ = "team_read"
    TEAM_WRITE = "team_write"
    MISC = "misc"
    OPERATOR = "operator"
    MACHINE = "machine"
    """A machine's own key: its agent."""


GRANTABLE = frozenset(Permission) - {
    Permission.PUBLIC,
    Permission.ANYONE,
    Permission.OPERATOR,
    Permission.MACHINE,
}
"""What an account can give to a key that it makes."""


SCOPES: Final[Mapping[str, Permission]] = MappingProxyType(
    {
        "api.instance.show": Permission.INSTANCE_READ,
        "api.instance.request_logs": Permission.INSTANCE_READ,
        "api.instance.balance": Permission.INSTANCE_READ,
        "api.instance.show_ssh": Permission.INSTANCE_READ,
        "api.instance.create": Permission.INSTANCE_WRITE,
        "api.instance.manage": Permission.INSTANCE_WRITE,
        "api.instance.destroy": Permission.INSTANCE_WRITE,
        "api.instance.reboot": Permission.INSTANCE_WRITE,
        "api.instance.recycle": Permission.INSTANCE_WRITE,
        "api.instance.bid_price": Permission.INSTANCE_WRITE,
        "api.instance.prepay": Permission.INSTANCE_WRITE,
        "api.instance.command": Permission.INSTANCE_WRITE,
        "api.instance.update_template": Permission.INSTANCE_WRITE,
        "api.instance.attach_ssh": Permission.INSTANCE_WRITE,
        "api.instance.detach_ssh": Permission.INSTANCE_WRITE,
    }
)
"""The routes that a rule can name, each with its category: the calls on one instance.

Of the official names only `api.instance.request_logs` is published. The others follow it: the word
of the path, or where there is none that of the official client.
"""


def allows(
    granted: Mapping[str, Any] | None,
    needed: Permission,
    arguments: Mapping[str, object],
    scope: str | None = None,
) -> bool:
    """Say whether a key's permissions cover a route.

    `granted` is the `api` object of the key, None for a key with all of its account's rights.
    A category maps to `{}` for everything in it or to `{"<scope>": {"constraints": {argument:
    {"eq"|"gte"|"lte": value}}}}` for those routes alone; a constraint on an argument that the call
    lacks is not met. `scope` is the route's own name; one without is only in the whole category.
    """
    if needed in {Permission.PUBLIC, Permission.ANYONE} or granted is None:
        return True
    rules = granted.get(needed.value)
    if rules is None:
        return False
    if not rules:
        return True
    return scope in rules and _meets(rules[scope], arguments)


def within(granted: Mapping[str, Any] | None, held: Mapping[str, Any] | None) -> bool:
    """Say whether some rights reach no further than others; None stands for all."""
    if held is None:
        return True
    return granted is not None and all(
        category in held and (not held[category] or held[category] == rules)
        for category, rules in granted.items()
    )


def _meets(rule: Mapping[str, Any], arguments: Mapping[str, object]) -> bool:
    constraints: Mapping[str, Mapping[str, Any]] = rule.get("constraints") or {}
    return all(_holds(arguments.get(name), bound) for name, bound in constraints.items())


def _holds(value: object, bound: Mapping[str, Any]) -> bool:
    if not isinstance(value, int | float | str):
        return False
    for operator, limit in bound.items():
        match operator:
            case "eq":
                if value != limit:
                    return False
            case "gte" | "lte":
                if not isinstance(value, int | float) or not isinstance(limit, int | float):
                    return False
                # Asked so that what cannot be compared (NaN) does not pass.
                if not (value >= limit if operator == "gte" else value <= limit):
                    return False
            case _:
                return False
    return True
