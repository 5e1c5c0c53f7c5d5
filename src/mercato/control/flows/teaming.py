"""Teams: made, ended, and the roles of their own.

A team is an account like any other, so everything that is rented, hosted or paid goes its usual
way. What is told here is who may act in it. Whoever changes that stands in the team's queue, and
what they may is read there anew: a role that was taken a moment ago counts no more.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import metering, paying, settling
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import (
    accounts,
    api_keys,
    burns,
    contracts,
    endpoints,
    events,
    machines,
    payments,
    purses,
    standing_orders,
    teams,
    transfers,
)
from mercato.control.store.events import Event
from mercato.market import errors
from mercato.market.access import within
from mercato.market.credit import Thresholds
from mercato.market.ids import AccountId, Cause
from mercato.market.ledger import Transfer, credit_of, earnings_of
from mercato.market.money import NanoUsd
from mercato.market.team import ROLES_MAX, TEAMS_MAX, Kind, Role, checked_name, checked_role_name

FIRST_KEY = "first key"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a team who acts in it, and what the key that was used may."""

    team: AccountId
    member: AccountId
    granted: Mapping[str, Any] | None


class NewTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A team that somebody wants."""

    name: str
    secret: str
    """Of its owner's first key."""
    granted: Mapping[str, Any] | None
    """What that key may."""
    credit: NanoUsd
    cause: str
    """Names the gift of credit."""


# --- A team ---------------------------------------------------------------------------------------


def create(
    tx: Tx, owner: AccountId, wanted: NewTeam, now_ms: int, rules: Rules = STANDARD
) -> AccountId:
    """Make a team of somebody's, with credit of theirs.

    Raises:
        NotPermitted: within a team.
        InvalidRequest: when the name cannot be.
        AlreadyExists: when they own one of that name.
        TooMany: when they own too many.
        InsufficientCredit: when what they run needs the credit.
    """
    name = checked_name(wanted.name)
    tx.queue(f"account:{owner}")
    founder = accounts.get(tx, owner)
    if founder is None or founder.is_team:
        raise errors.NotPermitted("There is no team within a team: use a key of your own account.")
    owned = [one for one in teams.of_person(tx, owner) if one.role.kind is Kind.OWNER]
    if any(one.team_name == name for one in owned):
        raise errors.AlreadyExists(f"You own a team {name!r} already; take another name.")
    if len(owned) >= TEAMS_MAX:
        raise errors.TooMany(f"One account owns at most {TEAMS_MAX} teams.")
    team = accounts.create_team(tx, name, now_ms)
    tx.queue(f"account:{team}")
    teams.add(tx, team, owner, teams.begin(tx, team, now_ms)[Kind.OWNER], now_ms)
    api_keys.create(
        tx,
        account=team,
        kind="account",
        name=FIRST_KEY,
        secret=wanted.secret,
        permissions=None if wanted.granted is None else dict(wanted.granted),
        member=owner,
        now_ms=now_ms,
    )
    tell(tx, team, "team_created", f"{founder.email} made the team {name}.", now_ms)
    if wanted.credit > 0:
        paying.transfer_credit(tx, owner, team, wanted.credit, wanted.cause, now_ms, rules)
    return team


def end(tx: Tx, actor: Actor, now_ms: int, rules: Rules = STANDARD) -> NanoUsd:
    """End a team; its credit, and what it earned, become its owner's credit: how much that is.

    Raises:
        NotPermitted: when somebody else than its owner asks.
        Conflict: when something of it still runs or waits, which is named.
    """
    if acting(tx, actor).kind is not Kind.OWNER:
        raise errors.NotPermitted("Only the owner of a team may end it.")
    team, owner = actor.team, actor.member
    tx.queue(f"account:{owner}")
    _require_nothing_left(tx, team)
    earned = NanoUsd(purses.balance(tx, earnings_of(team)))
    if earned > 0:
        settling.use_earnings(tx, team, earned, f"team:{team}", now_ms, rules)
    rest = NanoUsd(purses.balance(tx, credit_of(team)))
    if rest > 0:
        transfers.move(
            tx,
            Transfer(
                cause=Cause(f"team:{team}"),
                debit=credit_of(team),
                credit=credit_of(owner),
                amount=rest,
                kind="transfer",
                account_id=team,
                contract_id=None,
                at_ms=now_ms,
                about={"from": team, "to": owner},
            ),
        )
    found = accounts.get(tx, team)
    assert found is not None, team
    for one in teams.members(tx, team):
        api_keys.delete_of_member(tx, team, one.account_id, now_ms)
        tell(tx, one.account_id, "team_ended", f"The team {found.username} is ended.", now_ms)
    teams.end(tx, team)
    burns.set_thresholds(tx, team, Thresholds())
    for account in (team, owner):
        metering.forecast(tx, account, now_ms, rules)
    accounts.delete(tx, team, now_ms)
    tx.poke("keys")
    return rest


def _require_nothing_left(tx: Tx, team: AccountId) -> None:
    orders = standing_orders.of_account(tx, team)
    left = {
        "instances or volumes": len(contracts.live_of(tx, team)),
        "machines": len(machines.of_host(tx, team)),
        "endpoints": len(endpoints.of_account(tx, team)),
        "standing orders": sum(one.state == "resting" for one in orders),
        "payments under way": payments.under_way(tx, team),
    }
    named = [f"{count} {what}" for what, count in left.items() if count]
    if named:
        raise errors.Conflict(f"The team still has {', '.join(named)}: end them first.")


def acting(tx: Tx, actor: Actor) -> Role:
    """The role of whoever acts, as it is now, with the team's queue held.

    Raises:
        NotPermitted: when they are no member any more.
    """
    tx.queue(f"account:{actor.team}")
    role = teams.role_of(tx, actor.team, actor.member)
    if role is None:
        raise errors.NotPermitted("You are not a member of this team any more.")
    return role


def require_reach(actor: Actor, mine: Role, role: Role) -> None:
    """See that somebody may give a role, or take it from somebody.

    Raises:
        NotPermitted: when it reaches further than their own, or than the key that they use.
    """
    owns = role.kind is not Kind.OWNER or mine.kind is Kind.OWNER
    if not (owns and within(role.rights, mine.rights) and within(role.rights, actor.granted)):
        raise errors.NotPermitted(
            f"The role {role.name!r} reaches further than yours ({mine.name!r}), or than the key"
            " that you use: nobody gives, changes or takes away more than they have."
        )


def tell(tx: Tx, account: AccountId, kind: str, message: str, now_ms: int) -> None:
    """Tell a team or a person what happened."""
    events.record(tx, Event(account_id=account, kind=kind, message=message, at_ms=now_ms))


# --- Roles ----------------------------------------------------------------------------------------


def role_named(tx: Tx, team: AccountId, name: str) -> Role:
    """A role of a team, by its name or its id.

    Raises:
        NotFound: when the team has none such.
    """
    for role in teams.roles(tx, team):
        if name in {role.name, str(role.id)}:
            return role
    raise errors.NotFound(f"The team has no role {name[:80]!r}.")


def create_role(tx: Tx, actor: Actor, name: str, permissions: dict[str, Any], now_ms: int) -> Role:
    """Give a team a role of its own.

    Raises:
        NotPermitted: when it would reach further than that of whoever makes it.
        AlreadyExists: when there is one of that name.
        TooMany: when the team has too many.
        InvalidRequest: when the name cannot be.
    """
    mine = acting(tx, actor)
    kept = checked_role_name(name)
    _require_free(tx, actor.team, kept)
    if len(teams.roles(tx, actor.team)) >= ROLES_MAX:
        raise errors.TooMany(f"A team has at most {ROLES_MAX} roles.")
    role = Role(id=0, team_id=actor.team, name=kept, kind=Kind.CUSTOM, permissions=permissions)
    require_reach(actor, mine, role)
    number = teams.create_role(tx, actor.team, kept, Kind.CUSTOM, permissions, now_ms)
    return msgspec.structs.replace(role, id=number)


def change_role(
    tx: Tx, actor: Actor, name: str, new_name: str | None, permissions: dict[str, Any] | None
) -> Role:
    """Give a role another name or other permissions; its members' keys reach so far from now on.

    Raises:
        NotFound: when there is none such.
        Conflict: when it is one that every team has.
        NotPermitted: when it reaches, or would reach, further than that of whoever changes it.
        AlreadyExists: when another has that name.
        InvalidRequest: when the name cannot be.
    """
    mine, before = _own_role(tx, actor, name)
    kept = before.name if new_name is None else checked_role_name(new_name)
    if kept != before.name:
        _require_free(tx, actor.team, kept)
    granted = before.permissions if permissions is None else permissions
    after = msgspec.structs.replace(before, name=kept, permissions=granted)
    require_reach(actor, mine, after)
    teams.change_role(tx, after)
    tx.poke("keys")
    return after


def remove_role(tx: Tx, actor: Actor, name: str) -> None:
    """Take away a role that nobody has.

    Raises:
        NotFound: when there is none such.
        Conflict: when it is one that every team has, or somebody has it or is invited into it.
        NotPermitted: when it reaches further than that of whoever removes it.
    """
    _, role = _own_role(tx, actor, name)
    if teams.has_role(tx, role.id):
        raise errors.Conflict(
            f"Somebody has the role {role.name!r} or is invited into it: give them another first."
        )
    teams.delete_role(tx, role.id)


def _own_role(tx: Tx, actor: Actor, name: str) -> tuple[Role, Role]:
    """The role of whoever acts, and the one of the team's own that they name."""
    mine = acting(tx, actor)
    role = role_named(tx, actor.team, name)
    if role.kind is not Kind.CUSTOM:
        raise errors.Conflict(f"Every team has the role {role.name!r}; it stays as it is.")
    require_reach(actor, mine, role)
    return mine, role


def _require_free(tx: Tx, team: AccountId, name: str) -> None:
    if any(role.name == name for role in teams.roles(tx, team)):
        raise errors.AlreadyExists(f"The team has a role {name!r} already; take another name.")
