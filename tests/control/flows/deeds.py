"""Every verb of the control plane at a moment at which it has something to do.

Each deed is one transaction. A flow that is added gets its deed here, and with it the tests of
test_crashes.py; test_every_flow_has_a_deed says when one is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from mercato.control.db import Tx
from mercato.control.flows import (
    hosting,
    lapsing,
    lasting,
    observing,
    opening,
    paying,
    renting,
    reserving,
    templating,
    volumes,
)
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.store import price_increases, ssh_keys
from mercato.control.store.maintenances import Window
from mercato.market.contract import Contract
from mercato.market.instance import Actual
from mercato.market.launch import Launch
from mercato.market.money import NanoUsd, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from mercato.wire.agent import Observed, ObservedInstance
from tests.control.market import HOUR, PRICES, T0, Agent, Market, hardware, request

NOW = T0 + 10_000

NOTHING: Final = "nothing"
"""Done again it changes nothing."""
REFUSED: Final = "refused"
"""Done again it is refused and changes nothing."""
ANEW: Final = "anew"
"""Done again it is done anew, as its meaning is."""

Deed = Callable[[Tx], object]
Prepare = Callable[[Market], Deed]


@dataclass(frozen=True)
class Case:
    """A verb, the market at the moment before it, and what becomes of it the second time."""

    name: str
    flow: Callable[..., object]
    prepare: Prepare
    again: str


class Table(list[Case]):
    """Deeds, each told by a function."""

    def of(self, flow: Callable[..., object], again: str) -> Callable[[Prepare], Prepare]:
        """Name what follows a deed of `flow`."""

        def add(prepare: Prepare) -> Prepare:
            self.append(Case(prepare.__name__, flow, prepare, again))
            return prepare

        return add


CASES: Final = Table()
of = CASES.of


# --- Markets to do it in --------------------------------------------------------------------------


def rented(market: Market, **asked: Any) -> tuple[Agent, Contract]:
    """Two GPUs that were rented a moment ago."""
    agent = market.machine(4)
    return agent, market.rent(market.offer(agent, 2), **asked).contract


def running(market: Market, **asked: Any) -> tuple[Agent, Contract]:
    """Two GPUs that run, and moved some bytes."""
    agent, contract = rented(market, **asked)
    agent.settle(T0)
    seen = agent.actual[contract.id]
    agent.actual[contract.id] = replace(seen, up_bytes=5_000_000, down_bytes=7_000_000)
    agent.report(T0 + 5_000)
    return agent, contract


def stopped(market: Market) -> tuple[Agent, Contract]:
    """The same, stopped, with the GPUs free again."""
    agent, contract = running(market)
    market.db.run_now(renting.stop, market.renter, contract.id, T0 + 6_000)
    agent.settle(T0 + 7_000)
    return agent, contract


def report(agent: Agent, **changes: Any) -> Deed:
    """The agent's next report."""
    observed = Observed(
        agent="test",
        boot="boot",
        generation=agent.generation + 1,
        desired_generation=agent.desired.generation if agent.desired else 0,
        sees=changes.pop("sees", True),
        hardware=changes.pop("hardware", agent.hardware),
        instances=changes.pop("instances", tuple(agent.actual.values())),
    )
    assert not changes
    house = agent.market.house
    return lambda tx: observing.observe(tx, agent.machine, observed, NOW, house=house)


def volume(market: Market, agent: Agent) -> Contract:
    """A volume that was rented a moment ago."""
    listing = market.db.run_now(
        volumes.list_volumes,
        market.host,
        agent.machine,
        500_000,
        NanoUsdPerGbMonth(nano("0.10")),
        T0,
    )
    asked = VolumeRequest(offer=listing.id, size_mb=100_000)
    return market.db.run_now(volumes.create, market.renter, asked, T0)


# --- Renting --------------------------------------------------------------------------------------


@of(renting.rent, REFUSED)
def rent(market: Market) -> Deed:
    agent = market.machine(4)
    offer, minted, renter = market.offer(agent, 2), market.mint(), market.renter
    market.db.run_now(ssh_keys.create, renter, "ssh-ed25519 AAAA", T0)
    house = market.house
    return lambda tx: renting.rent(tx, renter, offer, request(), NOW, minted, house=house)


@of(renting.rent, REFUSED)
def rent_with_a_new_volume(market: Market) -> Deed:
    agent, _ = rented(market)
    volume(market, agent)
    offer, minted, renter = market.offer(agent, 6), market.mint(), market.renter
    asked = request(new_volume=VolumeRequest(offer=1, size_mb=1_000), new_volume_path="/data")
    house = market.house
    return lambda tx: renting.rent(tx, renter, offer, asked, NOW, minted, house=house)


@of(renting.start, NOTHING)
def start(market: Market) -> Deed:
    _, contract = stopped(market)
    return lambda tx: renting.start(tx, market.renter, contract.id, NOW)


@of(renting.start, NOTHING)
def start_and_wait(market: Market) -> Deed:
    agent, contract = stopped(market)
    market.rent(market.offer(agent, 1), T0 + 8_000)
    return lambda tx: renting.start(tx, market.renter, contract.id, NOW)


@of(renting.stop, NOTHING)
def stop(market: Market) -> Deed:
    _, contract = running(market)
    return lambda tx: renting.stop(tx, market.renter, contract.id, NOW)


@of(renting.reboot, ANEW)
def reboot(market: Market) -> Deed:
    _, contract = running(market)
    return lambda tx: renting.reboot(tx, market.renter, contract.id, NOW)


@of(renting.recycle, ANEW)
def recycle(market: Market) -> Deed:
    _, contract = running(market)
    return lambda tx: renting.recycle(tx, market.renter, contract.id, NOW)


@of(renting.update, ANEW)
def update(market: Market) -> Deed:
    _, contract = running(market)
    launch, house = Launch(image="alpine", env={"A": "b"}), market.house
    return lambda tx: renting.update(tx, market.renter, contract.id, launch, None, NOW, house=house)


@of(renting.relabel, ANEW)
def relabel(market: Market) -> Deed:
    _, contract = running(market)
    return lambda tx: renting.relabel(tx, market.renter, contract.id, "mine", NOW)


@of(renting.attach_key, ANEW)
def attach_key(market: Market) -> Deed:
    _, contract = running(market)
    return lambda tx: renting.attach_key(tx, market.renter, contract.id, "ssh-ed25519 AAAA", NOW)


@of(renting.detach_key, REFUSED)
def detach_key(market: Market) -> Deed:
    market.db.run_now(ssh_keys.create, market.renter, "ssh-ed25519 AAAA", T0)
    _, contract = running(market)
    key = market.db.run_now(ssh_keys.find, market.renter, "ssh-ed25519 AAAA")
    assert key is not None
    return lambda tx: renting.detach_key(tx, market.renter, contract.id, key.id, NOW)


@of(renting.destroy, REFUSED)
def destroy(market: Market) -> Deed:
    _, contract = running(market)
    return lambda tx: renting.destroy(tx, market.renter, contract.id, NOW)


# --- Reports --------------------------------------------------------------------------------------


@of(observing.observe, NOTHING)
def observe_it_run(market: Market) -> Deed:
    agent, _ = rented(market)
    agent.report(T0)
    agent.obey(T0)
    return report(agent)


@of(observing.observe, NOTHING)
def observe_it_run_anew(market: Market) -> Deed:
    agent, contract = running(market)
    seen = replace(agent.actual[contract.id], started_at_ms=T0 + 6_000)
    return report(agent, instances=(seen,))


@of(observing.observe, NOTHING)
def observe_its_end(market: Market) -> Deed:
    agent, contract = running(market)
    ended = replace(agent.actual[contract.id], actual=Actual.EXITED, exit_code=3)
    return report(agent, instances=(ended,))


@of(observing.observe, NOTHING)
def observe_its_failure(market: Market) -> Deed:
    agent, contract = rented(market)
    agent.report(T0)
    failed = ObservedInstance(
        id=contract.id, revision=1, boots=0, actual=Actual.FAILED, message="no such image"
    )
    return report(agent, instances=(failed,))


@of(observing.observe, NOTHING)
def observe_that_it_stopped_and_another_waits(market: Market) -> Deed:
    agent, contract = running(market)
    market.rent(market.offer(agent, 1), T0 + 1_000, cancel_unavailable=False)
    market.db.run_now(renting.stop, market.renter, contract.id, T0 + 6_000)
    agent.report(T0 + 7_000)
    agent.obey(T0 + 7_000)
    return report(agent)


@of(observing.observe, NOTHING)
def observe_that_it_is_gone(market: Market) -> Deed:
    agent, contract = running(market)
    market.db.run_now(renting.destroy, market.renter, contract.id, T0 + 6_000)
    agent.report(T0 + 7_000)
    return report(agent, instances=())


@of(observing.observe, NOTHING)
def observe_less_hardware(market: Market) -> Deed:
    agent, _ = running(market)
    market.db.run_now(hosting.verify, agent.machine, "verified", T0)
    return report(agent, hardware=hardware(3))


@of(observing.observe, NOTHING)
def observe_blindly(market: Market) -> Deed:
    agent, _ = running(market)
    return report(agent, sees=False, instances=())


@of(observing.observe, NOTHING)
def observe_its_return(market: Market) -> Deed:
    agent, _ = running(market)
    volume(market, agent)
    market.db.run_now(lapsing.silent, agent.machine, T0 + 6_000, T0 + 6_000)
    return report(agent)


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


# --- Deposits -------------------------------------------------------------------------------------


def _reserved(market: Market, dollars: int) -> tuple[Agent, Contract]:
    """The same GPUs running, with so much prepaid."""
    agent, contract = running(market)
    amount = NanoUsd(nano(dollars))
    market.db.run_now(reserving.prepay, market.renter, contract.id, amount, "first", T0 + 5_000)
    return agent, contract


@of(reserving.prepay, NOTHING)
def prepay(market: Market) -> Deed:
    _, contract = running(market)
    amount = NanoUsd(nano(5))
    return lambda tx: reserving.prepay(tx, market.renter, contract.id, amount, "first", NOW)


@of(reserving.prepay, NOTHING)
def prepay_more(market: Market) -> Deed:
    _, contract = _reserved(market, 5)
    amount = NanoUsd(nano(7))
    return lambda tx: reserving.prepay(tx, market.renter, contract.id, amount, "second", NOW)


@of(renting.destroy, REFUSED)
def destroy_what_is_prepaid(market: Market) -> Deed:
    agent, contract = _reserved(market, 5)
    agent.report(T0 + HOUR)
    return lambda tx: renting.destroy(tx, market.renter, contract.id, T0 + HOUR)


@of(lapsing.settle, NOTHING)
def settle_past_a_deposit(market: Market) -> Deed:
    agent, contract = _reserved(market, 1)
    agent.report(T0 + 5 * HOUR)
    return lambda tx: lapsing.settle(tx, contract.id, T0 + 5 * HOUR)


# --- Money and templates --------------------------------------------------------------------------


@of(opening.open_account, NOTHING)
def open_account(market: Market) -> Deed:  # noqa: ARG001 - it needs nothing of the market
    return lambda tx: opening.open_account(tx, "new@example.org", "secret", "key", NOW)


@of(opening.open_operator, NOTHING)
def open_operator(market: Market) -> Deed:  # noqa: ARG001 - it needs nothing of the market
    return lambda tx: opening.open_operator(tx, "operator@example.org", "secret", NOW)


@of(paying.add_credit, NOTHING)
def add_credit(market: Market) -> Deed:
    return lambda tx: paying.add_credit(tx, market.renter, nano(5), "wire 1", NOW)


@of(paying.transfer_credit, NOTHING)
def transfer_credit(market: Market) -> Deed:
    running(market)
    other = market.account("other", "0")
    return lambda tx: paying.transfer_credit(
        tx, market.renter, other, NanoUsd(nano(5)), "gift", NOW
    )


def _template(market: Market) -> Any:
    body = {"name": "mine", "private": True, "image": "debian"}
    return market.db.run_now(templating.create, market.renter, body, T0)


@of(templating.create, NOTHING)
def create_template(market: Market) -> Deed:
    body = {"name": "mine", "private": True, "image": "debian"}
    return lambda tx: templating.create(tx, market.renter, body, NOW)


@of(templating.change, NOTHING)
def change_template(market: Market) -> Deed:
    found = _template(market)
    body = {"name": "mine", "private": False, "image": "alpine"}
    return lambda tx: templating.change(
        tx, market.renter, templating.find(tx, market.renter, found.id, None), body, NOW
    )


@of(templating.delete, REFUSED)
def delete_template(market: Market) -> Deed:
    found = _template(market)
    return lambda tx: templating.delete(tx, market.renter, found.id, None, NOW)
