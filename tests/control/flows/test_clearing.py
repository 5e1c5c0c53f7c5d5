"""Bids on a real database: displaced with notice, kept by matching, back by themselves."""

from typing import Any

import pytest

from mercato.control.db import Database
from mercato.control.flows import bidding, clearing, lapsing, metering, renting
from mercato.control.flows.renting import Signed
from mercato.control.store import clearings, contracts, events, standings
from mercato.market import auction, errors
from mercato.market.contract import Contract, Kind
from mercato.market.ids import ContractId
from mercato.market.instance import Actual, Intended, Reason
from mercato.market.listing import BidTerms
from mercato.market.money import NanoUsdPerHour, accrued, nano
from mercato.market.standing import Standing
from tests.control.market import HOUR, T0, Agent, Market, open_market
from tests.invariants import broken

NOTICE = 120_000
SIGNAL = 110_000
"""The last ten seconds of a notice are between the signal and the end."""


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def dollars_h(amount: str) -> NanoUsdPerHour:
    return NanoUsdPerHour(nano(amount))


def bid(market: Market, agent: Agent, node: int, price: str, now_ms: int, **asked: Any) -> Signed:
    asked.setdefault("cancel_unavailable", False)
    return market.rent(market.offer(agent, node), now_ms, bid=dollars_h(price), **asked)


def standing(market: Market, agent: Agent, contract: ContractId) -> Standing | None:
    return market.db.run_now(standings.on, agent.machine).get(contract)


def told(market: Market, contract: ContractId) -> list[tuple[str, str]]:
    found = market.db.run_now(events.of_contract, contract)
    return [(event.kind, event.reason) for event in found]


def check(market: Market) -> None:
    market.audit()
    assert market.db.run_now(lambda tx: broken(tx.conn)) == {}


def test_a_bid_below_the_floor_is_refused_naming_the_floor(market: Market) -> None:
    agent = market.machine(4)
    with pytest.raises(errors.InvalidPrice, match=r"\$0\.2 an hour"):
        bid(market, agent, 2, "0.19", T0)
    signed = bid(market, agent, 2, "0.20", T0)
    assert signed.holds_gpus
    assert signed.contract.terms.kind is Kind.INTERRUPTIBLE
    with pytest.raises(errors.InvalidPrice, match=r"\$0\.2 an hour"):
        market.db.run_now(
            bidding.change_bid, market.renter, signed.contract.id, dollars_h("0.1"), T0
        )
    check(market)


def test_bids_may_be_not_sold(db: Database) -> None:
    market = open_market(db, bids_sold=False)
    with pytest.raises(errors.InvalidPrice, match="not sold here"):
        bid(market, market.machine(1), 1, "0.2", T0)


def test_an_outbid_instance_runs_until_its_notice_ends_and_comes_back(market: Market) -> None:
    agent = market.machine(1)
    ann = bid(market, agent, 1, "0.20", T0).contract
    agent.settle(T0)
    agent.report(T0 + HOUR)
    bob = bid(market, agent, 1, "0.25", T0 + HOUR)
    assert not bob.holds_gpus
    assert bob.outcome is not None
    assert bob.outcome.gpus == (0,)
    wanted = agent.report(T0 + HOUR + 1).instances[0]
    assert wanted.running
    assert wanted.notice is not None
    assert wanted.notice.yields_at_ms == T0 + HOUR + NOTICE
    assert (wanted.notice.reason, wanted.grace_s) == ("outbid", 10.0)
    assert "$0.25 a GPU and hour" in wanted.notice.message
    agent.report(T0 + HOUR + SIGNAL - 1)
    assert catch_up(market, agent, T0 + HOUR + SIGNAL - 1) == 0
    assert catch_up(market, agent, T0 + HOUR + SIGNAL) == 1
    assert not agent.report(T0 + HOUR + SIGNAL + 1).instances[0].running
    assert market.held(agent.machine) == {0: ann.id}
    agent.settle(T0 + HOUR + SIGNAL + 2)
    assert market.held(agent.machine) == {0: bob.contract.id}
    check(market)
    # Ann paid until the signal and no longer; bob from when his container ran.
    end = T0 + 2 * HOUR + SIGNAL
    agent.report(end)
    market.db.run_now(renting.destroy, market.renter, bob.contract.id, end)
    agent.settle(end + 1)
    assert market.held(agent.machine) == {0: ann.id}
    assert market.instance(ann.id).reason is Reason.RESUMED
    assert told(market, ann.id) == [
        ("instance_rented", "rented"),
        ("instance_outbid", "outbid"),
        ("instance_paused", "outbid"),
        ("instance_resumed", "resumed"),
    ]
    check(market)
    gpu = accrued(ann.terms.gpu, HOUR + SIGNAL) + accrued(bob.contract.terms.gpu, HOUR - 2)
    disks = accrued(ann.terms.storage, end - T0) + accrued(ann.terms.storage, HOUR + SIGNAL)
    spent = nano(100) - market.spendable(end)
    assert abs(spent - gpu - disks) <= 10


def catch_up(market: Market, agent: Agent, now_ms: int) -> int:
    return market.db.run_now(clearing.catch_up, agent.machine, now_ms)


def test_a_match_during_the_notice_keeps_the_gpus(market: Market) -> None:
    agent = market.machine(1)
    ann = bid(market, agent, 1, "0.20", T0).contract
    agent.settle(T0)
    agent.report(T0 + HOUR)
    bob = bid(market, agent, 1, "0.25", T0 + HOUR).contract
    price, outcome = market.db.run_now(
        bidding.change_bid, market.renter, ann.id, dollars_h("0.25"), T0 + HOUR + 1_000
    )
    assert price == dollars_h("0.25")
    assert outcome is not None
    assert outcome.gpus == (0,)
    agent.settle(T0 + HOUR + 2_000)
    assert agent.desired is not None
    assert agent.desired.instances[0].notice is None
    assert catch_up(market, agent, T0 + 2 * HOUR) == 0
    assert ("instance_kept", "rented") in told(market, ann.id)
    waits = standing(market, agent, bob.id)
    assert waits is not None
    assert (waits.position, waits.why, waits.to) == (1, Reason.OUTBID, (ann.id,))
    assert agent.report(T0 + 2 * HOUR).instances[1].running is False
    check(market)
    # The dearer hour is billed from the change on.
    spent = nano(100) - market.spendable(T0 + 2 * HOUR + 1_000)
    gpu = accrued(dollars_h("0.20"), HOUR + 1_000) + accrued(dollars_h("0.25"), HOUR)
    disks = accrued(ann.terms.storage, 2 * HOUR + 1_000) + accrued(ann.terms.storage, HOUR + 1_000)
    assert abs(spent - gpu - disks) <= 10


def test_on_demand_displaces_any_bid_and_pays_from_when_it_holds(market: Market) -> None:
    agent = market.machine(2)
    ann = bid(market, agent, 1, "5.00", T0).contract
    agent.settle(T0)
    cy = market.rent(market.offer(agent, 2), T0 + HOUR)
    assert not cy.holds_gpus
    with pytest.raises(errors.OfferTaken):
        market.rent(market.offer(agent, 2), T0 + HOUR + 1)
    agent.settle(T0 + HOUR + 1)
    assert market.db.run_now(metering.balance, market.renter, T0 + HOUR + 1).burn == (
        ann.terms.gpu + 2 * ann.terms.storage
    )
    assert catch_up(market, agent, T0 + HOUR + SIGNAL) == 1
    agent.settle(T0 + HOUR + SIGNAL + 1)
    assert market.held(agent.machine) == {0: cy.contract.id}
    waits = standing(market, agent, ann.id)
    assert waits is not None
    assert (waits.why, waits.to) == (Reason.ON_DEMAND, (cy.contract.id,))
    check(market)
    market.db.run_now(renting.stop, market.renter, cy.contract.id, T0 + 2 * HOUR)
    agent.settle(T0 + 2 * HOUR)
    assert market.held(agent.machine) == {0: ann.id, 1: ann.id}
    check(market)


def test_a_notice_is_withdrawn_when_the_winner_leaves(market: Market) -> None:
    agent = market.machine(1)
    ann = bid(market, agent, 1, "0.20", T0).contract
    agent.settle(T0)
    cy = market.rent(market.offer(agent, 1), T0 + HOUR).contract
    market.db.run_now(renting.destroy, market.renter, cy.id, T0 + HOUR + 1_000)
    agent.settle(T0 + HOUR + 2_000)
    assert catch_up(market, agent, T0 + 2 * HOUR) == 0
    assert market.held(agent.machine) == {0: ann.id}
    assert told(market, ann.id)[-1] == ("instance_kept", "rented")
    check(market)


def test_what_ends_itself_during_its_notice_has_yielded_and_comes_back(market: Market) -> None:
    agent = market.machine(1)
    ann = bid(market, agent, 1, "0.20", T0).contract
    agent.settle(T0)
    bob = bid(market, agent, 1, "0.25", T0 + HOUR).contract
    agent.report(T0 + HOUR)
    ended = agent.actual[ann.id]
    agent.actual[ann.id] = type(ended)(
        id=ann.id, revision=1, boots=0, actual=Actual.EXITED, exit_code=0
    )
    agent.report(T0 + HOUR + 1_000)
    assert market.held(agent.machine) == {0: bob.id}
    assert market.instance(ann.id).intended is Intended.RUNNING
    check(market)
    market.db.run_now(renting.destroy, market.renter, bob.id, T0 + HOUR + 2_000)
    agent.settle(T0 + HOUR + 3_000)
    assert market.held(agent.machine) == {0: ann.id}
    assert agent.actual[ann.id].actual is Actual.RUNNING
    check(market)


def test_who_may_go_anywhere_waits_for_any_equal_gpus(market: Market) -> None:
    agent = market.machine(2)
    market.rent(market.offer(agent, 2), T0)
    market.rent(market.offer(agent, 3), T0)
    ann = bid(market, agent, 2, "0.20", T0).contract
    agent.settle(T0)
    other = next(id_ for gpu, id_ in market.held(agent.machine).items() if gpu == 1)
    market.db.run_now(renting.destroy, market.renter, other, T0 + HOUR)
    agent.settle(T0 + HOUR)
    assert ann.id not in market.held(agent.machine).values()
    market.db.run_now(bidding.reschedule, market.renter, ann.id, T0 + HOUR + 1_000, anywhere=True)
    assert market.held(agent.machine)[1] == ann.id
    assert agent.report(T0 + HOUR + 2_000).instances[1].gpus == (1,)
    agent.settle(T0 + HOUR + 2_000)
    check(market)


def test_a_notice_begins_anew_when_the_machine_was_not_heard(market: Market) -> None:
    agent = market.machine(1)
    ann = bid(market, agent, 1, "0.20", T0).contract
    agent.settle(T0)
    bid(market, agent, 1, "0.25", T0 + HOUR)
    back_ms = T0 + 2 * HOUR
    assert market.db.run_now(lapsing.silent, agent.machine, back_ms - 90_000, back_ms - 1) == 1
    assert market.db.run_now(standings.due, back_ms) == []
    assert catch_up(market, agent, back_ms) == 0
    wanted = agent.settle(back_ms).instances[0]
    assert wanted.running
    assert wanted.notice is not None
    assert wanted.notice.yields_at_ms == back_ms + NOTICE
    assert market.held(agent.machine) == {0: ann.id}
    check(market)


def test_a_host_says_how_long_it_warns_and_how_long_a_winner_is_safe(market: Market) -> None:
    agent = market.machine(1, bids=BidTerms(notice_ms=10_000, run_ms_min=HOUR))
    ann = bid(market, agent, 1, "0.20", T0).contract
    agent.settle(T0)
    bob = bid(market, agent, 1, "0.25", T0 + 1_000).contract
    assert agent.report(T0 + 1_001).instances[0].notice is None
    assert market.db.run_now(standings.due, T0 + HOUR - 1) == []
    assert market.db.run_now(standings.due, T0 + HOUR) == [agent.machine]
    assert catch_up(market, agent, T0 + HOUR) == 1
    notice = agent.report(T0 + HOUR + 1).instances[0].notice
    assert notice is not None
    assert notice.yields_at_ms == T0 + HOUR + 10_000
    assert catch_up(market, agent, T0 + HOUR + 7_500) == 1
    agent.settle(T0 + HOUR + 8_000)
    assert market.held(agent.machine) == {0: bob.id}
    assert standing(market, agent, ann.id) is not None
    with pytest.raises(errors.InvalidRequest, match="from 10 s"):
        market.machine(1, bids=BidTerms(notice_ms=9_999))
    check(market)


def test_under_uniform_pricing_the_rate_follows_what_others_bid(market: Market) -> None:
    agent = market.machine(1, bids=BidTerms(uniform=True))
    ann = bid(market, agent, 1, "0.50", T0).contract
    agent.settle(T0)
    assert burn(market, T0) == dollars_h("0.10") + ann.terms.storage
    bob = bid(market, agent, 1, "0.30", T0 + HOUR).contract
    assert burn(market, T0 + HOUR) == dollars_h("0.30") + 2 * ann.terms.storage
    market.db.run_now(renting.destroy, market.renter, bob.id, T0 + 2 * HOUR)
    assert burn(market, T0 + 2 * HOUR) == dollars_h("0.10") + ann.terms.storage
    agent.settle(T0 + 2 * HOUR)
    check(market)


def burn(market: Market, now_ms: int) -> int:
    return market.db.run_now(metering.balance, market.renter, now_ms).burn


def test_a_price_left_out_bids_what_wins(market: Market) -> None:
    agent = market.machine(1)
    ann = bid(market, agent, 1, "0.20", T0).contract
    bob = bid(market, agent, 1, "0.10", T0).contract
    price, outcome = market.db.run_now(bidding.change_bid, market.renter, bob.id, None, T0 + 1)
    assert price == dollars_h("0.201")
    assert outcome is not None
    assert outcome.gpus == (0,)
    market.rent(market.offer(agent, 1), T0 + 2)
    with pytest.raises(errors.Conflict, match="no bid wins"):
        market.db.run_now(bidding.change_bid, market.renter, ann.id, None, T0 + 3)
    check(market)


def test_who_cannot_pay_wins_nothing(market: Market) -> None:
    agent = market.machine(1)
    poor = market.account("poor", "0.40")
    cy = market.rent(market.offer(agent, 1), T0).contract
    agent.settle(T0)
    waits = bid(market, agent, 1, "0.30", T0, renter=poor).contract
    with pytest.raises(errors.InsufficientCredit):
        market.db.run_now(bidding.change_bid, poor, waits.id, dollars_h("9"), T0)
    third = bid(market, agent, 1, "0.10", T0).contract
    # Its disk alone eats up what the first hour of its GPUs would need.
    market.db.run_now(renting.destroy, market.renter, cy.id, T0 + 90 * HOUR)
    agent.settle(T0 + 90 * HOUR)
    assert market.instance(waits.id).reason is Reason.NO_CREDIT
    assert market.held(agent.machine) == {0: third.id}


def test_nobody_changes_the_bid_of_somebody_else_or_of_what_has_none(market: Market) -> None:
    agent = market.machine(2)
    mine = bid(market, agent, 2, "0.20", T0).contract
    firm = market.rent(market.offer(agent, 3), T0).contract
    stranger = market.account("stranger")
    with pytest.raises(errors.NoSuchInstance):
        market.db.run_now(bidding.change_bid, stranger, mine.id, dollars_h("1"), T0)
    with pytest.raises(errors.NoSuchInstance):
        market.db.run_now(bidding.reschedule, stranger, mine.id, T0, anywhere=True)
    with pytest.raises(errors.Conflict, match="has no bid"):
        market.db.run_now(bidding.change_bid, market.renter, firm.id, dollars_h("1"), T0)


def test_a_bid_that_would_not_wait_is_refused_when_it_loses(market: Market) -> None:
    agent = market.machine(1)
    bid(market, agent, 1, "0.20", T0)
    with pytest.raises(errors.OfferTaken, match="higher bid"):
        bid(market, agent, 1, "0.20", T0, cancel_unavailable=True)
    assert bid(market, agent, 1, "0.21", T0, cancel_unavailable=True).outcome is not None


def test_every_verdict_that_changed_something_can_be_replayed(market: Market) -> None:
    agent = market.machine(2)
    ann = bid(market, agent, 1, "0.40", T0).contract
    agent.settle(T0)
    bid(market, agent, 2, "0.15", T0 + 1)
    bid(market, agent, 3, "0.30", T0 + 2)
    market.db.run_now(clearing.clear, agent.machine, T0 + 3)
    catch_up(market, agent, T0 + SIGNAL + 2)
    agent.settle(T0 + SIGNAL + 3)
    market.db.run_now(renting.destroy, market.renter, ann.id, T0 + HOUR)
    agent.settle(T0 + HOUR)
    logged = market.db.run_now(clearings.of_machine, agent.machine, 2**62, 100)
    assert [one.at_ms - T0 for one in reversed(logged)][:3] == [0, 1, 2]
    for one in logged:
        again = auction.clear(one.gpus, one.claims, one.at_ms)
        assert again.outcomes == one.verdict
    assert market.db.run_now(clearings.since, agent.machine, T0 + 2) == list(reversed(logged))[2:]


def test_contract_terms_stay_frozen_but_for_amended_bids(market: Market) -> None:
    agent = market.machine(1)
    ann = bid(market, agent, 1, "0.20", T0).contract
    market.db.run_now(bidding.change_bid, market.renter, ann.id, dollars_h("0.30"), T0 + 1)
    now: Contract = market.db.run_now(contracts.get, ann.id)
    assert now.terms.gpu == dollars_h("0.30")
    assert now.terms.disk == ann.terms.disk
    check(market)
