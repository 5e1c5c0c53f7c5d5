"""The verbs of hosts, of volumes and of time itself, for deeds.py's table."""

from typing import Final

from msgspec.structs import replace

from mercato.control.db import Tx
from mercato.control.flows import hosting, lapsing, lasting, volumes
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.store import price_increases
from mercato.control.store.maintenances import Window
from mercato.market.contract import Contract
from mercato.market.money import NanoUsdPerGbMonth, NanoUsdPerHour, nano
from tests.control.flows.deeds import (
    ANEW,
    NOTHING,
    NOW,
    REFUSED,
    Deed,
    Table,
    running,
    volume,
)
from tests.control.market import HOUR, PRICES, T0, Agent, Market, hardware

CASES: Final = Table()
of = CASES.of


# --- Hosting --------------------------------------------------------------------------------------


@of(hosting.issue_join_token, REFUSED)
def issue_join_token(market: Market) -> Deed:
    return lambda tx: hosting.issue_join_token(tx, market.host, "token", NOW)


@of(hosting.join, REFUSED)
def join(market: Market) -> Deed:
    market.db.run_now(hosting.issue_join_token, market.host, "token", T0)
    return lambda tx: hosting.join(tx, "token", hardware(4), "key", NOW)


@of(hosting.list_machine, NOTHING)
def list_machine(market: Market) -> Deed:
    agent, _ = running(market)
    asking = hosting.Asking(prices=replace(PRICES, gpu=NanoUsdPerHour(1)))
    return lambda tx: hosting.list_machine(tx, market.host, agent.machine, asking, NOW)


@of(hosting.unlist_machine, NOTHING)
def unlist_machine(market: Market) -> Deed:
    agent, _ = running(market)
    return lambda tx: hosting.unlist_machine(tx, market.host, agent.machine, NOW)


@of(hosting.set_min_bid, NOTHING)
def set_min_bid(market: Market) -> Deed:
    agent, _ = running(market)
    floor = NanoUsdPerHour(7)
    return lambda tx: hosting.set_min_bid(tx, market.host, agent.machine, floor, NOW)


@of(hosting.delete_machine, REFUSED)
def delete_machine(market: Market) -> Deed:
    agent = market.machine(4)
    return lambda tx: hosting.delete_machine(tx, market.host, agent.machine, NOW)


@of(hosting.verify, ANEW)
def verify(market: Market) -> Deed:
    agent, _ = running(market)
    return lambda tx: hosting.verify(tx, agent.machine, "verified", NOW)


@of(lasting.announce, ANEW)
def announce(market: Market) -> Deed:
    agent, _ = running(market)
    window = Window(from_ms=NOW + HOUR, to_ms=NOW + 2 * HOUR, category="power", reason="cable")
    return lambda tx: lasting.announce(tx, market.host, agent.machine, window, NOW)


@of(lasting.call_off, NOTHING)
def call_off(market: Market) -> Deed:
    agent, _ = running(market)
    window = Window(from_ms=NOW + HOUR, to_ms=NOW + 2 * HOUR, category="power", reason="cable")
    market.db.run_now(lasting.announce, market.host, agent.machine, window, T0)
    return lambda tx: lasting.call_off(tx, market.host, agent.machine, NOW)


# --- Volumes --------------------------------------------------------------------------------------


@of(volumes.list_volumes, NOTHING)
def list_volumes(market: Market) -> Deed:
    agent, _ = running(market)
    price = NanoUsdPerGbMonth(nano("0.10"))
    return lambda tx: volumes.list_volumes(tx, market.host, agent.machine, 1_000, price, NOW)


@of(volumes.unlist_volumes, REFUSED)
def unlist_volumes(market: Market) -> Deed:
    volume(market, market.machine(4))
    return lambda tx: volumes.unlist_volumes(tx, market.host, 1, NOW)


@of(volumes.create, ANEW)
def create_volume(market: Market) -> Deed:
    source = volume(market, market.machine(4))
    asked = VolumeRequest(offer=1, size_mb=100_000, clone_of=source.id)
    return lambda tx: volumes.create(tx, market.renter, asked, NOW)


@of(volumes.delete, REFUSED)
def delete_volume(market: Market) -> Deed:
    let = volume(market, market.machine(4))
    return lambda tx: volumes.delete(tx, market.renter, let.id, NOW)


@of(volumes.expire, NOTHING)
def expire_volume(market: Market) -> Deed:
    let = volume(market, market.machine(4, end_at_ms=T0 + HOUR))
    return lambda tx: volumes.expire(tx, let.id, T0 + 50 * HOUR)


# --- Time -----------------------------------------------------------------------------------------


@of(lapsing.settle, NOTHING)
def settle(market: Market) -> Deed:
    agent, contract = running(market)
    agent.report(T0 + HOUR)
    return lambda tx: lapsing.settle(tx, contract.id, T0 + HOUR)


def _ending(market: Market) -> tuple[Agent, Contract]:
    agent = market.machine(4, end_at_ms=T0 + HOUR)
    contract = market.rent(market.offer(agent, 2)).contract
    agent.settle(T0)
    agent.report(T0 + HOUR)
    return agent, contract


@of(lapsing.expire, NOTHING)
def expire_stops(market: Market) -> Deed:
    _, contract = _ending(market)
    return lambda tx: lapsing.expire(tx, contract.id, T0 + HOUR)


@of(lapsing.expire, NOTHING)
def expire_purges(market: Market) -> Deed:
    _, contract = _ending(market)
    return lambda tx: lapsing.expire(tx, contract.id, T0 + 50 * HOUR)


def _dearer(market: Market, agent: Agent) -> int:
    """The host asks more to go on; the id of the question."""
    asking = hosting.Asking(
        prices=replace(PRICES, gpu=NanoUsdPerHour(nano("0.72"))), end_at_ms=T0 + 20 * HOUR
    )

    def ask(tx: Tx) -> int:
        listing = hosting.list_machine(tx, market.host, agent.machine, asking, T0 + HOUR // 2)
        lasting.extend(tx, listing, T0 + HOUR // 2)
        return price_increases.unanswered(tx, market.renter)[0].id

    return market.db.run_now(ask)


@of(lasting.answer, REFUSED)
def answer(market: Market) -> Deed:
    agent, _ = _ending(market)
    asked = _dearer(market, agent)
    return lambda tx: lasting.answer(tx, market.renter, asked, "accepted", NOW)


@of(lapsing.expire, NOTHING)
def expire_and_go_on_at_higher_prices(market: Market) -> Deed:
    agent, contract = _ending(market)
    asked = _dearer(market, agent)
    market.db.run_now(lasting.answer, market.renter, asked, "accepted", T0 + HOUR // 2)
    return lambda tx: lapsing.expire(tx, contract.id, T0 + HOUR)


@of(lasting.roll, NOTHING)
def roll(market: Market) -> Deed:
    agent = market.machine(4, end_at_ms=T0 + 48 * HOUR, duration="2 days")
    market.rent(market.offer(agent, 2))
    agent.settle(T0)
    return lambda tx: lasting.roll(tx, agent.machine, T0 + 30 * HOUR)


@of(lasting.warn, NOTHING)
def warn(market: Market) -> Deed:
    _, contract = _ending(market)
    return lambda tx: lasting.warn(tx, contract.id, NOW)


@of(lapsing.unlist, NOTHING)
def unlist(market: Market) -> Deed:
    agent, _ = _ending(market)
    return lambda tx: lapsing.unlist(tx, agent.machine, T0 + HOUR)


@of(lapsing.silent, NOTHING)
def silent(market: Market) -> Deed:
    agent, _ = running(market)
    volume(market, agent)
    return lambda tx: lapsing.silent(tx, agent.machine, NOW, NOW + HOUR)
