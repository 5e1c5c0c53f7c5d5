"""What is the matter with one account keeps no loop from the others."""

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from mercato.control.clock import SystemClock
from mercato.control.db import Database, Tx
from mercato.control.flows import paying, renting, reserving, volumes
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.loops.driver import Driver
from mercato.control.loops.loop import Each, Loop, Report
from mercato.control.loops.money import money_loops
from mercato.control.store import volumes as stored_volumes
from mercato.market.contract import Contract
from mercato.market.ids import AccountId
from mercato.market.instance import Intended, Reason
from mercato.market.limits import Period
from mercato.market.money import NanoUsd, NanoUsdPerGbMonth, nano
from tests.control.flows.test_limiting import limited
from tests.control.market import HOUR, T0, Agent, Market, open_market


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def loop(market: Market, name: str) -> Loop:
    return next(one for one in money_loops(market.db, market.house) if one.name == name)


def with_volume(market: Market, agent: Agent, size_gb: int, renter: AccountId) -> Contract:
    """An instance with a volume of its own, which is older than it."""
    listing = market.db.run_now(
        volumes.list_volumes,
        market.host,
        agent.machine,
        2_000_000,
        NanoUsdPerGbMonth(nano("0.72")),
        T0,
    )
    asked = VolumeRequest(offer=listing.id, size_mb=size_gb * 1_000)
    signed = market.rent(
        market.offer(agent, 4), T0, renter, new_volume=asked, new_volume_path="/data"
    )
    agent.settle(T0)
    return signed.contract


def volumes_of(market: Market, account: AccountId) -> int:
    return len(market.db.run_now(stored_volumes.live_of, account))


def test_a_reserved_instance_ends_with_the_volume_that_credit_cannot_keep(market: Market) -> None:
    agent = market.machine(4)
    alice, bob = market.account("alice", "40"), market.account("bob", "15")
    kept = with_volume(market, agent, 1_000, alice)
    market.db.run_now(reserving.prepay, alice, kept.id, NanoUsd(nano(5)), "p1", T0)
    market.db.run_now(renting.stop, alice, kept.id, T0)
    runs = market.rent(market.offer(agent, 5), T0, bob).contract
    agent.settle(T0)
    credit, now_ms = loop(market, "credit"), T0
    while now_ms < T0 + 72 * HOUR:
        now_ms += HOUR // 2
        agent.settle(now_ms)
        assert "failed" not in credit.activate(now_ms)
        market.audit()
    assert market.instance(kept.id).reason is Reason.NO_CREDIT
    assert volumes_of(market, alice) == 0
    assert market.instance(runs.id).intended is not Intended.RUNNING


def test_an_account_without_credit_keeps_what_it_lets_itself_for_nothing(market: Market) -> None:
    agent = market.machine(4)
    own = with_volume(market, agent, 10, market.host)
    elsewhere = replace(market, host=market.account("other", "0"), minted=100).machine(1)
    market.db.run_now(paying.add_credit, market.host, nano(1), "some", T0)
    rented = market.rent(market.offer(elsewhere, 1), T0, market.host).contract
    elsewhere.settle(T0)
    credit, now_ms = loop(market, "credit"), T0
    while market.instance(rented.id).intended is not Intended.DESTROYED:
        now_ms += HOUR
        for one in (agent, elsewhere):
            one.settle(now_ms)
        assert "failed" not in credit.activate(now_ms)
        assert now_ms < T0 + 100 * HOUR
    assert volumes_of(market, market.host) == 1
    assert market.instance(own.id).intended is Intended.RUNNING


def test_a_total_that_is_used_up_ends_instances_before_what_they_mount(market: Market) -> None:
    agent = market.machine(4)
    contract = with_volume(market, agent, 100, market.renter)
    limited(market, "5", Period.TOTAL)
    limits, now_ms = loop(market, "limits"), T0
    while now_ms < T0 + 100 * HOUR:
        now_ms += HOUR
        agent.settle(now_ms)
        assert "failed" not in limits.activate(now_ms)
        market.audit()
    assert market.instance(contract.id).intended is Intended.DESTROYED
    assert volumes_of(market, market.renter) == 0
    assert market.spendable(now_ms) >= nano(95)


def test_what_was_told_to_end_and_is_still_there_stops_no_limit(market: Market) -> None:
    agent = market.machine(4)
    gone = market.rent(market.offer(agent, 4)).contract
    kept = market.rent(market.offer(agent, 5)).contract
    agent.settle(T0)
    limited(market, "5", Period.TOTAL)
    agent.report(T0 + HOUR)
    market.db.run_now(renting.destroy, market.renter, gone.id, T0 + HOUR)
    limits, now_ms = loop(market, "limits"), T0 + HOUR
    while market.instance(kept.id).intended is not Intended.DESTROYED:
        now_ms += 24 * HOUR
        agent.report(now_ms)  # it never hears what it should do
        assert "failed" not in limits.activate(now_ms)
        assert now_ms < T0 + 10_000 * HOUR


def test_one_that_fails_is_counted_and_logged_once_and_the_others_go_on(market: Market) -> None:
    agent = market.machine(4)
    first, second = (market.account(name, "2") for name in ("first", "second"))
    contracts = [
        market.rent(market.offer(agent, node), T0, renter).contract
        for node, renter in ((4, first), (5, second))
    ]
    agent.settle(T0)

    def forbid(tx: Tx) -> None:
        """Something is wrong with what is kept of the first account."""
        tx.run("alter table events add constraint trouble check (account_id <> 3) not valid")
        assert first == 3

    market.db.run_now(forbid)
    credit = loop(market, "credit")
    with capture_logs() as logs:
        for hour in (5, 6, 7):
            agent.report(T0 + hour * HOUR)
            assert credit.activate(T0 + hour * HOUR)["failed"] == 1
    failures = [one for one in logs if one["event"] == "loop_step_failed"]
    assert [(one["loop"], one["of"]) for one in failures] == [("credit", str(first))]
    assert "trouble" in failures[0]["failure"]
    intended = [market.instance(one.id).intended for one in contracts]
    assert intended == [Intended.RUNNING, Intended.STOPPED]
    market.db.run_now(lambda tx: tx.run("alter table events drop constraint trouble"))
    assert "failed" not in credit.activate(T0 + 7 * HOUR)
    assert market.instance(contracts[0].id).intended is Intended.STOPPED


def test_an_operator_is_told_by_the_failures_of_the_loop() -> None:
    def step(_account: int) -> Report:
        raise ValueError("its bill cannot be posted")

    each = Each("meter")
    loop = Loop("meter", "", 60, lambda _now_ms: each([1, 2], step))
    driver = Driver([loop], SystemClock())
    for _ in range(3):
        asyncio.run(driver.once(loop))
    assert loop.status.failures == 3
    assert "2 of" in str(loop.status.failure)
