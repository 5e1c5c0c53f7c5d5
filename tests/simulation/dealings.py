"""What people do more rarely in a simulated market: orders, payments, volumes in use, own jobs.

Tables as those of people.py, of which each kind of actor has a second one here.
"""

from functools import partial
from typing import Any, Final

import msgspec

from mercato.control.flows import (
    background,
    bidding,
    crediting,
    lasting,
    limiting,
    ordering,
    renting,
    settling,
    volumes,
)
from mercato.control.flows.background import Job
from mercato.control.flows.limiting import Wish
from mercato.control.flows.renting import RentRequest
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.payments.provider import Outcome
from mercato.control.store import limits, listings, payments, standing_orders, volume_listings
from mercato.control.store import volumes as stored_volumes
from mercato.control.store.standing_orders import StoredOrder
from mercato.market.credit import Thresholds
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.launch import Launch
from mercato.market.limits import Action, Period, Scope
from mercato.market.money import NanoUsd, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from mercato.market.offer import offers
from mercato.market.payment import Purpose, State
from tests.simulation.market import Market, NothingToDo
from tests.simulation.people import (
    IMAGES,
    Table,
    found_offer,
    machine_of,
    one_of,
    rent_volume,
    unless_calm,
)
from tests.simulation.world import DAY, HOUR

BY_HAND: Final = "manual"


def begin(market: Market) -> None:
    """Have everybody do something now and then, from now on."""
    world = market.world
    for number, renter in enumerate(market.renters):
        world.every(30 * HOUR, partial(unless_calm, market, RENTER, renter, f"renter-{number}"))
    for number, host in enumerate(market.hosts):
        world.every(40 * HOUR, partial(unless_calm, market, HOST, host, f"host-{number}"))
    world.every(12 * HOUR, partial(unless_calm, market, OPERATOR, None, "operator"))
    world.every(4 * HOUR, partial(unless_calm, market, DESK, None, "desk"))


# --- Renters --------------------------------------------------------------------------------------

RENTER: Final[Table[AccountId]] = Table()


@RENTER.deed(4)
def place_order(market: Market, renter: AccountId) -> int:
    luck, now_ms = market.world.luck, market.world.now_ms
    request = RentRequest(
        launch=Launch(image=luck.choice(IMAGES)), disk_mb=luck.randint(1, 40) * 1_000
    )
    order = StoredOrder(
        id=0,
        account_id=renter,
        query={},
        price_max=NanoUsdPerHour(nano(f"{luck.uniform(0.1, 4):.9f}")),
        sealed_request=market.house.box.seal(msgspec.json.encode(request).decode()),
        label=None,
        image=request.launch.image,
        state="resting",
        message="",
        contract_id=None,
        created_at_ms=now_ms,
        expires_at_ms=now_ms + luck.randint(1, 3 * DAY),
        closed_at_ms=None,
    )
    return market.do(ordering.place, order, now_ms).id


@RENTER.deed(1)
def cancel_order(market: Market, renter: AccountId) -> int:
    mine = market.do(standing_orders.of_account, renter)
    if not mine:
        raise NothingToDo
    order = market.world.luck.choice(mine).id
    market.do(ordering.cancel, renter, order, market.world.now_ms)
    return order


def _my_volume(market: Market, renter: AccountId) -> tuple[ContractId, MachineId]:
    mine = market.do(stored_volumes.live_of, renter)
    if not mine:
        raise NothingToDo
    volume = market.world.luck.choice(mine)
    return ContractId(volume.id), MachineId(volume.machine_id)


RENTER.deed(5)(rent_volume)


@RENTER.deed(5)
def rent_beside_a_volume(market: Market, renter: AccountId) -> ContractId:
    """Whatever mounts it keeps it from being deleted."""
    luck, (volume, machine) = market.world.luck, _my_volume(market, renter)
    stands = market.do(listings.on_sale, machine)
    if stands is None:
        raise NothingToDo
    found = offers(stands.listing, market.machines[machine].hardware, frozenset(), 1_000_000)
    launch = Launch(image=luck.choice(IMAGES), volumes=(f"V.{volume}:/data",))
    market.beat(machine)
    return market.do(
        renting.rent,
        renter,
        luck.choice(found).id,
        RentRequest(launch=launch, disk_mb=1_000),
        market.world.now_ms,
        market.minted(),
        house=market.house,
    ).contract.id


@RENTER.deed(2)
def clone_volume(market: Market, renter: AccountId) -> ContractId:
    source, machine = _my_volume(market, renter)
    listing = market.do(volume_listings.on_sale, machine)
    if listing is None:
        raise NothingToDo
    asked = VolumeRequest(offer=listing.id, size_mb=90_000, clone_of=source)
    market.beat(machine)
    return market.do(volumes.create, renter, asked, market.world.now_ms, market.house.rules).id


@RENTER.deed(3)
def reschedule(market: Market, renter: AccountId) -> ContractId:
    one = one_of(market, renter).id
    anywhere = market.world.luck.random() < 0.7
    market.do(bidding.reschedule, renter, one, market.world.now_ms, anywhere=anywhere)
    return one


@RENTER.deed(3)
def limit_an_instance(market: Market, renter: AccountId) -> int:
    luck, one = market.world.luck, one_of(market, renter)
    wish = Wish(
        scope=Scope.INSTANCE,
        scope_id=one.id,
        period=luck.choice(list(Period)),
        amount=NanoUsd(nano(f"{luck.uniform(0.1, 20):.9f}")),
        action=Action.STOP,
    )
    return market.do(limiting.set_limit, renter, wish, market.world.now_ms, market.house.rules).id


@RENTER.deed(2)
def change_limit(market: Market, renter: AccountId) -> int:
    luck, now_ms = market.world.luck, market.world.now_ms
    standing = market.do(limits.of_account, renter)
    if not standing:
        raise NothingToDo
    limit = luck.choice(standing).id
    market.beat()
    if luck.random() < 0.4:
        market.do(limiting.remove, renter, limit, now_ms)
    else:
        amount = NanoUsd(nano(f"{luck.uniform(0.1, 60):.9f}"))
        market.do(limiting.change, renter, limit, amount, Action.STOP, now_ms, market.house.rules)
    return limit


@RENTER.deed(3)
def pay_in(market: Market, renter: AccountId) -> int:
    """By hand; it may be told twice."""
    amount, key = NanoUsd(nano(market.world.luck.randint(5, 30))), market.name("payment")
    asked: tuple[Any, ...] = (renter, amount, Purpose.TOP_UP, BY_HAND, key, market.world.now_ms)
    paid = [market.do(settling.pay_in, *asked) for _ in range(2)]
    assert paid[0].id == paid[1].id
    return paid[0].id


@RENTER.deed(2)
def want_a_warning(market: Market, renter: AccountId) -> None:
    wanted = Thresholds(warn_below=NanoUsd(nano(market.world.luck.randint(1, 50))))
    market.do(crediting.want, renter, wanted, market.world.now_ms)


# --- Hosts ----------------------------------------------------------------------------------------

HOST: Final[Table[AccountId]] = Table()


@HOST.deed(8)
def set_job(market: Market, host: AccountId) -> MachineId:
    """Over and over on some of its machines: the same, another, once more."""
    machine, luck = machine_of(market, host), market.world.luck
    worth = None if luck.random() < 0.5 else NanoUsdPerHour(nano(f"{luck.uniform(0, 0.5):.9f}"))
    launch = Launch(image=luck.choice(IMAGES), ssh=luck.random() < 0.3)
    job = Job(launch=launch, disk_mb=1_000, price=worth)
    minted = [market.minted() for _ in range(8)]
    market.beat(machine)
    market.do(
        background.set_job,
        *(host, machine, job, minted, market.world.now_ms),
        house=market.house,
    )
    return machine


@HOST.deed(8)
def sell_volumes(market: Market, host: AccountId) -> MachineId:
    machine, price = machine_of(market, host), NanoUsdPerGbMonth(nano("0.08"))
    market.do(
        volumes.list_volumes,
        *(host, machine, 300_000, price, market.world.now_ms, market.house.rules),
    )
    return machine


@HOST.deed(2)
def remove_job(market: Market, host: AccountId) -> MachineId:
    machine = machine_of(market, host)
    market.beat(machine)
    market.do(background.remove_job, host, machine, market.world.now_ms)
    return machine


@HOST.deed(2)
def call_maintenance_off(market: Market, host: AccountId) -> MachineId:
    machine = machine_of(market, host)
    market.do(lasting.call_off, host, machine, market.world.now_ms)
    return machine


@HOST.deed(3)
def be_paid_out(market: Market, host: AccountId) -> int | None:
    now_ms, sealed = market.world.now_ms, market.house.box.seal("acct_1")
    market.do(payments.pay_out_to, host, sealed, now_ms)
    made = market.do(settling.pay_out, host, BY_HAND, now_ms, at_once=True)
    return None if made is None else made.id


@HOST.deed(2)
def use_earnings(market: Market, host: AccountId) -> None:
    cause, amount = market.name("earnings"), NanoUsd(nano("0.75"))
    for _ in range(2):  # it may be told twice
        market.do(settling.use_earnings, host, amount, cause, market.world.now_ms)


# --- The operator, and the desk of standing orders ------------------------------------------------

OPERATOR: Final[Table[None]] = Table()
DESK: Final[Table[None]] = Table()


@OPERATOR.deed(4)
def settle_by_hand(market: Market, operator: None) -> str:  # noqa: ARG001 - a deed's form
    """Say what became of a payment, twice."""
    luck, now_ms = market.world.luck, market.world.now_ms
    waiting = market.do(payments.waiting, BY_HAND)
    if not waiting:
        raise NothingToDo
    payment = luck.choice(waiting).id
    state = State.SUCCEEDED if luck.random() < 0.8 else State.FAILED
    outcome = Outcome(state=state, failure="" if state is State.SUCCEEDED else "it never came")
    for _ in range(2):
        market.do(settling.end, payment, outcome, now_ms, market.house.rules)
    return state.value


@OPERATOR.deed(1)
def refund(market: Market, operator: None) -> int:  # noqa: ARG001 - a deed's form
    renter = market.world.luck.choice(market.renters)
    paid = market.do(payments.last_of, renter, Purpose.TOP_UP)
    if paid is None:
        raise NothingToDo
    amount, key = NanoUsd(nano(2)), market.name("refund")
    market.beat()
    return market.do(
        settling.give_back, paid.id, amount, key, market.world.now_ms, market.house.rules
    ).id


@DESK.deed(1)
def fill_order(market: Market, desk: None) -> str:  # noqa: ARG001 - a deed's form
    """Rent what the desk believes to match, which may be gone, or too dear."""
    resting = market.do(standing_orders.resting)
    if not resting:
        raise NothingToDo
    order, found = market.world.luck.choice(resting), found_offer(market)
    market.beat(found.machine)
    made = market.do(
        ordering.fill, order.id, found.id, market.minted(), market.world.now_ms, market.house
    )
    return "nothing" if made is None else f"{order.id} {made}"
