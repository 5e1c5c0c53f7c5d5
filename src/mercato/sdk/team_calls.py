"""The calls of the public API about teams, one function each.

A key of one's own account makes teams, shows and accepts invitations and makes keys of a team; the
other calls are made with a key of the team.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from mercato.sdk.call import Call, many, one
from mercato.sdk.money_calls import said
from mercato.sdk.shapes import ApiKey, Limit


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A team of one's own, or one into which one is invited; seconds since the epoch."""

    id: int
    team_name: str = ""
    role: str = ""
    since: float = 0
    until: float | None = None
    """When an invitation lapses."""


class Teams(msgspec.Struct, frozen=True, kw_only=True):
    """Where the account is a member, and where it is invited."""

    teams: list[Team] = []
    invitations: list[Team] = []


class MadeTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A team that was made, and its owner's key of it, shown this once."""

    team_id: int
    team_name: str = ""
    api_key: str = ""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a team, or invited; seconds since the epoch."""

    id: int
    email: str = ""
    username: str = ""
    fullname: str = ""
    roles: list[str] = []
    since: float = 0
    until: float | None = None
    """When their invitation lapses; None for a member."""
    limits: list[Limit] = []
    """What the team lets them spend."""


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a team."""

    id: int
    name: str = ""
    identifier: str = ""
    """`owner`, `manager` and `member` stand in every team; others are `custom`."""
    permissions: dict[str, Any] = {}


class EndedTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A team that was ended."""

    credit: float = 0
    """Dollars that are its owner's now."""


def teams() -> Call[Teams]:
    """The teams in which the account is a member, and its invitations."""
    return Call("GET", "/teams/", one(Teams))


def create_team(name: str, *, credit: float = 0.0) -> Call[MadeTeam]:
    """Make a team with `credit` dollars of one's own; the answer has a key of it."""
    body = {"team_name": name, "transfer_credit": credit}
    return Call("POST", "/team/", one(MadeTeam), body=body, repeatable=False)


def end_team() -> Call[EndedTeam]:
    """End the key's team, once nothing of it is left; its credit becomes its owner's."""
    return Call("DELETE", "/team/", one(EndedTeam), body={}, repeatable=False)


def join_team(team: int) -> Call[str]:
    """Accept an invitation."""
    return Call("POST", f"/teams/{team}/join/", said, body={}, repeatable=False)


def leave_team(team: int) -> Call[str]:
    """Leave a team, or decline its invitation."""
    return Call("DELETE", f"/teams/{team}/", said, body={})


def create_team_key(
    team: int, name: str = "", permissions: Mapping[str, Any] | None = None
) -> Call[ApiKey]:
    """Make a key that acts in a team as far as one's role reaches; it is shown this once."""
    body: dict[str, Any] = {"name": name, "team_id": team}
    if permissions is not None:
        body["permissions"] = permissions
    return Call("POST", "/auth/apikeys/", one(ApiKey), body=body, repeatable=False)


def members() -> Call[list[Member]]:
    """The members of the key's team, and what it lets each spend."""
    return Call("GET", "/team/members/", many(Member))


def invited() -> Call[list[Member]]:
    """Who is invited into the key's team and has not answered yet."""
    return Call("GET", "/team/invite/", many(Member))


def invite(email: str, role: str = "member") -> Call[str]:
    """Invite somebody who has an account; it stands for four hours."""
    body = {"email": email, "role": role}
    return Call("POST", "/team/invite/", said, body=body, repeatable=False)


def give_role(member: int, role: str) -> Call[str]:
    """Give a member another role; `owner` gives the team away."""
    return Call("PUT", f"/team/members/{member}/", said, body={"role": role})


def remove_member(member: int) -> Call[str]:
    """Remove a member, whose keys of the team are dead at once, or withdraw an invitation."""
    return Call("DELETE", f"/team/members/{member}/", said, body={})


def roles() -> Call[list[Role]]:
    """The roles of the key's team."""
    return Call("GET", "/team/roles-full/", many(Role))


def create_role(name: str, permissions: Mapping[str, Any]) -> Call[Role]:
    """Give the key's team a role: a permission file such as `{"api": {"instance_read": {}}}`."""
    body = {"name": name, "permissions": permissions}
    return Call("POST", "/team/roles/", one(Role), body=body, repeatable=False)


def change_role(
    role: int, *, name: str | None = None, permissions: Mapping[str, Any] | None = None
) -> Call[Role]:
    """Give a role of the team's own another name or other permissions."""
    given = {"name": name, "permissions": permissions}
    body = {key: value for key, value in given.items() if value is not None}
    return Call("PUT", f"/team/roles/{role}/", one(Role), body=body)


def remove_role(role: int) -> Call[str]:
    """Take away a role of the team's own that nobody has."""
    return Call("DELETE", f"/team/roles/{role}/", said, body={})
