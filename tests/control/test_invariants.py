"""The laws in SQL hold in a market at work, and notice what breaks them."""

from collections.abc import Iterator
from typing import Final, LiteralString

import psycopg
import pytest

from mercato.control.db import Database
from mercato.control.flows import lapsing
from mercato.control.store import contracts
from tests import invariants
from tests.control.market import HOUR, T0, open_market
from tests.control.postgres import Postgres

FORGERIES: Final[dict[str, LiteralString]] = {
    "a hold names a GPU of its contract, or where it was moved to, on the contract's machine": (
        "update gpu_holds set gpu = 3 where contract_id = 1 and gpu = 0"
    ),
    "who holds a GPU holds all of its contract's": (
        "delete from gpu_holds where contract_id = 1 and gpu = 0"
    ),
    "nothing destroyed holds a GPU": "update instances set destroyed_at_ms = 5 where id = 1",
    "nothing told to end for good runs a meter": (
        "update instances set intended = 'destroyed' where id = 1"
    ),
    "a disk is billed from creation to destroy, while its host can be heard": (
        "update segments set to_ms = from_ms where contract_id = 1 and kind = 'disk'"
    ),
    "a disk is billed from its signing on": (
        "update segments set from_ms = from_ms + 1 where contract_id = 1 and kind = 'disk'"
    ),
    "nothing on a machine that is offline runs a meter": "update machines set offline_since_ms = 5",
    "no disk on a machine that fell silent is billed past its last proof of life": (
        "with silent as (update machines set offline_since_ms = 5 returning id)"
        " update segments set to_ms = from_ms + 1 where kind = 'disk'"
    ),
    "an open GPU meter belongs to a contract that runs and holds all its GPUs": (
        "update instances set actual = 'loading' where id = 1"
    ),
    "segments of one meter never overlap": (
        "insert into segments (contract_id, renter_id, kind, rate, list_rate, from_ms, to_ms)"
        " select contract_id, renter_id, kind, rate, rate, from_ms, from_ms + 1 from segments"
    ),
    "a meter runs at its contract's terms, the open one at those of now": (
        "update segments set list_rate = list_rate + 1"
    ),
    "under uniform pricing nobody is charged more than was bid, and now what was decided": (
        "update listings set bid_uniform = true; update contracts set kind = 'bid';"
        " update standings set price = price - 1"
    ),
    "a meter charges its full rate, or what a deposit made of it": (
        "update segments set rate = rate - 1"
    ),
    "what is prepaid is prepaid for a reserved contract": (
        "insert into purses (name, account_id, balance) values ('deposit:1', 1, 1)"
    ),
    "a closed meter is charged in full": (
        "update segments set to_ms = from_ms + 7200000 where contract_id = 1 and kind = 'gpu'"
    ),
    "what a meter was charged is what moved for it": (
        "update segments set posted = posted - 1 where posted > 0"
    ),
    "what traffic was charged is what moved for it": (
        "update instances set up_bytes_posted = 1000000000000 where id = 1"
    ),
    "the house pays nobody for traffic": (
        "insert into transfers (cause, debit, credit, amount, kind, at_ms, about)"
        " values ('bytes:1:up:0:goodwill', 'fees', 'funding', 5, 'goodwill', 5, '{}')"
    ),
    "an on-demand contract has the terms of the listing that was seen": (
        "update contracts set gpu_rate = gpu_rate - 1 where id = 1"
    ),
    "every charge has one usage record, and a chain has no gap": (
        "delete from usage_records where number = 1"
    ),
    "a purse is the sum of what moved": "update purses set balance = balance + 1",
    "no purse is below its floor": "update purses set floor = 1 + balance, balance = balance",
    "what happened to an instance last is why it is as it should be": (
        "update instances set reason = 'outbid' where id = 1"
    ),
    "on-demand and reserved are never displaced": "update standings set pausing = true",
    "who waits or yields is told for whom, or that its GPUs are gone": (
        "update standings set yields_at_ms = 5"
    ),
    "a bid waits or yields only for what is firm, safe, or pays more together": (
        "update contracts set kind = 'bid'; update standings set why = 'outbid'"
    ),
    "a host's own job costs nobody anything": "update contracts set kind = 'background'",
    "a host's own job makes way without a notice": (
        "update contracts set kind = 'background'; update standings set yields_at_ms = 5"
    ),
    "every instance that wants to run stands somewhere, and no other": "delete from standings",
    "a team has one owner, its own roles and people in it": (
        "update accounts set is_team = true where id = 1"
    ),
    "a key of a team is a member's, and any other nobody else's": (
        "insert into api_keys (account_id, kind, hash, prefix, member_id, created_at_ms)"
        " values (1, 'account', 'x', 'x', 2, 0)"
    ),
    "a deployment has a group of its account, and runs a version of its own that is kept": (
        "insert into deployments"
        " (account_id, name, tag, endpoint_id, seen_at_ms, created_at_ms, updated_at_ms)"
        " values (1, 'app', 'default', 1, 0, 0, 0)"
    ),
}

GUARDED: Final[dict[str, LiteralString]] = {
    "never changed": "update contracts set gpu_rate = gpu_rate - 1",
    "amendments are never": "delete from amendments",
    "transfers are never": "delete from transfers",
    "segments are never": "delete from segments",
    "usage_records are never": "update usage_records set record = ''",
    "generations only rise": "update machines set generation = 0",
    "boots only rise": "update instances set boots = -1",
    "bytes only rise": "update instances set up_bytes_posted = up_bytes + 1",
    "absence is not deletion": "update instances set destroyed_at_ms = 5",
    "a meter only closes": "update segments set from_ms = from_ms - 1",
    "the sum of what moved": "update purses set balance = balance + 1",
    "charged in full": "update segments set to_ms = from_ms + 7200000 where kind = 'gpu'",
    "all GPUs are held": "delete from gpu_holds",
    "while it runs and should": "update instances set actual = 'exited' where id = 1",
    "a GPU of a living contract": "insert into gpu_holds values (1, 3, 1, 0)",
    "end for good is billed": "update instances set intended = 'destroyed', intended_at_ms = 5",
    "a reason that can be read": "update instances set intended = 'running', intended_at_ms = 5",
    "machine that is offline": "update machines set offline_since_ms = 5",
}


@pytest.fixture(scope="module")
def market_url(server_of_databases: Postgres) -> Iterator[str]:
    """A market in which one instance runs on two GPUs and another is stopped."""
    with server_of_databases.fresh() as url:
        db = Database(url, on_poke=lambda _: None)
        db.open()
        market = open_market(db, platform_fee_ppm=100_000)
        agent = market.machine(4)
        contract = market.rent(market.offer(agent, 2), T0).contract
        waits = market.rent(market.offer(agent, 6), T0, running=False).contract
        db.run_now(contracts.amend, waits.id, waits.terms, "extension", T0)
        agent.settle(T0)
        agent.settle(T0 + HOUR)
        db.run_now(lapsing.settle, contract.id, T0 + HOUR)
        yield url
        db.close()


@pytest.fixture
def at_work(market_url: str) -> Iterator[psycopg.Connection]:
    """A connection whose transaction is undone at the end."""
    with psycopg.connect(market_url) as connection:
        yield connection
        connection.rollback()


def test_every_law_has_a_forgery_that_it_is_tried_with() -> None:
    assert list(FORGERIES) == list(invariants.LAWS)


def test_the_laws_hold_in_a_market_at_work(at_work: psycopg.Connection) -> None:
    assert invariants.broken(at_work) == {}


@pytest.mark.parametrize("law", FORGERIES)
def test_a_law_notices_what_breaks_it(law: str, at_work: psycopg.Connection) -> None:
    at_work.execute("set local session_replication_role = replica")  # the guards sleep
    at_work.execute("alter table purses drop constraint purses_check")
    at_work.execute(FORGERIES[law])
    assert law in invariants.broken(at_work)


@pytest.mark.parametrize("law", GUARDED)
def test_a_guard_refuses_the_commit_that_breaks_it(law: str, at_work: psycopg.Connection) -> None:
    at_work.execute("set constraints all immediate")  # as a commit would ask them
    with pytest.raises(psycopg.errors.RaiseException, match=f"law broken: .*{law}"):
        at_work.execute(GUARDED[law])
