"""The host's own job: everywhere nobody rents, at once out of everybody's way, free."""

from collections.abc import Sequence

import pytest

from mercato.control.db import Database
from mercato.control.flows import background, billing, hosting, lapsing, metering, pricing, renting
from mercato.control.flows.background import Job
from mercato.control.store import clearings, contracts, listings, machine_views
from mercato.market import errors
from mercato.market.contract import Kind
from mercato.market.ids import ContractId
from mercato.market.instance import Actual, Intended, Reason
from mercato.market.launch import Launch
from mercato.market.money import NanoUsdPerHour, nano
from tests.control.market import HOUR, T0, Agent, Market, open_market


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def job(image: str = "miner", price: str | None = None, disk_mb: int = 10_000) -> Job:
    worth = None if price is None else NanoUsdPerHour(nano(price))
    return Job(launch=Launch(image=image, ssh=False), disk_mb=disk_mb, price=worth)


def put(market: Market, agent: Agent, wanted: Job, at_ms: int = T0) -> list[ContractId]:
    minted = [market.mint() for _ in range(8)]
    return market.db.run_now(
        background.set_job,
        *(market.host, agent.machine, wanted, minted, at_ms),
        house=market.house,
    )


def mining(market: Market, agent: Agent, at_ms: int = T0) -> list[ContractId]:
    """A job on every slice, running."""
    made = put(market, agent, job(), at_ms)
    agent.settle(at_ms)
    return made


def runs(agent: Agent, contracts: Sequence[ContractId]) -> list[bool]:
    return [one in agent.actual and agent.actual[one].actual is Actual.RUNNING for one in contracts]


@pytest.mark.parametrize("bid", [None, "0.10"])
def test_it_stops_at_once_where_somebody_rents_and_resumes_where_nobody_does(
    market: Market, bid: str | None
) -> None:
    agent = market.machine(4)
    made = mining(market, agent)
    assert runs(agent, made) == [True] * 4
    price = None if bid is None else NanoUsdPerHour(2 * nano(bid))
    signed = market.rent(market.offer(agent, 2), T0 + 1_000, bid=price)
    rented = signed.contract.id
    assert not signed.holds_gpus
    agent.settle(T0 + 1_000)
    assert market.held(agent.machine) == {0: rented, 1: rented, 2: made[2], 3: made[3]}
    agent.settle(T0 + 1_000)
    assert runs(agent, [rented, *made]) == [True, False, False, True, True]
    reason = Reason.ON_DEMAND if bid is None else Reason.OUTBID
    assert market.instance(made[0]).reason is reason
    market.audit()
    market.db.run_now(renting.destroy, market.renter, rented, T0 + HOUR)
    agent.settle(T0 + HOUR)
    agent.settle(T0 + HOUR)
    assert runs(agent, made) == [True] * 4
    assert market.instance(made[0]).reason is Reason.RESUMED
    market.audit()


def test_nobody_pays_or_earns_anything_and_no_credit_is_needed(market: Market) -> None:
    agent = market.machine(4)
    mining(market, agent)
    agent.report(T0 + 9 * HOUR)
    bill = market.db.run_now(billing.lines, market.host, 0, T0 + 9 * HOUR, T0 + 9 * HOUR)
    assert sum(line.amount for line in bill) == 0
    balance = market.db.run_now(metering.balance, market.host, T0 + 9 * HOUR)
    assert (balance.earnings, balance.burn, balance.spendable) == (0, 0, 0)
    [view] = market.db.run_now(machine_views.of_host, market.host)
    assert (view.gpu_rate, view.rentals, view.job) == (0, 0, Launch(image="miner", ssh=False))


def test_it_is_no_rental_where_rentals_are_counted(market: Market) -> None:
    agent = market.machine(4)
    mining(market, agent)
    [hour] = market.db.run_now(pricing.now, T0)
    assert (hour.gpus_offered, hour.gpus_rented, hour.paid_p50) == (4, 0, None)
    assert sum(one.gpus for one in market.db.run_now(pricing.free, hour.gpu_name)) == 4


def test_the_public_log_says_for_whom_it_waits(market: Market) -> None:
    agent = market.machine(1)
    [mine] = mining(market, agent)
    market.rent(market.offer(agent, 1), T0 + 1_000, bid=NanoUsdPerHour(nano("0.10")))
    agent.settle(T0 + 1_000)
    last = market.db.run_now(clearings.of_machine, agent.machine, 1 << 60, 1)[0]
    [claim] = [one for one in last.claims if one.contract == mine]
    assert claim.kind is Kind.BACKGROUND
    [outcome] = [one for one in last.verdict if one.contract == mine]
    assert (outcome.gpus, outcome.why) == (None, Reason.OUTBID)


def test_its_price_is_where_bids_begin(market: Market) -> None:
    agent = market.machine(2)
    put(market, agent, job(price="0.25"))
    with pytest.raises(errors.InvalidPrice, match=r"\$0\.25"):
        market.rent(market.offer(agent, 2), bid=NanoUsdPerHour(nano("0.20")))
    put(market, agent, job(price="0.05"), T0 + 1_000)
    stands = market.db.run_now(listings.on_sale, agent.machine)
    assert stands is not None
    assert stands.listing.prices.bid_floor == nano("0.25"), "it is raised, and never lowered"


def test_another_takes_its_place_and_removed_it_is_gone(market: Market) -> None:
    agent = market.machine(2)
    first = mining(market, agent)
    second = put(market, agent, job("folding"), T0 + 1_000)
    agent.settle(T0 + 1_000)
    agent.settle(T0 + 1_000)
    assert runs(agent, [*first, *second]) == [False, False, True, True]
    assert put(market, agent, job("folding"), T0 + 2_000) == second
    assert market.db.run_now(background.remove_job, market.host, agent.machine, T0 + 3_000) == 2
    agent.settle(T0 + 3_000)
    assert market.held(agent.machine) == {}
    with pytest.raises(errors.NotFound, match="no background job"):
        market.db.run_now(background.remove_job, market.host, agent.machine, T0 + 4_000)
    market.db.run_now(hosting.delete_machine, market.host, agent.machine, T0 + 5_000)
    market.audit()


def test_it_ends_with_its_machine_which_a_renters_contract_keeps(market: Market) -> None:
    agent = market.machine(2)
    made = mining(market, agent)
    rented = market.rent(market.offer(agent, 2), T0 + 1_000).contract.id
    agent.settle(T0 + 1_000)
    with pytest.raises(errors.Conflict, match=r"1 contract\(s\) of renters"):
        market.db.run_now(hosting.delete_machine, market.host, agent.machine, T0 + 2_000)
    market.db.run_now(renting.destroy, market.renter, rented, T0 + 2_000)
    agent.settle(T0 + 2_000)
    agent.settle(T0 + 2_000)
    assert runs(agent, made) == [True, True]
    market.db.run_now(hosting.delete_machine, market.host, agent.machine, T0 + 3_000)
    assert market.held(agent.machine) == {}
    assert market.db.run_now(contracts.live_on, agent.machine) == {}
    market.audit()
    # Its agent, while it is still heard, ends what runs, and then hears that it is not needed.
    assert agent.report(T0 + 4_000).instances == ()
    agent.obey(T0 + 4_000)
    assert runs(agent, made) == [False, False]
    with pytest.raises(errors.NotFound, match="join again"):
        agent.report(T0 + 5_000)


def test_it_takes_the_smallest_slices_that_are_sold(market: Market) -> None:
    agent = market.machine(4, min_chunk=2)
    made = mining(market, agent)
    assert market.held(agent.machine) == {0: made[0], 1: made[0], 2: made[1], 3: made[1]}


def test_it_outlives_the_listing_and_its_host_running_dry_elsewhere(market: Market) -> None:
    agent = market.machine(1, end_at_ms=T0 + HOUR)
    [mine] = mining(market, agent)
    market.db.run_now(lapsing.unlist, agent.machine, T0 + HOUR)
    agent.settle(T0 + 2 * HOUR)
    assert market.instance(mine).intended is Intended.RUNNING
    assert market.db.run_now(lapsing.silent, agent.machine, T0 + 3 * HOUR, T0 + 3 * HOUR) == 1
    agent.settle(T0 + 4 * HOUR)
    assert runs(agent, [mine]) == [True]


def test_what_cannot_be_set(market: Market) -> None:
    agent = market.machine(1)
    with pytest.raises(errors.NotFound):
        market.db.run_now(
            background.set_job,
            *(market.renter, agent.machine, job(), [market.mint()], T0),
            house=market.house,
        )
    with pytest.raises(errors.InvalidRequest, match="disk"):
        put(market, agent, job(disk_mb=9_000_000))
    market.db.run_now(hosting.unlist_machine, market.host, agent.machine, T0)
    with pytest.raises(errors.Conflict, match="list it first"):
        put(market, agent, job())
    assert market.held(agent.machine) == {}
