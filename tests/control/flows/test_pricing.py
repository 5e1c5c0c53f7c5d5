"""What GPUs cost, read off a market: asks, what is paid, what is free, how long bids held."""

import pytest

from mercato.control.db import Database
from mercato.control.flows import clearing, pricing
from mercato.control.store import prices
from mercato.market.money import NanoUsdPerHour, nano
from mercato.market.prices import Weighted
from tests.control.market import HOUR, T0, Market, open_market

MODEL = "RTX 4090"


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db, bids_sold=True)


def test_a_market_tells_what_its_gpus_cost(market: Market) -> None:
    agent = market.machine(4)
    market.rent(market.offer(agent, 2))
    market.rent(market.offer(agent, 6), bid=NanoUsdPerHour(nano("0.20")))
    agent.settle(T0)
    (hour,) = market.db.run_now(pricing.now, T0 + 5)
    assert (hour.gpu_name, hour.gpus_offered, hour.gpus_rented) == (MODEL, 4, 3)
    assert (hour.ask_p10, hour.ask_p90, hour.paid_p50) == (nano("0.36"),) * 3
    assert hour.bid_p50 == nano("0.20")
    assert market.db.run_now(pricing.free, MODEL) == [Weighted(nano("0.36"), 1)]
    assert market.db.run_now(pricing.free, "no such model") == []


def test_each_hour_is_written_once_and_read_in_order(market: Market) -> None:
    market.machine(4)
    wrote = [market.db.run_now(pricing.write_hour, T0 + hour * HOUR // 2) for hour in range(4)]
    assert sum(wrote) in {2, 3}
    hours = market.db.run_now(prices.history, MODEL, 0)
    assert [one.hour_ms for one in hours] == sorted({one.hour_ms for one in hours})
    assert len(hours) == sum(wrote)


def test_how_long_a_bid_held_and_whether_it_was_displaced(market: Market) -> None:
    agent = market.machine(1)
    market.rent(market.offer(agent, 1), bid=NanoUsdPerHour(nano("0.20")))
    agent.settle(T0)
    (running,) = market.db.run_now(prices.spells, MODEL, 0, T0 + HOUR)
    assert (running.price, running.displaced) == (nano("0.20"), False)
    assert 0 < running.lasted_ms <= HOUR
    other = market.account("other")
    market.rent(market.offer(agent, 1), T0 + HOUR, other, bid=NanoUsdPerHour(nano("0.30")))
    later = T0 + HOUR + market.house.rules.offline_after_ms + 10_000
    for at_ms in range(T0 + HOUR, later + 120_000, 30_000):
        agent.settle(at_ms)
        market.db.run_now(clearing.catch_up, agent.machine, at_ms, market.house.rules)
    found = {one.price: one for one in market.db.run_now(prices.spells, MODEL, 0, later + 120_000)}
    assert found[nano("0.20")].displaced
    assert not found[nano("0.30")].displaced
