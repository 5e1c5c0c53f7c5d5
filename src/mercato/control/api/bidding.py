"""Bids and the auction: another price, what a bid would win, and the public log."""

from typing import Any, Final

import msgspec

from mercato.control.api.call import Call, Done
from mercato.control.api.creating import BID_MAX
from mercato.control.api.times import seconds
from mercato.control.flows import bidding, limiting, trying
from mercato.control.flows.trying import Trial
from mercato.control.store import clearings, machines
from mercato.control.store.clearings import Clearing
from mercato.market import errors
from mercato.market.ids import ContractId, MachineId, OfferId
from mercato.market.money import MS_PER_HOUR, NanoUsdPerHour, dollars, nano

LOG_PAGE: Final = 100
LOOK_BACK_H: Final = 24.0
LOOK_BACK_H_MAX: Final = 24.0 * 30


class NewBid(msgspec.Struct, frozen=True, kw_only=True):
    """Another price for an instance that was rented by bid."""

    id: int
    price: float | None = None
    """Dollars an hour for all its GPUs; null bids the least that wins now."""


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a bid."""

    success: bool = True
    price: float
    wins: bool | None
    """Whether it has, or gets, its GPUs; null while it is stopped."""
    msg: str


def bid_of(price: float) -> NanoUsdPerHour:
    """A bid as it was asked.

    Raises:
        InvalidPrice: when nobody may bid so.
    """
    if not 0.001 <= price <= BID_MAX:
        raise errors.InvalidPrice(f"A bid is from 0.001 to {BID_MAX:g} dollars an hour.")
    return NanoUsdPerHour(nano(price))


async def change_bid(call: Call, asked: NewBid) -> Bid:
    """Bid another price for an interruptible instance."""
    price, outcome = await call.services.db.run(
        limiting.on_behalf(call.who.scopes, bidding.change_bid),
        call.account,
        ContractId(asked.id),
        None if asked.price is None else bid_of(asked.price),
        call.now_ms,
        call.services.house.rules,
    )
    wins = None if outcome is None else outcome.gpus is not None
    then = {None: "It is stopped.", True: "It wins.", False: "It waits: others pay more."}[wins]
    return Bid(
        price=dollars(price),
        wins=wins,
        msg=f"Instance {asked.id} bids ${dollars(price):.6g} an hour. {then}",
    )


class Reschedule(msgspec.Struct, frozen=True, kw_only=True):
    """Where an instance may come back."""

    id: int
    reschedule: bool
    """True: on any equal GPUs of its machine. False: on the same."""


async def reschedule(call: Call, asked: Reschedule) -> Done:
    """Say whether an instance may come back on any equal GPUs of its machine."""
    await call.services.db.run(
        limiting.on_behalf(call.who.scopes, bidding.reschedule),
        call.account,
        ContractId(asked.id),
        call.now_ms,
        call.services.house.rules,
        anywhere=asked.reschedule,
    )
    where = "any equal GPUs of its machine" if asked.reschedule else "the same GPUs only"
    return Done(msg=f"Instance {asked.id} comes back on {where}.")


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """A bid that is not made."""

    id: int
    """The offer's id."""
    price: float
    """Dollars an hour for the whole slice."""
    hours: float = LOOK_BACK_H
    """How far back to look."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What a bid would win, and what it would have won lately."""

    success: bool = True
    wins: bool
    min_bid: float | None
    """The least that wins now; null while no bid does."""
    floor: float
    displaces: list[int]
    """Contracts that would yield to it, after their notice."""
    held_share: float | None
    """The part of the time looked back over in which it would have had these GPUs; null when
    nothing is known of that time."""
    longest_s: float
    """The longest that it would have had them without a break."""
    displacements: int
    """How often it would have lost them."""
    known_s: float
    """For how much of the time anything is known."""


async def try_bid(call: Call, asked: Try) -> Tried:
    """Say what a bid would win now and would have won lately; nothing is rented."""
    if not 0 < asked.hours <= LOOK_BACK_H_MAX:
        raise errors.InvalidRequest(f"hours must be above 0 and at most {LOOK_BACK_H_MAX:g}.")
    since_ms = call.now_ms - int(asked.hours * MS_PER_HOUR)
    trial: Trial = await call.services.db.run(
        trying.try_bid, OfferId(asked.id), bid_of(asked.price), since_ms, call.now_ms
    )
    known_ms = trial.held_ms + trial.lost_ms
    return Tried(
        wins=trial.wins,
        min_bid=None if trial.least is None else dollars(trial.least),
        floor=dollars(trial.floor),
        displaces=list(trial.displaces),
        held_share=trial.held_ms / known_ms if known_ms else None,
        longest_s=trial.longest_ms / 1_000,
        displacements=trial.displacements,
        known_s=known_ms / 1_000,
    )


class AskLog(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a machine's log."""

    id: int
    before: int | None = None
    """Only verdicts with a lower id: the next page."""
    limit: int | None = None


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts, the latest first. Anybody can decide each again from what it was decided from."""

    success: bool = True
    clearings: list[dict[str, Any]]
    next_before: int | None
    """Ask for more with this as `before`; null when there are none."""


async def list_clearings(call: Call, asked: AskLog) -> Log:
    """List who was given a machine's GPUs, and everything that was decided from."""
    limit = LOG_PAGE if asked.limit is None else asked.limit
    if not 1 <= limit <= LOG_PAGE:
        raise errors.InvalidRequest(f"limit must be from 1 to {LOG_PAGE}.")
    machine = MachineId(asked.id)
    if await call.services.db.run(machines.get, machine) is None:
        raise errors.NotFound(f"There is no machine {asked.id}.")
    before = asked.before if asked.before is not None else 2**62
    found = await call.services.db.run(clearings.of_machine, machine, before, limit)
    return Log(
        clearings=[_shown(one) for one in found],
        next_before=found[-1].id if len(found) == limit else None,
    )


def _shown(clearing: Clearing) -> dict[str, Any]:
    """A verdict as `market.auction` reads it again; money in nano-dollars, as it was decided."""
    return {**msgspec.to_builtins(clearing), "at": seconds(clearing.at_ms)}
