"""The verbs of bids, spending limits and standing orders, for deeds.py's table."""

from typing import Final

import msgspec

from mercato.control.flows import (
    background,
    bidding,
    clearing,
    enforcing,
    hosting,
    limiting,
    ordering,
    pricing,
    renting,
    sealing,
)
from mercato.control.flows.limiting import Wish
from mercato.control.store.standing_orders import StoredOrder
from mercato.market.contract import Contract
from mercato.market.ids import ContractId
from mercato.market.launch import Launch
from mercato.market.limits import Action, Limit, Period, Scope
from mercato.market.money import NanoUsd, NanoUsdPerHour, nano
from tests.control.flows.deeds import ANEW, NOTHING, NOW, REFUSED, Deed, Table, running, stopped
from tests.control.market import HOUR, T0, Agent, Market, request

CASES: Final = Table()
of = CASES.of


# --- Bids -----------------------------------------------------------------------------------------


def _bid(market: Market, dollars: str, now_ms: int = T0) -> tuple[Agent, Contract]:
    """Four GPUs that run by bid."""
    agent = market.machine(4)
    bid = NanoUsdPerHour(nano(dollars))
    contract = market.rent(market.offer(agent, 1), now_ms, bid=bid).contract
    agent.settle(now_ms)
    agent.report(T0 + 5_000)
    return agent, contract


def _outbid(market: Market) -> tuple[Agent, ContractId]:
    """A bid that was given notice by an on-demand rental."""
    agent, loser = _bid(market, "0.80")
    market.rent(market.offer(agent, 1), T0 + 6_000)
    agent.report(T0 + 7_000)
    return agent, loser.id


@of(bidding.change_bid, NOTHING)
def change_bid(market: Market) -> Deed:
    _, contract = _bid(market, "0.80")
    price = NanoUsdPerHour(nano("0.90"))
    return lambda tx: bidding.change_bid(tx, market.renter, contract.id, price, NOW)


@of(bidding.change_bid, NOTHING)
def change_bid_and_win(market: Market) -> Deed:
    agent, _ = _bid(market, "0.80")
    low = NanoUsdPerHour(nano("0.50"))
    waits = market.rent(market.offer(agent, 1), T0 + 6_000, bid=low, cancel_unavailable=False)
    price = NanoUsdPerHour(nano("0.90"))
    return lambda tx: bidding.change_bid(tx, market.renter, waits.contract.id, price, NOW)


@of(bidding.reschedule, ANEW)
def reschedule(market: Market) -> Deed:
    _, contract = _bid(market, "0.80")
    return lambda tx: bidding.reschedule(tx, market.renter, contract.id, NOW, anywhere=True)


@of(clearing.catch_up, NOTHING)
def catch_up(market: Market) -> Deed:
    agent, _ = _outbid(market)
    agent.report(T0 + 130_000)
    return lambda tx: clearing.catch_up(tx, agent.machine, T0 + 131_000)


# --- The host's own job --------------------------------------------------------------------------


def _job(image: str = "miner", dollars: str = "0.20") -> background.Job:
    price = NanoUsdPerHour(nano(dollars))
    return background.Job(launch=Launch(image=image, ssh=False), disk_mb=10_000, price=price)


def _mining(market: Market) -> Agent:
    """A machine let only as a whole, which its own host's job has."""
    agent = market.machine(4, min_chunk=4)
    minted = [market.mint()]
    market.db.run_now(
        background.set_job,
        *(market.host, agent.machine, _job(), minted, T0),
        house=market.house,
    )
    agent.settle(T0)
    agent.report(T0 + 5_000)
    return agent


@of(background.set_job, NOTHING)
def set_job(market: Market) -> Deed:
    agent = market.machine(4, min_chunk=4)
    minted, job, house = [market.mint()], _job(), market.house
    return lambda tx: background.set_job(
        tx, market.host, agent.machine, job, minted, NOW, house=house
    )


@of(background.remove_job, REFUSED)
def remove_job(market: Market) -> Deed:
    agent = _mining(market)
    return lambda tx: background.remove_job(tx, market.host, agent.machine, NOW)


@of(hosting.delete_machine, REFUSED)
def delete_machine_with_its_job(market: Market) -> Deed:
    agent = _mining(market)
    return lambda tx: hosting.delete_machine(tx, market.host, agent.machine, NOW)


@of(renting.rent, REFUSED)
def rent_what_a_job_holds(market: Market) -> Deed:
    agent = _mining(market)
    offer, minted, house = market.offer(agent, 1), market.mint(), market.house
    return lambda tx: renting.rent(tx, market.renter, offer, request(), NOW, minted, house=house)


# --- Limits ---------------------------------------------------------------------------------------


def _wish(market: Market, dollars: str, period: Period = Period.DAY) -> Wish:
    return Wish(
        scope=Scope.ACCOUNT,
        scope_id=market.renter,
        period=period,
        amount=NanoUsd(nano(dollars)),
        action=Action.STOP,
    )


def _limited(market: Market, dollars: str = "5", period: Period = Period.DAY) -> Limit:
    return market.db.run_now(
        limiting.set_limit, market.renter, _wish(market, dollars, period), T0 + 5_000
    )


@of(limiting.set_limit, NOTHING)
def set_limit(market: Market) -> Deed:
    running(market)
    return lambda tx: limiting.set_limit(tx, market.renter, _wish(market, "5"), NOW)


@of(limiting.change, NOTHING)
def change_limit(market: Market) -> Deed:
    running(market)
    limit, amount = _limited(market), NanoUsd(nano(7))
    return lambda tx: limiting.change(tx, market.renter, limit.id, amount, Action.NOTIFY, NOW)


@of(limiting.remove, REFUSED)
def remove_limit(market: Market) -> Deed:
    running(market)
    limit = _limited(market)
    return lambda tx: limiting.remove(tx, market.renter, limit.id, NOW)


@of(enforcing.look, NOTHING)
def look_and_stop(market: Market) -> Deed:
    agent, _ = running(market)
    limit = _limited(market, "2")
    agent.report(T0 + 6 * HOUR)
    return lambda tx: enforcing.look(tx, limit.id, T0 + 6 * HOUR)


@of(enforcing.look, NOTHING)
def look_and_end(market: Market) -> Deed:
    agent, _ = running(market)
    limit = _limited(market, "2", Period.TOTAL)
    agent.report(T0 + 6 * HOUR)
    market.db.run_now(enforcing.look, limit.id, T0 + 6 * HOUR)
    agent.settle(T0 + 6 * HOUR)
    return lambda tx: enforcing.look(tx, limit.id, T0 + 20_000 * HOUR)


# --- Standing orders ------------------------------------------------------------------------------


def _order(market: Market, expires_at_ms: int = T0 + HOUR) -> StoredOrder:
    return StoredOrder(
        id=0,
        account_id=market.renter,
        query={},
        price_max=NanoUsdPerHour(nano(10)),
        sealed_request=market.house.box.seal(msgspec.json.encode(request()).decode()),
        label=None,
        image="debian",
        state="resting",
        message="",
        contract_id=None,
        created_at_ms=T0,
        expires_at_ms=expires_at_ms,
        closed_at_ms=None,
    )


def _placed(market: Market) -> StoredOrder:
    return market.db.run_now(ordering.place, _order(market), T0)


@of(ordering.place, ANEW)
def place(market: Market) -> Deed:
    order = _order(market)
    return lambda tx: ordering.place(tx, order, NOW)


@of(ordering.fill, NOTHING)
def fill(market: Market) -> Deed:
    offer, minted = market.offer(market.machine(4), 2), market.mint()
    order = _placed(market)
    return lambda tx: ordering.fill(tx, order.id, offer, minted, NOW, market.house)


@of(ordering.fail, NOTHING)
def fail(market: Market) -> Deed:
    order = _placed(market)
    return lambda tx: ordering.fail(tx, order.id, "its image cannot be", NOW)


@of(ordering.expire, NOTHING)
def expire(market: Market) -> Deed:
    order = _placed(market)
    return lambda tx: ordering.expire(tx, order.id, T0 + HOUR)


@of(ordering.cancel, REFUSED)
def cancel(market: Market) -> Deed:
    order = _placed(market)
    return lambda tx: ordering.cancel(tx, market.renter, order.id, NOW)


# --- What is written down -------------------------------------------------------------------------


@of(pricing.write_hour, NOTHING)
def write_hour(market: Market) -> Deed:
    running(market)
    return lambda tx: pricing.write_hour(tx, NOW)


@of(sealing.seal, NOTHING)
def seal(market: Market) -> Deed:
    stopped(market)
    return lambda tx: sealing.seal(tx, market.house.signer)
