"""Who is in a team: invited, joined, given another role, gone.

A member's keys live and die with the membership, and reach as far as the role does at the moment of
each request (api_keys.owner_of), so nothing here writes what a key may.
"""

from mercato.control.db import Tx
from mercato.control.flows.teaming import Actor, acting, require_reach, role_named, tell
from mercato.control.store import accounts, api_keys, teams
from mercato.control.store.accounts import Account
from mercato.control.store.teams import Person
from mercato.market import errors
from mercato.market.ids import AccountId
from mercato.market.team import INVITED_AGAIN_MS, INVITED_FOR_MS, MEMBERS_MAX, Kind, Role

# --- By those in it -------------------------------------------------------------------------------


def invite(tx: Tx, actor: Actor, email: str, role_name: str, now_ms: int) -> Person:
    """Invite somebody who has an account; again, later, renews it.

    Raises:
        NotFound: when nobody has that address, or the team has no such role.
        AlreadyExists: when they are a member.
        Conflict: when they are to be its owner.
        NotPermitted: when the role reaches further than that of whoever invites.
        TooMany: when they were invited a moment ago, or the team is full.
    """
    mine = acting(tx, actor)
    role = role_named(tx, actor.team, role_name)
    if role.kind is Kind.OWNER:
        raise errors.Conflict(
            "A team has one owner. Invite them as something else; its owner can then give it away."
        )
    require_reach(actor, mine, role)
    person = accounts.find(tx, email)
    if person is None or person.is_team:
        raise errors.NotFound(
            f"Nobody here has the address {email[:80]!r}: they need an account of this market."
        )
    if teams.role_of(tx, actor.team, person.id) is not None:
        raise errors.AlreadyExists(f"{person.email} is a member already.")
    invited = teams.invited(tx, actor.team)
    if any(
        one.account_id == person.id and now_ms < one.at_ms + INVITED_AGAIN_MS for one in invited
    ):
        raise errors.TooMany(
            f"{person.email} was invited a moment ago; try again in {INVITED_AGAIN_MS // 1_000} s."
        )
    standing = sum(now_ms < one.at_ms + INVITED_FOR_MS for one in invited)
    if len(teams.members(tx, actor.team)) + standing >= MEMBERS_MAX:
        raise errors.TooMany(f"A team has at most {MEMBERS_MAX} members.")
    teams.invite(tx, actor.team, person.id, role.id, now_ms)
    name = _team(tx, actor.team).username
    tell(
        tx,
        person.id,
        "team_invited",
        f"The team {name} ({actor.team}) invites you as {role.name}. Accept within"
        f" {INVITED_FOR_MS // 3_600_000} hours: mercato team join {actor.team}",
        now_ms,
    )
    return Person(
        account_id=person.id,
        email=person.email,
        username=person.username,
        fullname=person.fullname,
        role=role,
        at_ms=now_ms,
    )


def give_role(tx: Tx, actor: Actor, member: AccountId, role_name: str, now_ms: int) -> Role:
    """Give a member another role; that of the owner makes the owner who gives it a manager.

    Raises:
        NotFound: when there is no such member or role.
        Conflict: when it is the owner's that would be taken.
        NotPermitted: when either role reaches further than that of whoever gives it.
    """
    mine = acting(tx, actor)
    role = role_named(tx, actor.team, role_name)
    before = _role_of(tx, actor.team, member)
    if role.id == before.id:
        return role
    if before.kind is Kind.OWNER:
        raise errors.Conflict("The owner stays until they give the team to another member.")
    for one in (before, role):
        require_reach(actor, mine, one)
    teams.give_role(tx, actor.team, member, role.id)
    if role.kind is Kind.OWNER:
        manager = role_named(tx, actor.team, Kind.MANAGER.value)
        teams.give_role(tx, actor.team, actor.member, manager.id)
    name = _team(tx, actor.team).username
    tell(tx, member, "team_role_changed", f"You are {role.name} of the team {name} now.", now_ms)
    tx.poke("keys")
    return role


def remove(tx: Tx, actor: Actor, member: AccountId, now_ms: int) -> None:
    """Have somebody be a member, or invited, no longer; their keys are dead with it.

    Raises:
        NotFound: when there is no such member.
        Conflict: when it is the owner.
        NotPermitted: when their role reaches further than that of whoever removes them.
    """
    mine = acting(tx, actor)
    role = teams.role_of(tx, actor.team, member)
    if role is None:
        for one in teams.invited(tx, actor.team):
            if one.account_id == member:
                require_reach(actor, mine, one.role)
                teams.withdraw(tx, actor.team, member)
                return
        raise _no_member(member)
    require_reach(actor, mine, role)
    _end(tx, actor.team, member, role, now_ms)
    name = _team(tx, actor.team).username
    tell(tx, member, "team_removed", f"You are not a member of the team {name} any more.", now_ms)


# --- By oneself -----------------------------------------------------------------------------------


def join(tx: Tx, person: AccountId, team: AccountId, now_ms: int) -> Role:
    """Accept an invitation.

    Raises:
        NotFound: when there is none, or it came too long ago.
    """
    tx.queue(f"account:{team}")
    for one in teams.invitations(tx, person):
        if one.team_id == team and now_ms < one.at_ms + INVITED_FOR_MS:
            teams.withdraw(tx, team, person)
            teams.add(tx, team, person, one.role.id, now_ms)
            who = accounts.get(tx, person)
            assert who is not None, person
            tell(tx, team, "team_joined", f"{who.email} joined as {one.role.name}.", now_ms)
            return one.role
    raise errors.NotFound(f"You have no invitation into team {team}, or it has lapsed.")


def leave(tx: Tx, person: AccountId, team: AccountId, now_ms: int) -> None:
    """Leave a team, or decline its invitation.

    Raises:
        NotFound: when one is neither a member nor invited.
        Conflict: when one is its owner.
    """
    tx.queue(f"account:{team}")
    role = teams.role_of(tx, team, person)
    if role is not None:
        _end(tx, team, person, role, now_ms)
        return
    if all(one.team_id != team for one in teams.invitations(tx, person)):
        raise errors.NotFound(f"You are no member of a team {team}, and not invited.")
    teams.withdraw(tx, team, person)


def _end(tx: Tx, team: AccountId, member: AccountId, role: Role, now_ms: int) -> None:
    if role.kind is Kind.OWNER:
        raise errors.Conflict(
            "The owner cannot go: give the team to another member first, or end it."
        )
    teams.remove(tx, team, member)
    api_keys.delete_of_member(tx, team, member, now_ms)
    who = accounts.get(tx, member)
    gone = who.email if who is not None else f"account {member}"
    tell(tx, team, "team_left", f"{gone} is not a member any more.", now_ms)
    tx.poke("keys")


def _team(tx: Tx, team: AccountId) -> Account:
    found = accounts.get(tx, team)
    assert found is not None, team
    return found


def _role_of(tx: Tx, team: AccountId, member: AccountId) -> Role:
    role = teams.role_of(tx, team, member)
    if role is None:
        raise _no_member(member)
    return role


def _no_member(member: AccountId) -> errors.NotFound:
    return errors.NotFound(f"The team has no member {member}.")
