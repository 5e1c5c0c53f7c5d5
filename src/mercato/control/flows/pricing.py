"""What GPUs cost: now, from the listings and who holds what; hour by hour, written down."""

from collections import defaultdict
from typing import Final

from mercato.control.db import Tx
from mercato.control.store import prices, sales
from mercato.control.store.prices import PriceHour
from mercato.market.money import MS_PER_HOUR, with_fee
from mercato.market.prices import Weighted, quantile

KEPT_MS: Final = 400 * 24 * MS_PER_HOUR
"""Hours are kept for more than a year."""


def asks(tx: Tx) -> dict[str, list[Weighted]]:
    """What renters are asked for the GPUs of each model that are on sale, held or not."""
    found: dict[str, list[Weighted]] = defaultdict(list)
    for sale in sales.everything(tx):
        if sale.listing is not None:
            price = with_fee(sale.listing.prices.gpu, sale.listing.platform_fee_ppm)
            found[sale.hardware.gpu_model.name].append(Weighted(price, sale.hardware.gpu_count))
    return found


def free(tx: Tx, gpu_name: str) -> list[Weighted]:
    """The GPUs of a model that nobody holds, by what is asked for one."""
    found = []
    for sale in sales.everything(tx):
        if sale.listing is not None and sale.hardware.gpu_model.name == gpu_name:
            price = with_fee(sale.listing.prices.gpu, sale.listing.platform_fee_ppm)
            found.append(Weighted(price, sale.hardware.gpu_count - len(sale.held)))
    return found


def now(tx: Tx, now_ms: int) -> list[PriceHour]:
    """Every model as it stands, by name."""
    asked = asks(tx)
    held = prices.held(tx)
    hour_ms = now_ms - now_ms % MS_PER_HOUR
    hours = []
    for name in sorted(asked.keys() | {one.gpu_name for one in held}):
        mine = [one for one in held if one.gpu_name == name]
        paid = [Weighted(one.price, one.gpus) for one in mine if not one.by_bid]
        bids = [Weighted(one.price, one.gpus) for one in mine if one.by_bid]
        hours.append(
            PriceHour(
                gpu_name=name,
                hour_ms=hour_ms,
                gpus_offered=sum(one.gpus for one in asked.get(name, ())),
                gpus_rented=sum(one.gpus for one in mine),
                ask_p10=quantile(asked.get(name, ()), 0.1),
                ask_p50=quantile(asked.get(name, ()), 0.5),
                ask_p90=quantile(asked.get(name, ()), 0.9),
                paid_p50=quantile(paid, 0.5),
                bid_p50=quantile(bids, 0.5),
            )
        )
    return hours


def write_hour(tx: Tx, now_ms: int) -> int:
    """Write down the present hour, once; how many models it has."""
    if prices.has(tx, now_ms - now_ms % MS_PER_HOUR):
        return 0
    hours = now(tx, now_ms)
    for hour in hours:
        prices.keep(tx, hour)
    return len(hours)
