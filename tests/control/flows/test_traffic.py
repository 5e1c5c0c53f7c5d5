"""Bytes are the host's word: it is paid what its renter can bear, and the house adds nothing."""

import pytest
from msgspec.structs import replace

from mercato.control.db import Database, Tx
from mercato.control.flows import (
    billing,
    hosting,
    lapsing,
    metering,
    paying,
    renting,
    reserving,
)
from mercato.control.flows.sealing import seal, statement
from mercato.control.loops.money import money_loops
from mercato.control.store import events, purses, transfers
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.ids import AccountId
from mercato.market.instance import Intended, Reason
from mercato.market.ledger import deposit_of
from mercato.market.limits import Scope
from mercato.market.money import NanoUsd, NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from mercato.market.traffic import LINK_BYTES_PER_S
from mercato.market.usage import checked
from mercato.wire.sealing import Checker
from tests.control.flows.test_limiting import stored_limit
from tests.control.market import HOUR, MINUTE, PRICES, T0, Agent, Market, open_market
from tests.invariants import broken

GB = 10**9
TB = 10**12
DEAR = {
    "gpu": NanoUsdPerHour(nano(1)),
    "disk": NanoUsdPerGbMonth(0),
    "up": NanoUsdPerGb(nano(10)),
}


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def rented(market: Market, agent: Agent, renter: AccountId, node: int = 1) -> Contract:
    contract = market.rent(market.offer(agent, node), renter=renter).contract
    agent.settle(T0)
    return contract


def run(market: Market, now_ms: int, *names: str) -> None:
    """Run loops of money; what must hold holds."""
    for loop in money_loops(market.db, market.house):
        if loop.name in names:
            assert "failed" not in loop.activate(now_ms), loop.name
    market.audit()
    assert market.db.run_now(lambda tx: broken(tx.conn)) == {}


def earned(market: Market) -> int:
    return market.db.run_now(metering.balance, market.host, T0).earnings


def house(market: Market) -> int:
    return market.db.run_now(transfers.sums).get("fees", 0)


def billed(market: Market, renter: AccountId, until_ms: int) -> int:
    lines = market.db.run_now(billing.lines, renter, 0, until_ms + 1, until_ms)
    return sum(line.amount for line in lines)


def replayed(market: Market, renter: AccountId, now_ms: int) -> int:
    """What a renter's signed records come to, recomputed from them alone."""
    signer = market.house.signer
    while market.db.run_now(seal, signer):
        pass
    file = market.db.run_now(statement, signer, renter, 0, "http://market", now_ms)
    return sum(checked(file, Checker.of(signer.public_key).is_signed).values())


def test_a_host_is_paid_no_more_than_the_purse_bears_whatever_it_counts(market: Market) -> None:
    agent = market.machine(1, prices=DEAR)
    poor = market.account("poor", "5")
    contract = rented(market, agent, poor)
    now_ms = T0 + HOUR
    agent.moved(contract.id, now_ms, up=10 * TB)  # a hundred thousand dollars' worth
    run(market, now_ms, "meter")
    assert earned(market) == nano(5)
    assert house(market) == 0
    assert market.spendable(now_ms, poor) == 0
    assert billed(market, poor, now_ms) == replayed(market, poor, now_ms) == nano(5)
    run(market, now_ms, "meter")
    assert replayed(market, poor, now_ms) == nano(5), "the rest is not owed later either"


def test_what_nobody_can_bear_at_all_is_on_the_bill_and_costs_nothing(market: Market) -> None:
    agent = market.machine(1, prices=DEAR)
    contract = rented(market, agent, market.renter)
    stored_limit(market, Scope.INSTANCE, contract.id, 2)
    agent.moved(contract.id, T0 + MINUTE, up=200 * GB)
    run(market, T0 + MINUTE, "meter")
    agent.moved(contract.id, T0 + 2 * MINUTE, up=3 * GB)
    run(market, T0 + 2 * MINUTE, "meter")
    lines = market.db.run_now(billing.lines, market.renter, 0, T0 + HOUR, T0 + 2 * MINUTE)
    last = [line for line in lines if line.start_ms == T0 + 2 * MINUTE]
    assert [(line.kind, line.amount) for line in last] == [("up", nano(30)), ("up", -nano(30))]
    assert last[1].note == "not charged: more than credit and limits bear"
    assert house(market) == 0


def test_bytes_take_nothing_that_other_meters_have_run_up(market: Market) -> None:
    honest, dear = (
        market.machine(1, prices={**DEAR, "up": NanoUsdPerGb(0)}),
        market.machine(1, prices=DEAR),
    )
    renter = market.account("two", "20")
    works, talks = rented(market, honest, renter), rented(market, dear, renter)
    now_ms = T0 + 5 * HOUR
    honest.report(now_ms)
    dear.moved(talks.id, now_ms, up=TB)
    run(market, now_ms, "meter")
    assert earned(market) == nano(5 + 10), "five hours of one, five hours and ten dollars of bytes"
    market.db.run_now(lapsing.settle, works.id, now_ms)
    assert earned(market) == nano(20)
    assert house(market) == 0


def test_bytes_give_back_no_gpu_time_that_was_used_before(market: Market) -> None:
    prices = {**DEAR, "disk": NanoUsdPerGbMonth(nano("7.2"))}  # 10 GB: 0.1 dollars an hour
    agent = market.machine(1, prices=prices)
    renter = market.account("ten", "20")
    contract = rented(market, agent, renter)
    now_ms = T0 + 5 * HOUR
    agent.moved(contract.id, now_ms, up=TB)
    market.db.run_now(paying.add_credit, renter, nano(1), "more", now_ms)  # credit is looked at
    run(market, now_ms, "credit")
    assert market.instance(contract.id).reason is Reason.NO_CREDIT
    assert earned(market) == nano(21) - nano("0.5"), "all but what the disk has run up"
    assert house(market) == 0


def listed_before_there_was_a_cap(tx: Tx) -> None:
    tx.run("update listings set up = %s", nano(1_000_000))


def test_no_figure_of_a_host_stops_a_loop_or_an_end(market: Market) -> None:
    agent = market.machine(2)
    market.db.run_now(listed_before_there_was_a_cap)
    poor = market.account("poor", "15")
    contract = rented(market, agent, poor, node=2)
    rich = rented(market, agent, market.renter, node=3)
    stored_limit(market, Scope.ACCOUNT, market.renter, 50)
    now_ms = T0 + HOUR
    for one in (contract, rich):
        agent.moved(one.id, now_ms, up=10**30, down=10**30)
    assert market.instance(contract.id).up_bytes < 2 * LINK_BYTES_PER_S * 3_600
    run(market, now_ms, "credit", "limits")
    agent.settle(now_ms)
    run(market, now_ms, "meter", "credit", "limits")
    agent.settle(now_ms + MINUTE)
    market.db.run_now(renting.destroy, poor, contract.id, now_ms + MINUTE)
    agent.settle(now_ms + MINUTE)
    assert market.instance(contract.id).intended is Intended.DESTROYED
    assert earned(market) <= nano(15 + 50) - house(market)
    assert -house(market) <= nano("0.001"), "a minute of storage that was late, and nothing else"


def test_who_prepaid_all_its_credit_pays_traffic_from_the_deposit(market: Market) -> None:
    prices = {**DEAR, "up": NanoUsdPerGb(nano("0.1"))}
    agent = market.machine(1, prices=prices, end_at_ms=T0 + 3_000 * HOUR)
    renter = market.account("prepaid", "1000")
    contract = rented(market, agent, renter)
    credit = NanoUsd(market.spendable(T0, renter))
    market.db.run_now(reserving.prepay, renter, contract.id, credit, "all", T0)
    for hour in range(1, 20):
        agent.moved(contract.id, T0 + hour * HOUR, up=1_000 * GB)
        run(market, T0 + hour * HOUR, "meter", "credit", "limits")
    assert market.db.run_now(purses.balance, deposit_of(contract.id)) == 0
    assert market.instance(contract.id).intended is not Intended.RUNNING
    assert earned(market) >= credit
    assert -house(market) <= nano(1), "an hour of GPU time: the loops of this test look that often"


def test_what_is_not_believed_is_said_once(market: Market) -> None:
    agent = market.machine(1)
    contract = rented(market, agent, market.renter)
    for seconds in (10, 20, 30):
        agent.moved(contract.id, T0 + 1_000 * seconds, up=TB)
    most = LINK_BYTES_PER_S * (30 + 5)
    assert market.instance(contract.id).up_bytes == most
    told = [
        one.machine_id
        for one in market.db.run_now(events.of_account, market.host, 100)
        if one.kind == "traffic_not_believed"
    ]
    assert told == [agent.machine]


def test_a_price_of_traffic_is_capped_but_for_what_stands(market: Market) -> None:
    agent = market.machine(1)
    dear = replace(PRICES, down=NanoUsdPerGb(nano("10.01")))
    with pytest.raises(errors.InvalidPrice, match="`down` must be from 0 to 10 dollars"):
        market.db.run_now(
            hosting.list_machine, market.host, agent.machine, hosting.Asking(prices=dear), T0
        )
    market.db.run_now(listed_before_there_was_a_cap)
    floor = NanoUsdPerHour(nano("0.2"))
    listing = market.db.run_now(hosting.set_min_bid, market.host, agent.machine, floor, T0)
    assert (listing.prices.bid_floor, listing.prices.up) == (floor, nano(1_000_000))
