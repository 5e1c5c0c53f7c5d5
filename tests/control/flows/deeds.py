"""Every verb of the control plane at a moment at which it has something to do.

Each deed is one transaction. A flow that is added gets its deed here or in a file beside this one,
and with it the tests of test_crashes.py; test_every_flow_has_a_deed says when one is missing. Here
are renting and reports.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from mercato.control.db import Tx
from mercato.control.flows import (
    hosting,
    lapsing,
    observing,
    renting,
    volumes,
)
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.store import ssh_keys
from mercato.market.contract import Contract
from mercato.market.instance import Actual
from mercato.market.launch import Launch
from mercato.market.money import NanoUsdPerGbMonth, nano
from mercato.wire.agent import Observed, ObservedInstance
from tests.control.market import T0, Agent, Market, hardware, request

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
