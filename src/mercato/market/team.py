"""Teams: accounts of their own in which people act as members, each with the rights of a role.

Three roles stand in every team and are never changed; others are a team's own. Nobody gives a role
that reaches further than their own, or takes one away.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from mercato.market import errors
from mercato.market.access import GRANTABLE, Permission
from mercato.market.ids import AccountId

INVITED_FOR_MS: Final = 4 * 3_600_000
"""How long an invitation can be accepted."""
INVITED_AGAIN_MS: Final = 300_000
"""Nobody is invited again sooner."""

NAME_MAX: Final = 120
TEAMS_MAX: Final = 100
"""That one person owns."""
MEMBERS_MAX: Final = 1_000
"""Of one team, those that are invited among them."""
ROLES_MAX: Final = 100

_ROLE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


class Kind(StrEnum):
    """What kind of role it is."""

    OWNER = "owner"
    """All; there is one in a team."""
    MANAGER = "manager"
    """All but to end the team or give it away."""
    MEMBER = "member"
    """Instances and volumes, and to see what the account is; nothing else."""
    CUSTOM = "custom"
    """What the team wrote down."""


STANDING: Final = (Kind.OWNER, Kind.MANAGER, Kind.MEMBER)
"""The roles of every team, by whose names they are known."""

_MEMBER: Final[Mapping[str, Any]] = {
    Permission.INSTANCE_READ.value: {},
    Permission.INSTANCE_WRITE.value: {},
    Permission.USER_READ.value: {},
}


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a team."""

    id: int
    team_id: AccountId
    name: str
    kind: Kind
    permissions: dict[str, Any] | None
    """What a role of the team's own may; None for one that stands."""

    @property
    def rights(self) -> Mapping[str, Any] | None:
        """What its members may, as a key's permissions; None for all."""
        return rights(self.kind, self.permissions)


def rights(kind: Kind, permissions: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What the members of a role may, as a key's permissions; None for all."""
    match kind:
        case Kind.OWNER | Kind.MANAGER:
            return None
        case Kind.MEMBER:
            return _MEMBER
        case Kind.CUSTOM:
            return permissions


def told(granted: Mapping[str, Any] | None) -> dict[str, Any]:
    """Rights as a permission file has them, every category named."""
    categories = {one.value: {} for one in sorted(GRANTABLE)} if granted is None else granted
    return {"api": dict(categories)}


def checked_name(name: str) -> str:
    """A team's name.

    Raises:
        InvalidRequest: when it cannot be one.
    """
    kept = name.strip()
    if not kept or len(kept) > NAME_MAX or not kept.isprintable():
        raise errors.InvalidRequest(f"team_name has 1 to {NAME_MAX} printable characters.")
    return kept


def checked_role_name(name: str) -> str:
    """A role's name, which also stands in addresses.

    Raises:
        InvalidRequest: when it cannot be one.
        AlreadyExists: when it is that of a role that every team has.
    """
    kept = name.strip()
    if not _ROLE_NAME.fullmatch(kept) or kept.isdigit():
        raise errors.InvalidRequest(
            "A role's name has 1 to 64 letters, digits, spaces, dots, dashes and underscores, and"
            " is not a number."
        )
    if kept.lower() in STANDING:
        raise errors.AlreadyExists(f"Every team has a role {kept.lower()!r}; take another name.")
    return kept
