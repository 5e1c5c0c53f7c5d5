"""Spending limits hold: nothing is granted beyond one, and what runs stops at its moment."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mercato.control.db import Database
from mercato.control.flows import (
    billing,
    enforcing,
    lapsing,
    limiting,
    metering,
    paying,
    renting,
)
from mercato.control.loops.money import money_loops
from mercato.control.store import contracts, events, limits
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.ids import AccountId, ContractId
from mercato.market.instance import Intended, Reason
from mercato.market.limits import Action, Limit, Period, Scope
from mercato.market.money import NanoUsd, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from tests.control.market import HOUR, T0, Agent, Market, open_market

ROUNDS = int(os.environ.get("MERCATO_LIMIT_ROUNDS", "2"))
"""Of 256 rentals started at once; each takes some six tenths of a second."""

MIDNIGHT = T0 - T0 % (24 * HOUR)
FREE_DISK = {"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(0)}


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def limited(market: Market, amount: str, period: Period, at_ms: int = T0, **wish: object) -> Limit:
    facts = {
        "scope": Scope.ACCOUNT,
        "scope_id": market.renter,
        "action": Action.STOP,
        "period": period,
        "amount": NanoUsd(nano(amount)),
    }
    return market.db.run_now(
        limiting.set_limit,
        market.renter,
        limiting.Wish(**(facts | wish)),  # type: ignore[arg-type] # as named above
        at_ms,
    )


def spent(market: Market, until_ms: int, renter: AccountId | None = None) -> int:
    lines = market.db.run_now(billing.lines, renter or market.renter, 0, until_ms + 1, until_ms)
    return sum(line.amount for line in lines)


def run_loop(market: Market, now_ms: int) -> dict[str, int]:
    [loop] = [one for one in money_loops(market.db, market.house) if one.name == "limits"]
    report = loop.activate(now_ms)
    assert not any(loop.activate(now_ms).values())
    market.audit()
    return report


def running(market: Market, agent: Agent, at_ms: int = T0) -> Contract:
    contract = market.rent(market.offer(agent, 1), at_ms).contract
    agent.settle(at_ms)
    return contract


def test_what_runs_stops_when_a_total_is_reached_and_not_a_nano_dollar_later(
    market: Market,
) -> None:
    agent = market.machine(1, prices=FREE_DISK)
    limited(market, "5", Period.TOTAL)
    contract = running(market, agent)
    agent.report(T0 + 5 * HOUR - 1_000)
    assert run_loop(market, T0 + 5 * HOUR - 1_000) == {"told": 0, "stopped": 0, "destroyed": 0}
    late_ms = T0 + 5 * HOUR + 20_000
    agent.report(late_ms)
    assert run_loop(market, late_ms) == {"told": 1, "stopped": 1, "destroyed": 0}
    assert market.instance(contract.id).reason is Reason.SPENDING_LIMIT
    assert spent(market, late_ms) == nano(5)
    assert market.spendable(late_ms) == nano(95)
    earned = market.db.run_now(metering.balance, market.host, late_ms).earnings
    assert earned == nano(5) + nano(1) * 20_000 // HOUR, "the house pays what was late"
    with pytest.raises(errors.SpendingLimitReached, match=r"\$5\.00 in total"):
        market.db.run_now(renting.start, market.renter, contract.id, late_ms)


def test_a_daily_limit_keeps_storage_and_begins_anew(market: Market) -> None:
    prices = {"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(nano("7.2"))}
    agent = market.machine(1, prices=prices)  # 10 GB: 0.1 dollars an hour
    limited(market, "5", Period.DAY, MIDNIGHT)
    contract = running(market, agent, MIDNIGHT)
    stops_ms = MIDNIGHT + int(2.6 * HOUR)
    agent.report(stops_ms)
    assert run_loop(market, stops_ms)["stopped"] == 1
    agent.settle(stops_ms)
    with pytest.raises(errors.SpendingLimitReached):
        market.db.run_now(renting.start, market.renter, contract.id, stops_ms)
    next_ms = MIDNIGHT + 24 * HOUR
    agent.report(next_ms)
    assert spent(market, next_ms) == nano(5)
    assert run_loop(market, next_ms) == {"told": 0, "stopped": 0, "destroyed": 0}
    market.db.run_now(renting.start, market.renter, contract.id, next_ms)
    agent.settle(next_ms)
    assert market.instance(contract.id).intended is Intended.RUNNING


def test_a_limit_holds_in_every_window_though_nobody_looked_for_hours(market: Market) -> None:
    agent = market.machine(1, prices=FREE_DISK)
    hour_ms = T0 - T0 % HOUR
    limited(market, "1.50", Period.HOUR, hour_ms)
    contract = running(market, agent, hour_ms)
    with pytest.raises(errors.SpendingLimitReached):
        market.rent(market.offer(market.machine(1, prices=FREE_DISK), 1), hour_ms)
    agent.report(hour_ms + 7 * HOUR)
    # A dollar an hour never reaches a dollar and a half an hour.
    assert run_loop(market, hour_ms + 7 * HOUR)["stopped"] == 0
    limited(market, "0.25", Period.HOUR, hour_ms + 7 * HOUR)
    agent.report(hour_ms + 9 * HOUR)
    assert run_loop(market, hour_ms + 9 * HOUR)["stopped"] == 1
    assert spent(market, hour_ms + 9 * HOUR) == nano("7.25")
    assert market.instance(contract.id).intended is Intended.STOPPED


def test_a_total_that_storage_uses_up_destroys_after_it_was_told(market: Market) -> None:
    prices = {"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(nano("7.2"))}
    agent = market.machine(1, prices=prices)
    limited(market, "5", Period.TOTAL)
    contract = running(market, agent)
    at_ms = T0
    seen = []
    while market.instance(contract.id).intended is not Intended.DESTROYED:
        at_ms += HOUR
        agent.settle(at_ms)
        report = run_loop(market, at_ms)
        if any(report.values()):
            seen.append((round((at_ms - T0) / HOUR), report["stopped"], report["destroyed"]))
    assert seen == [(3, 1, 0), (27, 0, 1)], "a day of storage is kept between the two"
    assert abs(spent(market, at_ms) - nano(5)) <= 2
    assert market.instance(contract.id).reason is Reason.SPENDING_LIMIT


def test_a_limit_that_notifies_tells_once_and_stops_nothing(market: Market) -> None:
    agent = market.machine(1, prices=FREE_DISK)
    limited(market, "2", Period.DAY, MIDNIGHT, action=Action.NOTIFY)
    contract = running(market, agent, MIDNIGHT)
    for hours in (1, 2, 3):
        agent.report(MIDNIGHT + hours * HOUR)
        run_loop(market, MIDNIGHT + hours * HOUR)
    told = [
        one
        for one in market.db.run_now(events.of_account, market.renter, 100)
        if one.kind == "limit_reached"
    ]
    assert len(told) == 1
    assert market.instance(contract.id).intended is Intended.RUNNING


def stored_limit(market: Market, scope: Scope, number: int, dollars: int) -> Limit:
    """A limit in total on what need not be there."""
    wish = Limit(
        id=0,
        account_id=market.renter,
        scope=scope,
        scope_id=number,
        period=Period.TOTAL,
        amount=NanoUsd(nano(dollars)),
        action=Action.STOP,
        set_at_ms=T0,
    )
    made = market.db.run_now(limits.create, wish)
    market.db.run_now(limiting.forecast, market.renter, T0)
    return made


def test_a_limit_on_an_instance_or_a_key_covers_nothing_else(market: Market) -> None:
    agent = market.machine(2, prices=FREE_DISK)
    keyed = market.rent(market.offer(agent, 2), scopes={Scope.KEY: 77}).contract
    plain = market.rent(market.offer(agent, 3)).contract
    agent.settle(T0)

    on_key = stored_limit(market, Scope.KEY, 77, 3)
    assert market.db.run_now(limits.contracts_of, on_key) == [keyed.id]
    agent.report(T0 + 3 * HOUR)
    run_loop(market, T0 + 3 * HOUR)
    assert market.instance(keyed.id).intended is Intended.STOPPED
    assert market.instance(plain.id).intended is Intended.RUNNING
    stored_limit(market, Scope.INSTANCE, plain.id, 3)
    agent.report(T0 + 6 * HOUR)
    run_loop(market, T0 + 6 * HOUR)
    assert market.instance(plain.id).intended is Intended.STOPPED


def test_a_members_limit_covers_all_their_keys_in_one_team(market: Market) -> None:
    person, agent = 77, market.machine(4, prices=FREE_DISK)
    another = market.account("another")
    theirs = [
        market.rent(
            market.offer(agent, node), renter=renter, scopes={Scope.KEY: key, Scope.MEMBER: who}
        ).contract.id
        for node, renter, key, who in (
            (4, market.renter, 1, person),
            (5, market.renter, 2, person),
            (6, market.renter, 3, 78),
            (7, another, 4, person),
        )
    ]
    agent.settle(T0)
    made = stored_limit(market, Scope.MEMBER, person, 6)
    assert market.db.run_now(limits.contracts_of, made) == theirs[:2]
    now = market.db.run_now(limiting.spending, made, T0 + HOUR)
    assert (now.spent, now.burn) == (nano(2), nano(2))
    agent.report(T0 + 3 * HOUR)
    run_loop(market, T0 + 3 * HOUR)
    assert [market.instance(one).intended for one in theirs] == [
        Intended.STOPPED,
        Intended.STOPPED,
        Intended.RUNNING,
        Intended.RUNNING,
    ]


def test_what_began_after_the_moment_of_who_asks_draws_on_a_limit_too(market: Market) -> None:
    agent = market.machine(2, prices=FREE_DISK)
    limited(market, "1.50", Period.TOTAL)
    market.rent(market.offer(agent, 2), T0)
    agent.settle(T0 + 20)
    with pytest.raises(errors.SpendingLimitReached):
        market.rent(market.offer(agent, 3), T0 + 10)


def test_only_a_member_can_have_a_members_limit(market: Market) -> None:
    with pytest.raises(errors.NotFound, match="no member 77"):
        limited(market, "7", Period.DAY, scope=Scope.MEMBER, scope_id=77)


def test_traffic_that_passes_a_limit_is_paid_by_nobody(market: Market) -> None:
    agent = market.machine(1, prices=FREE_DISK)
    limited(market, "2", Period.TOTAL)
    contract = running(market, agent)
    agent.moved(contract.id, T0 + HOUR, up=500 * 10**9)  # five dollars' worth
    market.db.run_now(lapsing.settle, contract.id, T0 + HOUR)
    assert market.spendable(T0 + HOUR) == nano(98)
    assert market.db.run_now(metering.balance, market.host, T0 + HOUR).earnings == nano(2)
    assert spent(market, T0 + HOUR) == nano(2)
    run_loop(market, T0 + HOUR)
    assert market.instance(contract.id).intended is Intended.STOPPED
    market.audit()


def test_what_storage_alone_would_pass_cannot_be_set(market: Market) -> None:
    agent = market.machine(1)
    contract = running(market, agent)
    daily = contract.terms.storage * 24
    with pytest.raises(errors.InvalidPrice, match="Storage alone"):
        limited(market, f"{(daily - 24) / 1e9:.9f}", Period.DAY)
    kept = limited(market, f"{daily / 1e9:.9f}", Period.DAY)
    assert limited(market, "7", Period.DAY).id == kept.id, "the same thing has one limit"
    with pytest.raises(errors.NotFound):
        limited(market, "7", Period.DAY, scope=Scope.INSTANCE, scope_id=ContractId(999))
    market.db.run_now(limiting.remove, market.renter, kept.id, T0)
    with pytest.raises(errors.NotFound):
        market.db.run_now(limiting.remove, market.renter, kept.id, T0)
    assert market.db.run_now(enforcing.look, kept.id, T0 + 99 * HOUR)["told"] == 0


@pytest.mark.timeout(300 + 10 * ROUNDS)
def test_spenders_at_once_never_pass_a_limit(market: Market) -> None:
    rounds(market, spenders=256, number=ROUNDS)


def follow(agent: Agent, at_ms: int) -> None:
    """Hear what should be, do it, say so."""
    agent.report(at_ms)
    agent.obey(at_ms)
    agent.report(at_ms)


def rounds(market: Market, *, spenders: int, number: int) -> None:
    """Rounds of everybody starting at once under one limit of a dollar: nobody overspends."""
    agents = [
        market.machine(
            8, prices={"gpu": NanoUsdPerHour(nano("0.15")), "disk": NanoUsdPerGbMonth(0)}
        )
        for _ in range(spenders // 8)
    ]
    asleep = [
        market.rent(market.offer(agent, node), running=False).contract.id
        for agent in agents
        for node in range(8, 16)
    ]
    for agent in agents:
        agent.settle(T0)
    total = spent(market, T0)
    at_ms = T0
    lock = threading.Lock()
    for turn in range(number):
        market.db.run_now(paying.add_credit, market.renter, nano(1), f"round {turn}", at_ms)
        limit = limited(market, "1", Period.TOTAL, at_ms)
        started: list[ContractId] = []

        def spend(
            instance: ContractId, at_ms: int = at_ms, started: list[ContractId] = started
        ) -> None:
            try:
                market.db.run_now(renting.start, market.renter, instance, at_ms)
            except errors.SpendingLimitReached:
                return
            with lock:
                started.append(instance)

        with ThreadPoolExecutor(spenders) as pool:
            list(pool.map(spend, asleep))
        # Six at 0.15 dollars an hour fit a dollar for the next hour.
        assert len(started) == 6
        hosts = {market.db.run_now(contracts.get, one).machine for one in started}
        busy = [agent for agent in agents if agent.machine in hosts]
        for agent in busy:
            follow(agent, at_ms)
        at_ms += 2 * HOUR
        for agent in busy:
            agent.report(at_ms)
        run_loop(market, at_ms)
        for agent in busy:
            follow(agent, at_ms)
        overspent = spent(market, at_ms) - total - nano(1)
        assert -6 <= overspent <= 0
        total = spent(market, at_ms)
        market.db.run_now(limiting.remove, market.renter, limit.id, at_ms)
