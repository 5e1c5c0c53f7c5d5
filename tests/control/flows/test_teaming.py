"""Who acts in a team while that changes: races end as if one had come after the other."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from mercato.control.api.keys import _create_api_key
from mercato.control.db import Database
from mercato.control.flows import joining, teaming
from mercato.control.flows.teaming import Actor
from mercato.control.store import api_keys, teams
from mercato.market.errors import Refusal
from mercato.market.ids import ApiKeyId
from mercato.market.team import Kind
from tests import invariants
from tests.control.flows.deeds_of_teams import founded, joined
from tests.control.market import T0, Market, open_market

AT_ONCE = 8
NO_KEY = ApiKeyId(0)


@pytest.fixture
def market(db: Database, database_url: str) -> Iterator[Market]:
    """A market of which every law holds at the end."""
    yield open_market(db)
    with psycopg.connect(database_url) as conn:
        assert invariants.broken(conn) == {}


def at_once(*deeds: Callable[[], Any]) -> list[bool]:
    """Which of some deeds were done, all begun at once."""

    def done(deed: Callable[[], Any]) -> bool:
        try:
            deed()
        except Refusal:
            return False
        return True

    with ThreadPoolExecutor(len(deeds)) as pool:
        return list(pool.map(done, deeds))


def test_a_key_that_is_made_while_its_member_goes_does_not_outlive_them(market: Market) -> None:
    actor = founded(market)
    other = joined(market, actor, role="manager")

    def make(number: int) -> None:
        market.db.run_now(
            _create_api_key, actor.team, other, "late", f"late {number}", None, T0 + 1, by=NO_KEY
        )

    at_once(
        *(lambda number=number: make(number) for number in range(AT_ONCE)),
        lambda: market.db.run_now(joining.remove, actor, other, T0 + 1),
    )
    secrets = ["key of other", *(f"late {number}" for number in range(AT_ONCE))]
    assert [market.db.run_now(api_keys.owner_of, one) for one in secrets] == [None] * len(secrets)
    left = market.db.run_now(api_keys.of_account, actor.team)
    assert {key.member_id for key in left} == {market.renter}


def test_a_team_that_is_given_to_two_has_one_owner(market: Market) -> None:
    actor = founded(market)
    heirs = [joined(market, actor, name) for name in ("one", "two", "three")]
    done = at_once(
        *(
            lambda heir=heir: market.db.run_now(joining.give_role, actor, heir, "owner", T0 + 1)
            for heir in heirs
        )
    )
    assert sum(done) == 1
    roles = {one.account_id: one.role.kind for one in market.db.run_now(teams.members, actor.team)}
    assert roles[market.renter] is Kind.MANAGER
    assert sum(kind is Kind.OWNER for kind in roles.values()) == 1


def test_a_team_that_ends_lets_nobody_in_and_gives_its_credit_once(market: Market) -> None:
    actor = founded(market)
    other = market.account("other", "0")
    market.db.run_now(joining.invite, actor, "other@example.org", "member", T0)
    ends = [lambda: market.db.run_now(teaming.end, actor, T0 + 1)] * 3
    done = at_once(*ends, lambda: market.db.run_now(joining.join, other, actor.team, T0 + 1))
    assert sum(done[:3]) == 1
    assert market.spendable(T0 + 2) == market.spendable(T0 + 2, actor.team) + 100 * 10**9
    assert market.db.run_now(teams.members, actor.team) == []
    assert market.db.run_now(teams.of_person, other) == []
    market.audit()


def test_who_was_just_made_less_gives_nothing_more(market: Market) -> None:
    actor = founded(market)
    other = joined(market, actor, role="manager")
    acting = Actor(team=actor.team, member=other, granted=None)
    market.db.run_now(joining.give_role, actor, other, "member", T0 + 1)
    market.account("third", "0")
    for deed in (
        lambda: market.db.run_now(joining.invite, acting, "third@example.org", "manager", T0 + 2),
        lambda: market.db.run_now(teaming.create_role, acting, "x", {"misc": {}}, T0 + 2),
        lambda: market.db.run_now(joining.give_role, acting, other, "manager", T0 + 2),
    ):
        assert at_once(deed) == [False]
