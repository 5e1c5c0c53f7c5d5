"""Who may do what: the permissions that a route can name and a key can carry.

The categories are those of the official API keys (`{"api": {"<category>": {...}}}`), so that a
permission file written for Vast.ai means the same here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


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


def allows(
    granted: Mapping[str, Any] | None, needed: Permission, arguments: Mapping[str, object]
) -> bool:
    """Say whether a key's permissions cover a route.

    `granted` is the `api` object of the key, None for a key with all of its account's rights.
    A category maps to `{}` for everything in it or to `{"<route>": {"constraints": {argument:
    {"eq"|"gte"|"lte": value}}}}`; a constraint on an argument that the call lacks is not met.
    """
    if needed in {Permission.PUBLIC, Permission.ANYONE} or granted is None:
        return True
    rules = granted.get(needed.value)
    if rules is None:
        return False
    if not rules:
        return True
    return any(_meets(rule, arguments) for rule in rules.values())


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
