"""Teams: their roles, members and invitations. A team itself is an account."""

from typing import Any, Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.ids import AccountId
from mercato.market.team import STANDING, Kind, Role

_ROLE: Final[LiteralString] = "r.id, r.team_id, r.name, r.kind, r.permissions"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a team, or invited into it."""

    account_id: AccountId
    email: str
    username: str
    fullname: str
    role: Role
    at_ms: int
    """When they joined or were invited."""


class Belonging(msgspec.Struct, frozen=True, kw_only=True):
    """A team of somebody's, or one into which they are invited."""

    team_id: AccountId
    team_name: str
    role: Role
    at_ms: int


# --- Roles ----------------------------------------------------------------------------------------


def begin(tx: Tx, team: AccountId, now_ms: int) -> dict[Kind, int]:
    """Write the roles that every team has; their ids."""
    return {kind: create_role(tx, team, kind.value, kind, None, now_ms) for kind in STANDING}


def create_role(
    tx: Tx,
    team: AccountId,
    name: str,
    kind: Kind,
    permissions: dict[str, Any] | None,
    now_ms: int,
) -> int:
    """Write a role; its id. The name must be free."""
    row = tx.one(
        "insert into team_roles (team_id, name, kind, permissions, created_at_ms)"
        " values (%s, %s, %s, %s, %s) returning id",
        team,
        name,
        kind.value,
        None if permissions is None else Jsonb(permissions),
        now_ms,
    )
    assert row is not None
    return int(row["id"])


def roles(tx: Tx, team: AccountId) -> list[Role]:
    """Every role of a team, the oldest first."""
    rows = tx.all(f"select {_ROLE} from team_roles r where r.team_id = %s order by r.id", team)  # noqa: S608 - the columns are fixed above
    return [msgspec.convert(row, Role) for row in rows]


def change_role(tx: Tx, role: Role) -> None:
    """Write another name or other permissions."""
    tx.run(
        "update team_roles set name = %s, permissions = %s where id = %s",
        role.name,
        Jsonb(role.permissions),
        role.id,
    )


def delete_role(tx: Tx, role: int) -> None:
    """Forget a role that nobody has."""
    tx.run("delete from team_roles where id = %s", role)


def has_role(tx: Tx, role: int) -> bool:
    """Whether anybody has a role, or is invited into it."""
    query = (
        "select from team_members where role_id = %s"
        " union all select from team_invites where role_id = %s limit 1"
    )
    return tx.one(query, role, role) is not None


# --- Members --------------------------------------------------------------------------------------


def role_of(tx: Tx, team: AccountId, member: AccountId) -> Role | None:
    """The role that somebody has in a team; None when they are no member."""
    row = tx.one(
        f"select {_ROLE} from team_members m join team_roles r on r.id = m.role_id"  # noqa: S608 - the columns are fixed above
        " where m.team_id = %s and m.account_id = %s",
        team,
        member,
    )
    return msgspec.convert(row, Role) if row else None


def members(tx: Tx, team: AccountId) -> list[Person]:
    """The members of a team, who joined first before the others."""
    return _people(tx, team, "team_members", "joined_at_ms")


def add(tx: Tx, team: AccountId, member: AccountId, role: int, now_ms: int) -> None:
    """Write that somebody is a member from now on."""
    tx.run(
        "insert into team_members (team_id, account_id, role_id, joined_at_ms)"
        " values (%s, %s, %s, %s)",
        team,
        member,
        role,
        now_ms,
    )


def give_role(tx: Tx, team: AccountId, member: AccountId, role: int) -> None:
    """Write another role for a member."""
    tx.run(
        "update team_members set role_id = %s where team_id = %s and account_id = %s",
        role,
        team,
        member,
    )


def remove(tx: Tx, team: AccountId, member: AccountId) -> None:
    """Write that somebody is a member no longer."""
    tx.run("delete from team_members where team_id = %s and account_id = %s", team, member)


def of_person(tx: Tx, person: AccountId) -> list[Belonging]:
    """The teams in which somebody is a member, the oldest first."""
    return _teams(tx, person, "team_members", "joined_at_ms")


# --- Invitations ----------------------------------------------------------------------------------


def invited(tx: Tx, team: AccountId) -> list[Person]:
    """Who is invited into a team, whether the invitation still stands or not."""
    return _people(tx, team, "team_invites", "invited_at_ms")


def invitations(tx: Tx, person: AccountId) -> list[Belonging]:
    """The teams into which somebody is invited, whether the invitation still stands or not."""
    return _teams(tx, person, "team_invites", "invited_at_ms")


def invite(tx: Tx, team: AccountId, person: AccountId, role: int, now_ms: int) -> None:
    """Write an invitation, in the place of an older one."""
    tx.run(
        "insert into team_invites (team_id, account_id, role_id, invited_at_ms)"
        " values (%s, %s, %s, %s) on conflict (team_id, account_id) do update"
        " set role_id = excluded.role_id, invited_at_ms = excluded.invited_at_ms",
        team,
        person,
        role,
        now_ms,
    )


def withdraw(tx: Tx, team: AccountId, person: AccountId) -> None:
    """Forget an invitation."""
    tx.run("delete from team_invites where team_id = %s and account_id = %s", team, person)


def end(tx: Tx, team: AccountId) -> None:
    """Forget a team's members, invitations and roles."""
    for table in ("team_members", "team_invites", "team_roles"):
        tx.run(f"delete from {table} where team_id = %s", team)  # noqa: S608 - the names are fixed above


def _people(tx: Tx, team: AccountId, table: LiteralString, at: LiteralString) -> list[Person]:
    rows = tx.all(
        f"select a.id as account_id, a.email, a.username, a.fullname, {_ROLE}, m.{at} as at_ms"  # noqa: S608 - no word comes from outside
        f" from {table} m join accounts a on a.id = m.account_id"
        f" join team_roles r on r.id = m.role_id where m.team_id = %s order by m.{at}, a.id",
        team,
    )
    return [msgspec.convert(row | {"role": row}, Person) for row in rows]


def _teams(tx: Tx, person: AccountId, table: LiteralString, at: LiteralString) -> list[Belonging]:
    rows = tx.all(
        f"select a.username as team_name, {_ROLE}, m.{at} as at_ms from {table} m"  # noqa: S608 - no word comes from outside
        " join accounts a on a.id = m.team_id join team_roles r on r.id = m.role_id"
        f" where m.account_id = %s order by m.{at}, m.team_id",
        person,
    )
    return [msgspec.convert(row | {"role": row}, Belonging) for row in rows]
