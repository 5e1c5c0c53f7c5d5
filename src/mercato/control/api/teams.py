"""Teams: made and ended, who is in them, and what each role may.

Whoever acts in a team does so with a key of it; a key of one's own account makes teams, shows one's
invitations and accepts them. docs/decisions/0013-teams.md.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from mercato.control.api import spending
from mercato.control.api.auth import new_secret
from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.caller import Caller
from mercato.control.api.keys import ById, checked_permissions
from mercato.control.api.spending import LimitRow
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import joining, limiting, teaming
from mercato.control.flows.house import Rules
from mercato.control.flows.teaming import Actor, NewTeam
from mercato.control.store import teams
from mercato.control.store.teams import Belonging, Person
from mercato.market import errors
from mercato.market.access import Permission
from mercato.market.ids import AccountId
from mercato.market.limits import Scope
from mercato.market.money import NanoUsd, dollars, nano
from mercato.market.team import INVITED_FOR_MS, Role, told


def _actor(call: Call) -> Actor:
    """Whoever acts in a team with a key of it."""
    who = call.who
    if who.member is None:
        raise errors.NotFound(
            "This key acts for your own account and not in a team. Make a key of a team of yours:"
            " POST /api/v0/auth/apikeys/ with its team_id, or mercato team key TEAM."
        )
    return Actor(team=who.account, member=who.member, granted=who.permissions)


# --- A team ---------------------------------------------------------------------------------------


class WantedTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A team to be made."""

    team_name: str
    transfer_credit: float = 0.0
    """Dollars of one's own that it begins with."""


class MadeTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A team that was made, with its owner's first key of it, which is shown this once."""

    success: bool = True
    id: int
    team_id: int
    team_name: str
    api_key: str
    msg: str


async def create_team(call: Call, asked: WantedTeam) -> MadeTeam:
    """Make a team, as its owner; the answer has a key that acts in it."""
    if not 0 <= asked.transfer_credit <= 1e9:
        raise errors.InvalidPrice("transfer_credit is an amount of dollars, from 0.")
    if asked.transfer_credit and not call.who.may(Permission.BILLING_WRITE):
        raise errors.NotPermitted("To transfer credit a key needs the permission 'billing_write'.")
    wanted = NewTeam(
        name=asked.team_name,
        secret=new_secret(),
        granted=call.who.permissions,
        credit=NanoUsd(nano(asked.transfer_credit)),
        cause=f"team:{call.cause}",
    )
    made = await call.services.db.run(
        _create, call.who, wanted, call.now_ms, call.services.house.rules
    )
    return MadeTeam(
        id=made,
        team_id=made,
        team_name=asked.team_name.strip(),
        api_key=wanted.secret,
        msg=f"You own team {made}. Use api_key to act in it; your own key acts for yourself.",
    )


def _create(tx: Tx, who: Caller, wanted: NewTeam, now_ms: int, rules: Rules) -> AccountId:
    if wanted.credit > 0:
        limiting.require_unlimited(tx, who.account, who.scopes)
    return teaming.create(tx, who.account, wanted, now_ms, rules)


class EndedTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A team that was ended."""

    success: bool = True
    credit: float
    """Dollars that are its owner's now."""
    msg: str


async def destroy_team(call: Call, asked: Nothing) -> EndedTeam:  # noqa: ARG001 - nothing is asked
    """End the team of the key, once nothing of it is left; its credit becomes its owner's."""
    rest = await call.services.db.run(
        teaming.end, _actor(call), call.now_ms, call.services.house.rules
    )
    call.services.keys.forget()
    back = dollars(rest)
    return EndedTeam(credit=back, msg=f"The team is ended; {back:.2f} dollars are yours.")


class MyTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A team of one's own, or one into which one is invited; seconds since the epoch."""

    id: int
    team_name: str
    role: str
    since: float
    """When one joined, or was invited."""
    until: float | None = None
    """When an invitation lapses."""


class MyTeams(msgspec.Struct, frozen=True, kw_only=True):
    """Where the account is a member, and where it is invited."""

    success: bool = True
    teams: list[MyTeam]
    invitations: list[MyTeam]


async def list_teams(call: Call, asked: Nothing) -> MyTeams:  # noqa: ARG001 - nothing is asked
    """List the teams in which the account is, and its invitations; of a team's key, that team."""
    who = call.who
    mine, invited = await call.services.db.run(_belongings, who.member or who.account)
    if who.member is not None:
        mine, invited = [one for one in mine if one.team_id == who.account], []
    return MyTeams(
        teams=[_team(one) for one in mine],
        invitations=[
            _team(one, INVITED_FOR_MS)
            for one in invited
            if call.now_ms < one.at_ms + INVITED_FOR_MS
        ],
    )


def _belongings(tx: Tx, person: AccountId) -> tuple[list[Belonging], list[Belonging]]:
    return teams.of_person(tx, person), teams.invitations(tx, person)


def _team(one: Belonging, lasts_ms: int | None = None) -> MyTeam:
    return MyTeam(
        id=one.team_id,
        team_name=one.team_name,
        role=one.role.name,
        since=seconds(one.at_ms),
        until=None if lasts_ms is None else seconds(one.at_ms + lasts_ms),
    )


async def join_team(call: Call, asked: ById) -> Done:
    """Accept an invitation into a team."""
    role = await call.services.db.run(joining.join, call.account, AccountId(asked.id), call.now_ms)
    return Done(msg=f"You are {role.name} of team {asked.id}. Make a key that acts in it.")


async def leave_team(call: Call, asked: ById) -> Done:
    """Leave a team, or decline its invitation; one's keys of it are dead with it."""
    await call.services.db.run(joining.leave, call.account, AccountId(asked.id), call.now_ms)
    call.services.keys.forget()
    return Done(msg=f"You are not in team {asked.id} any more.")


# --- Its members ----------------------------------------------------------------------------------


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a team, or invited; seconds since the epoch."""

    id: int
    username: str
    email: str
    fullname: str
    roles: list[str]
    """One."""
    since: float
    """When they joined, or were invited."""
    until: float | None = None
    """When their invitation lapses."""
    limits: list[LimitRow] = []
    """What the team lets them spend."""


def _member(one: Person, lasts_ms: int | None = None, limits: Sequence[LimitRow] = ()) -> Member:
    return Member(
        id=one.account_id,
        username=one.username,
        email=one.email,
        fullname=one.fullname,
        roles=[one.role.name],
        since=seconds(one.at_ms),
        until=None if lasts_ms is None else seconds(one.at_ms + lasts_ms),
        limits=[
            each for each in limits if (each.scope, each.scope_id) == (Scope.MEMBER, one.account_id)
        ],
    )


async def list_members(call: Call, asked: Nothing) -> list[Member]:  # noqa: ARG001 - nothing is asked
    """List the members of the key's team; none when it is a key of one's own account."""
    if call.who.member is None:
        return []
    return await call.services.db.run(
        _members, call.account, call.now_ms, call.services.house.rules
    )


def _members(tx: Tx, team: AccountId, now_ms: int, rules: Rules) -> list[Member]:
    limits = spending.rows(tx, team, now_ms, rules)
    return [_member(one, limits=limits) for one in teams.members(tx, team)]


async def list_invited(call: Call, asked: Nothing) -> list[Member]:  # noqa: ARG001 - nothing is asked
    """List who is invited into the key's team and has not answered yet."""
    if call.who.member is None:
        return []
    return [
        _member(one, INVITED_FOR_MS)
        for one in await call.services.db.run(teams.invited, call.account)
        if call.now_ms < one.at_ms + INVITED_FOR_MS
    ]


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to be invited, by e-mail address, and as what."""

    email: str
    role: str


class Invited(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation that was sent."""

    success: bool = True
    member: Member
    msg: str


async def invite_member(call: Call, asked: Invitation) -> Invited:
    """Invite somebody who has an account into the key's team; it stands for four hours."""
    invited = await call.services.db.run(
        joining.invite, _actor(call), asked.email, asked.role, call.now_ms
    )
    return Invited(
        member=_member(invited, INVITED_FOR_MS),
        msg=f"{invited.email} is invited as {invited.role.name} and can accept within 4 hours.",
    )


class OtherRole(msgspec.Struct, frozen=True, kw_only=True):
    """Another role for a member, by its name or id."""

    id: int
    role: str


async def give_role(call: Call, asked: OtherRole) -> Done:
    """Give a member another role; `owner`, by the owner, gives the team away."""
    role = await call.services.db.run(
        joining.give_role, _actor(call), AccountId(asked.id), asked.role, call.now_ms
    )
    call.services.keys.forget()
    return Done(msg=f"Member {asked.id} is {role.name} now.")


class RemovedMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member who was removed."""

    success: bool = True
    status: str = "success"
    message: str
    msg: str


async def remove_member(call: Call, asked: ById) -> RemovedMember:
    """Remove a member, whose keys of the team are dead at once, or withdraw an invitation."""
    await call.services.db.run(joining.remove, _actor(call), AccountId(asked.id), call.now_ms)
    call.services.keys.forget()
    said = f"Member {asked.id} is removed; their keys of the team are out of use."
    return RemovedMember(message=said, msg=said)


# --- Its roles ------------------------------------------------------------------------------------


class ShownRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a team."""

    id: int
    name: str
    identifier: str
    """`owner`, `manager` and `member` stand in every team; others are `custom`."""
    permissions: dict[str, Any]


class NewRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role to be made; permissions as in a permission file."""

    name: str
    permissions: dict[str, Any]


class NamedRole(msgspec.Struct, frozen=True, kw_only=True):
    """One role, by its name or id."""

    role: str


class ChangedRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role, by its id or name, with another name or other permissions."""

    role: str
    name: str | None = None
    permissions: dict[str, Any] | None = None


def _shown(role: Role) -> ShownRole:
    return ShownRole(
        id=role.id, name=role.name, identifier=role.kind.value, permissions=told(role.rights)
    )


def _granted(permissions: dict[str, Any]) -> dict[str, Any]:
    granted = checked_permissions(permissions)
    assert granted is not None
    return granted


async def list_roles(call: Call, asked: Nothing) -> list[ShownRole]:  # noqa: ARG001 - nothing is asked
    """List the roles of the key's team; none when it is a key of one's own account."""
    if call.who.member is None:
        return []
    return [_shown(one) for one in await call.services.db.run(teams.roles, call.account)]


async def show_role(call: Call, asked: NamedRole) -> ShownRole:
    """Show a role of the key's team."""
    return _shown(await call.services.db.run(teaming.role_named, _actor(call).team, asked.role))


async def create_role(call: Call, asked: NewRole) -> ShownRole:
    """Give the key's team a role, which reaches no further than one's own."""
    granted = _granted(asked.permissions)
    return _shown(
        await call.services.db.run(
            teaming.create_role, _actor(call), asked.name, granted, call.now_ms
        )
    )


async def change_role(call: Call, asked: ChangedRole) -> ShownRole:
    """Change a role of the team's own; the keys of who has it reach so far from now on."""
    granted = None if asked.permissions is None else _granted(asked.permissions)
    role = await call.services.db.run(
        teaming.change_role, _actor(call), asked.role, asked.name, granted
    )
    call.services.keys.forget()
    return _shown(role)


async def remove_role(call: Call, asked: NamedRole) -> Done:
    """Take away a role of the team's own that nobody has."""
    await call.services.db.run(teaming.remove_role, _actor(call), asked.role)
    return Done(msg=f"The role {asked.role} is removed.")
