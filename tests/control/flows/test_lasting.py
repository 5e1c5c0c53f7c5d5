"""Contracts past their first end: extended, repriced by agreement only, warned of, maintained."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from mercato.control.db import Database
from mercato.control.flows import bidding, hosting, lapsing, lasting, metering, renting
from mercato.control.store import (
    contracts,
    events,
    listings,
    maintenances,
    price_increases,
    segments,
)
from mercato.control.store.maintenances import Window
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.listing import BidTerms
from mercato.market.money import NanoUsdPerGbMonth, NanoUsdPerHour, accrued, nano
from tests.control.market import HOUR, PRICES, T0, Agent, Market, open_market
from tests.invariants import broken

END = T0 + 10 * HOUR
LATER = T0 + 20 * HOUR
DEARER = replace(PRICES, gpu=NanoUsdPerHour(nano("0.72")))
CHEAPER = replace(PRICES, gpu=NanoUsdPerHour(nano("0.18")))


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


@pytest.fixture
def agent(market: Market) -> Agent:
    return market.machine(1, end_at_ms=END)


@pytest.fixture
def contract(market: Market, agent: Agent) -> Contract:
    signed = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    return signed


def relist(market: Market, agent: Agent, **asking: Any) -> int:
    """List anew; how many contracts went on."""

    def listed(tx: Any) -> int:
        asked = hosting.Asking(**{"prices": PRICES, "end_at_ms": LATER, **asking})
        listing = hosting.list_machine(tx, market.host, agent.machine, asked, T0 + HOUR)
        return lasting.extend(tx, listing, T0 + HOUR)

    return market.db.run_now(listed)


def asked(market: Market) -> list[price_increases.PriceIncrease]:
    return market.db.run_now(price_increases.unanswered, market.renter)


def kinds(market: Market, contract: Contract) -> list[str]:
    return [event.kind for event in market.db.run_now(events.of_contract, contract.id)]


def test_a_later_end_at_prices_no_higher_extends_at_the_signed_prices(
    market: Market, agent: Agent, contract: Contract
) -> None:
    assert relist(market, agent, prices=CHEAPER) == 1
    now = market.db.run_now(contracts.get, contract.id).terms
    assert now == replace(contract.terms, end_at_ms=LATER)
    assert relist(market, agent, prices=CHEAPER) == 0
    assert lapsing_report(market, contract, END + 1) == {"expired": 0, "purged": 0, "went_on": 0}


def lapsing_report(market: Market, contract: Contract, now_ms: int) -> lapsing.Report:
    return market.db.run_now(lapsing.expire, contract.id, now_ms)


def test_an_earlier_end_takes_nothing_away(
    market: Market, agent: Agent, contract: Contract
) -> None:
    assert relist(market, agent, end_at_ms=END - HOUR) == 0
    assert market.db.run_now(contracts.get, contract.id).terms == contract.terms


def test_a_higher_price_is_asked_and_holds_from_the_old_end_on_once_accepted(
    market: Market, agent: Agent, contract: Contract
) -> None:
    assert relist(market, agent, prices=DEARER) == 0
    (increase,) = asked(market)
    market.db.run_now(lasting.answer, market.renter, increase.id, "accepted", T0 + 2 * HOUR)
    assert market.db.run_now(contracts.get, contract.id).terms == contract.terms
    agent.report(END - 1_000)
    assert lapsing_report(market, contract, END + 5_000)["went_on"] == 1
    assert lapsing_report(market, contract, END + 5_000)["went_on"] == 0
    now = market.db.run_now(contracts.get, contract.id).terms
    assert (now.gpu, now.end_at_ms) == (nano("0.72"), LATER)
    agent.report(END + HOUR)
    paid = nano(100) - market.spendable(END + HOUR)
    storage = accrued(contract.terms.storage, 11 * HOUR)
    assert abs(paid - storage - 10 * nano("0.36") - nano("0.72")) <= 1
    market.audit()


@pytest.mark.parametrize("uniform", [False, True])
def test_a_bid_that_accepts_a_dearer_disk_keeps_its_bid_and_its_gpus(
    market: Market, *, uniform: bool
) -> None:
    agent = market.machine(1, end_at_ms=END, bids=BidTerms(uniform=uniform))
    bids = [
        market.rent(
            market.offer(agent, 1), bid=NanoUsdPerHour(nano(bid)), cancel_unavailable=False
        ).contract
        for bid in ("0.50", "0.30")
    ]
    agent.settle(T0)
    dearer_disk = replace(PRICES, disk=NanoUsdPerGbMonth(2 * PRICES.disk))
    relist(market, agent, prices=dearer_disk)
    for increase in asked(market):
        if increase.contract_id == bids[0].id:
            market.db.run_now(lasting.answer, market.renter, increase.id, "accepted", T0 + HOUR)
    agent.report(END - 1_000)
    assert lapsing_report(market, bids[0], END + 100)["went_on"] == 1
    agent.report(END + 200)
    assert market.held(agent.machine) == {0: bids[0].id}
    assert market.db.run_now(contracts.get, bids[0].id).terms.gpu == nano("0.50")
    assert market.db.run_now(lambda tx: broken(tx.conn)) == {}
    meter = market.db.run_now(segments.running, bids[0].id, metering.GPU)
    assert meter is not None
    assert (meter.rate, meter.from_ms) == (nano("0.30" if uniform else "0.50"), END)


def test_a_bid_that_was_changed_after_the_word_was_given_stays_changed(market: Market) -> None:
    agent = market.machine(1, end_at_ms=END)
    contract = market.rent(market.offer(agent, 1), bid=NanoUsdPerHour(nano("0.50"))).contract
    agent.settle(T0)
    relist(market, agent, prices=replace(PRICES, disk=NanoUsdPerGbMonth(2 * PRICES.disk)))
    market.db.run_now(lasting.answer, market.renter, asked(market)[0].id, "accepted", T0 + HOUR)
    lower = NanoUsdPerHour(nano("0.40"))
    market.db.run_now(bidding.change_bid, market.renter, contract.id, lower, T0 + 2 * HOUR)
    agent.report(END - 1_000)
    lapsing_report(market, contract, END + 100)
    assert market.db.run_now(contracts.get, contract.id).terms.gpu == lower


def test_a_bid_below_a_new_floor_is_raised_to_it_from_its_end_on(market: Market) -> None:
    agent = market.machine(1, end_at_ms=END)
    contract = market.rent(market.offer(agent, 1), bid=NanoUsdPerHour(nano("0.20"))).contract
    agent.settle(T0)
    relist(market, agent, prices=replace(PRICES, bid_floor=NanoUsdPerHour(nano("0.25"))))
    market.db.run_now(lasting.answer, market.renter, asked(market)[0].id, "accepted", T0 + HOUR)
    agent.report(END - 1_000)
    lapsing_report(market, contract, END + 100)
    meters = market.db.run_now(segments.between, market.renter, END, END + HOUR)
    assert {meter.rate for meter in meters if meter.kind == metering.GPU} == {nano("0.25")}


@pytest.mark.parametrize("word", ["rejected", None])
def test_without_the_renters_yes_a_contract_ends_as_it_was_signed(
    market: Market, agent: Agent, contract: Contract, word: str | None
) -> None:
    relist(market, agent, prices=DEARER)
    if word is not None:
        market.db.run_now(lasting.answer, market.renter, asked(market)[0].id, word, T0 + 2 * HOUR)
        relist(market, agent, prices=CHEAPER, end_at_ms=END)
        relist(market, agent, prices=DEARER)
        assert asked(market) == []
    assert lapsing_report(market, contract, END)["expired"] == 1
    assert market.instance(contract.id).reason.value == "expired"


def test_an_answer_counts_once_and_only_from_whom_it_is_asked(
    market: Market, agent: Agent, contract: Contract
) -> None:
    relist(market, agent, prices=DEARER)
    (increase,) = asked(market)
    with pytest.raises(errors.NoPriceIncrease):
        market.db.run_now(lasting.answer, market.host, increase.id, "accepted", T0)
    market.db.run_now(lasting.answer, market.renter, increase.id, "accepted", T0 + HOUR)
    with pytest.raises(errors.NoPriceIncrease):
        market.db.run_now(lasting.answer, market.renter, increase.id, "rejected", T0 + HOUR)
    # A host cannot raise further what was agreed.
    relist(market, agent, prices=replace(DEARER, gpu=NanoUsdPerHour(nano("9"))))
    assert asked(market) == []
    assert kinds(market, contract).count("price_increase_asked") == 1


def test_an_expired_contract_starts_again_when_its_host_extends_it(
    market: Market, agent: Agent, contract: Contract
) -> None:
    lapsing_report(market, contract, END)
    assert relist(market, agent) == 1
    market.db.run_now(renting.start, market.renter, contract.id, END + HOUR)


def test_a_listing_with_a_duration_rolls_on_by_the_day(market: Market) -> None:
    agent = market.machine(1, end_at_ms=T0 + 72 * HOUR, duration="3 days")
    contract = market.rent(market.offer(agent, 1)).contract
    roll: Callable[[int], int] = lambda now: market.db.run_now(lasting.roll, agent.machine, now)  # noqa: E731 - one line says it
    assert roll(T0 + 23 * HOUR) == 0
    assert roll(T0 + 24 * HOUR) == 1
    assert roll(T0 + 24 * HOUR) == 0
    stands = market.db.run_now(listings.on_sale, agent.machine)
    assert stands is not None
    assert stands.listing.end_at_ms == T0 + 96 * HOUR
    assert market.db.run_now(contracts.get, contract.id).terms.end_at_ms == T0 + 96 * HOUR


def test_a_renter_is_warned_a_week_a_day_and_an_hour_before(market: Market) -> None:
    agent = market.machine(1, end_at_ms=T0 + 200 * HOUR)
    contract = market.rent(market.offer(agent, 1)).contract
    warned = [
        market.db.run_now(lasting.warn, contract.id, T0 + hour * HOUR)
        for hour in (0, 31, 32, 100, 176, 177, 199, 199)
    ]
    assert warned == [0, 0, 1, 0, 1, 0, 1, 0]


def test_maintenance_is_announced_to_renters_and_called_off(
    market: Market, agent: Agent, contract: Contract
) -> None:
    window = Window(from_ms=T0 + HOUR, to_ms=T0 + 3 * HOUR, category="power", reason="new fuse")

    def announce(announced: Window) -> None:
        market.db.run_now(lasting.announce, market.host, agent.machine, announced, T0)

    announce(window)
    (stands,) = market.db.run_now(maintenances.coming, [agent.machine], T0)
    assert (stands.from_ms, stands.category) == (T0 + HOUR, "power")
    assert "maintenance_announced" in kinds(market, contract)
    assert market.db.run_now(lasting.call_off, market.host, agent.machine, T0) == 1
    assert market.db.run_now(lasting.call_off, market.host, agent.machine, T0) == 0
    for bad in (
        replace(window, category="fun"),
        replace(window, to_ms=T0),
        replace(window, from_ms=0),
    ):
        with pytest.raises(errors.InvalidRequest):
            announce(bad)
    with pytest.raises(errors.NotFound):
        market.db.run_now(lasting.announce, market.renter, agent.machine, window, T0)
