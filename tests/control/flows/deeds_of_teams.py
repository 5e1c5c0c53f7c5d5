"""The verbs of teams, for deeds.py's table."""

from typing import Any, Final

from mercato.control.db import Tx
from mercato.control.flows import joining, paying, teaming
from mercato.control.flows.teaming import Actor, NewTeam
from mercato.control.store import api_keys, transfers
from mercato.market.ids import AccountId, Cause
from mercato.market.ledger import FUNDING, Transfer, earnings_of
from mercato.market.money import NanoUsd, nano
from tests.control.flows.deeds import NOTHING, NOW, REFUSED, Deed, Table
from tests.control.market import T0, Market

CASES: Final = Table()
of = CASES.of

READER: Final[dict[str, Any]] = {"instance_read": {}}


def wanted(name: str = "ours", dollars: int = 10) -> NewTeam:
    """A team with some credit."""
    return NewTeam(
        name=name,
        secret=f"key of {name}",
        granted=None,
        credit=NanoUsd(nano(dollars)),
        cause=f"team {name}",
    )


def founded(market: Market) -> Actor:
    """The renter's team, and the renter in it."""
    team = market.db.run_now(teaming.create, market.renter, wanted(), T0)
    return Actor(team=team, member=market.renter, granted=None)


def joined(market: Market, actor: Actor, name: str = "other", role: str = "member") -> AccountId:
    """Somebody who has joined a team and has a key in it."""
    other = market.account(name, "0")
    market.db.run_now(joining.invite, actor, f"{name}@example.org", role, T0)
    market.db.run_now(joining.join, other, actor.team, T0)

    def key(tx: Tx) -> None:
        api_keys.create(
            tx,
            account=actor.team,
            member=other,
            kind="account",
            name="mine",
            secret=f"key of {name}",
            now_ms=T0,
        )

    market.db.run_now(key)
    return other


def with_role(market: Market, actor: Actor) -> None:
    """Give the team a role of its own."""
    market.db.run_now(teaming.create_role, actor, "reader", READER, T0)


@of(teaming.create, REFUSED)
def create_a_team(market: Market) -> Deed:
    return lambda tx: teaming.create(tx, market.renter, wanted(), NOW)


@of(teaming.end, REFUSED)
def end_a_team(market: Market) -> Deed:
    actor = founded(market)
    joined(market, actor)
    with_role(market, actor)
    market.account("third", "0")
    market.db.run_now(joining.invite, actor, "third@example.org", "reader", T0)
    earned = Transfer(
        cause=Cause("test"),
        debit=FUNDING,
        credit=earnings_of(actor.team),
        amount=NanoUsd(nano(3)),
        kind="credit",
        account_id=actor.team,
        contract_id=None,
        at_ms=T0,
    )
    market.db.run_now(transfers.move, earned)
    market.db.run_now(paying.add_credit, actor.team, nano(1), "test", T0)
    return lambda tx: teaming.end(tx, actor, NOW)


@of(teaming.create_role, REFUSED)
def create_a_role(market: Market) -> Deed:
    actor = founded(market)
    return lambda tx: teaming.create_role(tx, actor, "reader", READER, NOW)


@of(teaming.change_role, NOTHING)
def change_a_role(market: Market) -> Deed:
    actor = founded(market)
    with_role(market, actor)
    return lambda tx: teaming.change_role(tx, actor, "reader", None, {"misc": {}})


@of(teaming.remove_role, REFUSED)
def remove_a_role(market: Market) -> Deed:
    actor = founded(market)
    with_role(market, actor)
    return lambda tx: teaming.remove_role(tx, actor, "reader")


@of(joining.invite, REFUSED)
def invite(market: Market) -> Deed:
    actor = founded(market)
    market.account("other", "0")
    return lambda tx: joining.invite(tx, actor, "other@example.org", "member", NOW)


@of(joining.invite, REFUSED)
def invite_again(market: Market) -> Deed:
    actor = founded(market)
    market.account("other", "0")
    market.db.run_now(joining.invite, actor, "other@example.org", "manager", NOW - 300_000)
    return lambda tx: joining.invite(tx, actor, "other@example.org", "member", NOW)


@of(joining.join, REFUSED)
def accept(market: Market) -> Deed:
    actor = founded(market)
    other = market.account("other", "0")
    market.db.run_now(joining.invite, actor, "other@example.org", "member", T0)
    return lambda tx: joining.join(tx, other, actor.team, NOW)


@of(joining.leave, REFUSED)
def leave(market: Market) -> Deed:
    actor = founded(market)
    other = joined(market, actor)
    return lambda tx: joining.leave(tx, other, actor.team, NOW)


@of(joining.leave, REFUSED)
def decline(market: Market) -> Deed:
    actor = founded(market)
    other = market.account("other", "0")
    market.db.run_now(joining.invite, actor, "other@example.org", "member", T0)
    return lambda tx: joining.leave(tx, other, actor.team, NOW)


@of(joining.remove, REFUSED)
def remove_a_member(market: Market) -> Deed:
    actor = founded(market)
    other = joined(market, actor)
    return lambda tx: joining.remove(tx, actor, other, NOW)


@of(joining.give_role, NOTHING)
def give_a_role(market: Market) -> Deed:
    actor = founded(market)
    other = joined(market, actor)
    return lambda tx: joining.give_role(tx, actor, other, "manager", NOW)


@of(joining.give_role, NOTHING)
def give_the_team_away(market: Market) -> Deed:
    actor = founded(market)
    other = joined(market, actor)
    return lambda tx: joining.give_role(tx, actor, other, "owner", NOW)
