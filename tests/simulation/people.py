"""What people and nature do in a simulated market: one table for each kind of actor.

A deed is a function of the market and of who does it; its weight says how often it is chosen. To
have something new happen, write its deed into its table.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import replace

from mercato.control.db import Tx
from mercato.control.flows import (
    bidding,
    hosting,
    lasting,
    limiting,
    paying,
    renting,
    reserving,
    volumes,
)
from mercato.control.flows.limiting import Wish
from mercato.control.flows.renting import RentRequest
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.store import instances, price_increases, volume_listings
from mercato.control.store import volumes as stored_volumes
from mercato.control.store.instances import Instance
from mercato.control.store.maintenances import Window
from mercato.market.errors import NoSuchInstance
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.launch import Launch
from mercato.market.limits import Action, Period, Scope
from mercato.market.listing import Listing
from mercato.market.money import NanoUsd, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from mercato.market.offer import Offer, offers
from tests.simulation.hosts import Machine
from tests.simulation.market import Market, NothingToDo
from tests.simulation.world import HOUR, MINUTE, SECOND

Who = TypeVar("Who")
Deed = Callable[[Market, Who], object]

IMAGES: Final = ("debian:12", "pytorch:2", "a:1", "b:2", "missing:1")


class Table(Generic[Who]):
    """Deeds of one kind of actor, each with its weight."""

    def __init__(self) -> None:
        """Begin with none."""
        self._deeds: list[Deed[Who]] = []
        self._weights: list[int] = []

    def deed(self, weight: int) -> Callable[[Deed[Who]], Deed[Who]]:
        """Have a deed chosen so often among the others."""

        def add(deed: Deed[Who]) -> Deed[Who]:
            self._deeds.append(deed)
            self._weights.append(weight)
            return deed

        return add

    def do(self, market: Market, who: Who, name: str) -> None:
        """Do one of them, and write down what came of it."""
        [deed] = market.world.luck.choices(self._deeds, self._weights)
        market.attempt(f"{getattr(deed, '__name__', '')} {name}", partial(deed, market, who))


def begin(market: Market) -> None:
    """Have everybody do something now and then, from now on."""
    world = market.world
    for number, renter in enumerate(market.renters):
        world.every(10 * HOUR, partial(unless_calm, market, RENTER, renter, f"renter-{number}"))
    for number, host in enumerate(market.hosts):
        world.every(40 * HOUR, partial(unless_calm, market, HOST, host, f"host-{number}"))
    world.every(8 * HOUR, partial(unless_calm, market, OPERATOR, None, "operator"))
    world.every(2 * HOUR, partial(_mishap, market))


def unless_calm(market: Market, table: Table[Who], who: Who, name: str) -> None:
    """Have somebody do something of a table, but in the end, in which all must come right."""
    if not market.world.calm:
        table.do(market, who, name)


def _mishap(market: Market) -> None:
    """Have something happen to a machine, and rather to one on which there is something."""
    if market.world.calm:
        return
    luck, everyone = market.world.luck, list(market.machines.values())
    used = [machine for machine in everyone if machine.containers()]
    machine = luck.choice(used if used and luck.random() < 0.75 else everyone)
    NATURE.do(market, machine, f"machine-{machine.id}")


# --- Renters --------------------------------------------------------------------------------------

RENTER: Final[Table[AccountId]] = Table()


def found_offer(market: Market) -> Offer:
    """An offer that a search found a while ago; some machines are sought by everybody."""
    luck, listed = market.world.luck, sorted(market.listings.items())
    machine, listing = listed[int(len(listed) * luck.random() ** 3)]
    found = offers(listing, market.machines[machine].hardware, frozenset(), 1_000_000)
    return market.world.luck.choice(found)


def _rent(market: Market, renter: AccountId, offer: Offer, **asked: Any) -> str:
    luck = market.world.luck
    launch = Launch(image=luck.choice(IMAGES), ssh=luck.random() < 0.8, env={"A": "b"})
    request = RentRequest(**{"launch": launch, "disk_mb": luck.randint(1, 60) * 1_000, **asked})
    market.beat(offer.machine)
    signed = market.do(
        renting.rent,
        renter,
        offer.id,
        request,
        market.world.now_ms,
        market.minted(),
        house=market.house,
    )
    if "bid" in asked:
        market.bids.append((renter, signed.contract.id))
    _second_thought(market, renter, signed.contract.id)
    return f"{signed.contract.id} {'holds' if signed.holds_gpus else 'waits'}"


@RENTER.deed(24)
def rent(market: Market, renter: AccountId) -> str:
    return _rent(market, renter, found_offer(market))


@RENTER.deed(4)
def rent_and_wait(market: Market, renter: AccountId) -> str:
    return _rent(market, renter, found_offer(market), cancel_unavailable=False)


@RENTER.deed(3)
def rent_stopped(market: Market, renter: AccountId) -> str:
    return _rent(market, renter, found_offer(market), running=False)


@RENTER.deed(16)
def bid(market: Market, renter: AccountId) -> str:
    offer, luck = found_offer(market), market.world.luck
    price = NanoUsdPerHour(int(offer.bid_floor * luck.uniform(0.95, 1.8)))
    return _rent(
        market,
        renter,
        offer,
        bid=price,
        cancel_unavailable=luck.random() < 0.3,
        reschedule=luck.random() < 0.3,
    )


def one_of(market: Market, renter: AccountId) -> Instance:
    """One of the renter's instances."""
    mine = market.do(instances.live_of, renter)
    if not mine:
        raise NothingToDo
    one = market.world.luck.choice(mine)
    market.beat(one.machine_id)
    return one


def _on_mine(flow: Callable[..., object]) -> Deed[AccountId]:
    """A deed that tells one of the renter's instances to do something."""

    def deed(market: Market, renter: AccountId) -> ContractId:
        one = one_of(market, renter)
        market.do(flow, renter, one.id, market.world.now_ms)
        _second_thought(market, renter, one.id)
        return one.id

    deed.__name__ = flow.__name__
    return deed


def _second_thought(market: Market, renter: AccountId, instance: ContractId) -> None:
    """Have a renter sometimes tell an instance something else at once."""
    if market.world.luck.random() < 0.3:
        market.world.within(20, 8 * SECOND, partial(_tell, market, renter, instance))


def _tell(market: Market, renter: AccountId, instance: ContractId) -> None:
    """Tell an instance something, whatever it was told before."""
    flow = market.world.luck.choice((renting.start, renting.stop, renting.reboot, renting.destroy))
    market.attempt(
        f"hasty-{flow.__name__} {instance}",
        lambda: market.do(flow, renter, instance, market.world.now_ms),
    )


for flow, weight in (
    (renting.start, 14),
    (renting.stop, 10),
    (renting.reboot, 4),
    (renting.recycle, 2),
    (renting.destroy, 14),
):
    RENTER.deed(weight)(_on_mine(flow))


@RENTER.deed(2)
def update(market: Market, renter: AccountId) -> ContractId:
    one = one_of(market, renter)
    launch = Launch(image=market.world.luck.choice(IMAGES))
    market.do(renting.update, renter, one.id, launch, None, market.world.now_ms, house=market.house)
    return one.id


@RENTER.deed(7)
def change_bid(market: Market, renter: AccountId) -> ContractId:
    luck, mine = market.world.luck, [bid for who, bid in market.bids[-40:] if who == renter]
    if not mine:
        raise NothingToDo
    one = luck.choice(mine)
    price = None if luck.random() < 0.5 else NanoUsdPerHour(nano(f"{luck.uniform(0, 4):.9f}"))
    market.beat()
    market.do(bidding.change_bid, renter, one, price, market.world.now_ms, market.house.rules)
    return one


@RENTER.deed(4)
def prepay(market: Market, renter: AccountId) -> ContractId:
    one = one_of(market, renter)
    amount = NanoUsd(nano(f"{market.world.luck.uniform(0.01, 60):.9f}"))
    cause = market.name("prepaid")
    market.do(reserving.prepay, renter, one.id, amount, cause, market.world.now_ms)
    return one.id


@RENTER.deed(3)
def limit_spending(market: Market, renter: AccountId) -> int:
    luck = market.world.luck
    wish = Wish(
        scope=Scope.ACCOUNT,
        scope_id=renter,
        period=luck.choice(list(Period)),
        amount=NanoUsd(nano(f"{luck.uniform(1, 100):.9f}")),
        action=luck.choice(list(Action)),
    )
    market.beat()
    return market.do(limiting.set_limit, renter, wish, market.world.now_ms, market.house.rules).id


@RENTER.deed(3)
def give(market: Market, renter: AccountId) -> None:
    other = market.world.luck.choice(market.renters)
    cause, amount = market.name("gift"), NanoUsd(nano("0.25"))
    for _ in range(2):  # it may be told twice
        market.do(paying.transfer_credit, renter, other, amount, cause, market.world.now_ms)


@RENTER.deed(4)
def rent_volume(market: Market, renter: AccountId) -> ContractId:
    machine = market.world.luck.choice(sorted(market.machines))
    listing = market.do(volume_listings.on_sale, machine)
    if listing is None:
        raise NothingToDo
    asked = VolumeRequest(offer=listing.id, size_mb=market.world.luck.randint(1, 90) * 1_000)
    market.beat(machine)
    return market.do(volumes.create, renter, asked, market.world.now_ms, market.house.rules).id


@RENTER.deed(3)
def delete_volume(market: Market, renter: AccountId) -> ContractId:
    mine = market.do(stored_volumes.live_of, renter)
    if not mine:
        raise NothingToDo
    one = market.world.luck.choice(mine)
    market.beat(one.machine_id)
    market.do(volumes.delete, renter, one.id, market.world.now_ms)
    return one.id


@RENTER.deed(6)
def answer_higher_prices(market: Market, renter: AccountId) -> str:
    asked = market.do(price_increases.unanswered, renter)
    if not asked:
        raise NothingToDo
    word = market.world.luck.choice(("accepted", "rejected"))
    market.do(lasting.answer, renter, asked[0].id, word, market.world.now_ms)
    return word


@RENTER.deed(4)
def meddle(market: Market, renter: AccountId) -> str:
    """Tell somebody else's instance to do something: it must be refused as if it were not there."""
    other = market.world.luck.choice([one for one in market.renters if one != renter])
    theirs = one_of(market, other)
    flow = market.world.luck.choice(
        (renting.start, renting.stop, renting.reboot, renting.recycle, renting.destroy)
    )
    try:
        market.do(flow, renter, theirs.id, market.world.now_ms)
    except NoSuchInstance:
        return "refused"
    raise AssertionError(f"account {renter} did {flow.__name__} to instance {theirs.id}")


# --- Hosts ----------------------------------------------------------------------------------------

HOST: Final[Table[AccountId]] = Table()


def machine_of(market: Market, host: AccountId) -> MachineId:
    """One of a host's machines."""
    mine = [machine for machine, owner in market.host_of.items() if owner == host]
    if not mine:
        raise NothingToDo
    return market.world.luck.choice(mine)


def _list(
    tx: Tx, host: AccountId, machine: MachineId, asking: hosting.Asking, now_ms: int, market: Market
) -> Listing:
    """As the API lists a machine: with its volumes, and contracts that go on."""
    listing = hosting.list_machine(tx, host, machine, asking, now_ms, market.house.rules)
    lasting.extend(tx, listing, now_ms)
    price = NanoUsdPerGbMonth(asking.prices.disk)
    volumes.list_volumes(tx, host, machine, 400_000, price, now_ms, market.house.rules)
    return listing


@HOST.deed(10)
def list_anew(market: Market, host: AccountId) -> MachineId:
    machine = machine_of(market, host)
    market.listings[machine] = market.do(
        _list, host, machine, market.asking(), market.world.now_ms, market
    )
    return machine


@HOST.deed(3)
def list_for_longer(market: Market, host: AccountId) -> MachineId:
    """The same prices until later: its contracts go on."""
    machine = machine_of(market, host)
    known = market.listings.get(machine)
    if known is None or known.end_at_ms is None:
        raise NothingToDo
    asking = replace(market.asking(), prices=known.prices, end_at_ms=known.end_at_ms + 30 * HOUR)
    market.listings[machine] = market.do(_list, host, machine, asking, market.world.now_ms, market)
    return machine


@HOST.deed(2)
def unlist(market: Market, host: AccountId) -> MachineId:
    machine = machine_of(market, host)
    market.do(hosting.unlist_machine, host, machine, market.world.now_ms)
    return machine


@HOST.deed(2)
def set_min_bid(market: Market, host: AccountId) -> MachineId:
    machine = machine_of(market, host)
    floor = NanoUsdPerHour(nano(f"{market.world.luck.uniform(0.01, 1):.9f}"))
    market.listings[machine] = market.do(
        hosting.set_min_bid, host, machine, floor, market.world.now_ms
    )
    return machine


@HOST.deed(1)
def announce_maintenance(market: Market, host: AccountId) -> MachineId:
    machine, now_ms = machine_of(market, host), market.world.now_ms
    window = Window(from_ms=now_ms + HOUR, to_ms=now_ms + 3 * HOUR, category="power", reason="")
    market.do(lasting.announce, host, machine, window, now_ms)
    return machine


@HOST.deed(1)
def delete_machine(market: Market, host: AccountId) -> MachineId:
    machine = machine_of(market, host)
    market.do(hosting.delete_machine, host, machine, market.world.now_ms)
    return machine


# --- The operator ---------------------------------------------------------------------------------

OPERATOR: Final[Table[None]] = Table()


@OPERATOR.deed(8)
def add_credit(market: Market, operator: None) -> AccountId:  # noqa: ARG001 - a deed's form
    renter = market.world.luck.choice(market.renters)
    cause, amount = market.name("wire"), nano(market.world.luck.choice(("1", "5", "40")))
    for _ in range(2):  # it may be told twice
        market.do(paying.add_credit, renter, amount, cause, market.world.now_ms)
    return renter


@OPERATOR.deed(1)
def verify(market: Market, operator: None) -> MachineId:  # noqa: ARG001 - a deed's form
    machine = market.world.luck.choice(sorted(market.machines))
    word = market.world.luck.choice(("verified", "deverified"))
    market.do(hosting.verify, machine, word, market.world.now_ms)
    return machine


@OPERATOR.deed(2)
def kill_server(market: Market, operator: None) -> None:  # noqa: ARG001 - a deed's form
    if market.server.up:
        market.server.die()


# --- Nature ---------------------------------------------------------------------------------------


def _noticed(market: Market, machine: Machine) -> None:
    """Have those whose instances run on a machine notice that something is wrong, and act."""
    for instance in sorted(machine.running()):
        if market.world.luck.random() < 0.6:
            market.world.within(SECOND, 3 * MINUTE, partial(_act, market, ContractId(instance)))


def _act(market: Market, instance: ContractId) -> None:
    found = market.server.db.run_now(instances.get, instance)
    if found is not None:
        _tell(market, found.renter_id, instance)


NATURE: Final[Table[Machine]] = Table()


@NATURE.deed(6)
def kill_agent(market: Market, machine: Machine) -> None:  # noqa: ARG001 - a deed's form
    machine.kill_agent()


@NATURE.deed(3)
def cut_power(market: Market, machine: Machine) -> None:
    _noticed(market, machine)
    machine.cut_power(market.world.luck.choice((SECOND, MINUTE, HOUR, 5 * HOUR)))


@NATURE.deed(6)
def cut_network(market: Market, machine: Machine) -> None:
    _noticed(market, machine)
    machine.cut_network(market.world.luck.choice((10 * SECOND, MINUTE, HOUR, 5 * HOUR)))


@NATURE.deed(3)
def deafen(market: Market, machine: Machine) -> None:
    _noticed(market, machine)
    machine.behave(market.world.luck.choice((MINUTE, HOUR)), deaf=True)


@NATURE.deed(2)
def fill_disk(market: Market, machine: Machine) -> None:
    machine.behave(market.world.luck.choice((MINUTE, 6 * HOUR)), full=True)


@NATURE.deed(1)
def lie(market: Market, machine: Machine) -> None:
    machine.behave(market.world.luck.choice((MINUTE, 10 * MINUTE)), lies=True)
