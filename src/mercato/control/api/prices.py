"""What GPUs cost, how many there are at which price, and how long bids last; open to everybody."""

from typing import Final

import msgspec

from mercato.control.api.call import Call, Nothing
from mercato.control.api.times import seconds
from mercato.control.flows import pricing
from mercato.control.store import prices
from mercato.control.store.prices import PriceHour
from mercato.market import errors
from mercato.market.money import MS_PER_HOUR, dollars, nano
from mercato.market.prices import depth, survival

HOURS_MAX: Final = 9_600
SPELLS_FROM_MS: Final = 90 * 24 * MS_PER_HOUR
"""Bids that began longer ago say little of today."""


class ModelPrices(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU model at one time; dollars for one GPU and hour."""

    gpu_name: str
    at: float
    """The hour's beginning, in seconds since the epoch."""
    gpus_offered: int
    gpus_rented: int
    ask_p10: float | None
    ask_p50: float | None
    ask_p90: float | None
    paid_p50: float | None
    """The median of what is paid on demand or reserved."""
    bid_p50: float | None
    """The median of what bids that hold GPUs pay."""


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """GPU models by name, or one model hour by hour."""

    success: bool = True
    prices: list[ModelPrices]


def _row(hour: PriceHour) -> ModelPrices:
    def shown(amount: int | None) -> float | None:
        return None if amount is None else dollars(amount)

    return ModelPrices(
        gpu_name=hour.gpu_name,
        at=seconds(hour.hour_ms),
        gpus_offered=hour.gpus_offered,
        gpus_rented=hour.gpus_rented,
        ask_p10=shown(hour.ask_p10),
        ask_p50=shown(hour.ask_p50),
        ask_p90=shown(hour.ask_p90),
        paid_p50=shown(hour.paid_p50),
        bid_p50=shown(hour.bid_p50),
    )


async def list_prices(call: Call, asked: Nothing) -> Prices:  # noqa: ARG001 - nothing is asked
    """Show what each GPU model costs now, and how much of it is rented."""
    found = await call.services.db.run(pricing.now, call.now_ms)
    return Prices(prices=[_row(hour) for hour in found])


class WhichHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU model and how far back."""

    gpu_name: str
    hours: int = 168


async def show_history(call: Call, asked: WhichHistory) -> Prices:
    """Show what a GPU model cost, hour by hour."""
    if not 1 <= asked.hours <= HOURS_MAX:
        raise errors.InvalidRequest(f"hours must be from 1 to {HOURS_MAX}.")
    from_ms = call.now_ms - asked.hours * MS_PER_HOUR
    found = await call.services.db.run(prices.history, _model(asked.gpu_name), from_ms)
    return Prices(prices=[_row(hour) for hour in found])


def _model(name: str) -> str:
    """A model's name as it is stored: clients write a space as an underscore."""
    return name.replace("_", " ").strip()


class WhichModel(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU model."""

    gpu_name: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How many GPUs can be had at or below a price, in dollars for one GPU and hour."""

    price: float
    gpus: int


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs of a model that nobody holds, cheapest first."""

    success: bool = True
    gpu_name: str
    steps: list[Step]


async def show_depth(call: Call, asked: WhichModel) -> Depth:
    """Show how many free GPUs of a model there are at or below each price."""
    name = _model(asked.gpu_name)
    found = depth(await call.services.db.run(pricing.free, name))
    return Depth(
        gpu_name=name, steps=[Step(price=dollars(one.price), gpus=one.gpus) for one in found]
    )


class BidAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A bid for one GPU of a model, in dollars an hour, and for how long it should last."""

    gpu_name: str
    price: float
    hours: float


class Lasting(msgspec.Struct, frozen=True, kw_only=True):
    """How likely a bid holds its GPUs so long."""

    success: bool = True
    probability: float | None
    """Null when this market's books say nothing of it yet."""
    at_least: float | None
    """It is above this with 95 % confidence."""
    spells: int
    """From how many bids of its like that is known."""


async def show_survival(call: Call, asked: BidAsked) -> Lasting:
    """Say how likely a bid holds its GPUs for some hours, from what became of bids like it."""
    if not 0 < asked.price <= 10_000 or not 0 < asked.hours <= 720:
        raise errors.InvalidRequest("price must be above 0, and hours above 0 and at most 720.")
    spells = await call.services.db.run(
        prices.spells, _model(asked.gpu_name), call.now_ms - SPELLS_FROM_MS, call.now_ms
    )
    said = survival(spells, nano(asked.price), int(asked.hours * MS_PER_HOUR))
    return Lasting(probability=said.probability, at_least=said.low, spells=said.spells)
