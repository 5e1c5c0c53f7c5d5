"""A fleet at one moment, as the policies reckon with it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from mercato.market.money import MS_PER_HOUR, MS_PER_S
from mercato.serverless.recruit import Kinds
from mercato.serverless.worker import Outlook, State, Worker

HOUR_S: Final = MS_PER_HOUR / MS_PER_S
UNKNOWN_PERF: Final = 1.0
"""Units/s of a worker when nothing at all is known of any."""
UNKNOWN_PRICE: Final = 300_000.0
"""Nano-dollars an hour for a unit/s when there is no worker yet: a usual GPU's, for tokens."""


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """An average worker: of the fleet, or of the last one when all its workers are gone."""

    worker: float = UNKNOWN_PERF
    """Units/s."""
    slot_perf: float = UNKNOWN_PERF
    price: float = UNKNOWN_PRICE
    """Nano-dollars an hour for a unit/s awake."""
    on_demand: float = UNKNOWN_PRICE
    """The same, were all of it rented on demand."""


class FleetNow(msgspec.Struct, kw_only=True):
    """The capacity of a fleet by what its workers promise, in units/s."""

    perfs: dict[int, float]
    """Of each worker by id; expected where it has not been measured."""
    usual: Usual = Usual()
    """An average worker."""
    ready: float = 0.0
    starting: float = 0.0
    loading: float = 0.0
    asleep: float = 0.0
    workers: int = 0
    """Those that promise anything."""
    gpu_price: float = 0.0
    """Nano-dollars an hour of all their GPUs."""
    on_demand_price: float = 0.0
    """The same, were all of them rented on demand."""
    storage_price: float = 0.0
    slots: int = 0

    @property
    def awake(self) -> float:
        """What serves, or will within a start."""
        return self.ready + self.starting

    @property
    def pool(self) -> float:
        """What is awake, asleep or on its way."""
        return self.ready + self.starting + self.loading + self.asleep

    @property
    def worker(self) -> float:
        """Units/s of an average worker."""
        return self.usual.worker

    @property
    def slot_perf(self) -> float:
        """Units/s of an average slot."""
        return self.usual.slot_perf

    @property
    def awake_s(self) -> float:
        """Nano-dollars for one unit/s awake for a second."""
        return self.usual.price / HOUR_S

    @property
    def on_demand_s(self) -> float:
        """The same, were all of it rented on demand."""
        return self.usual.on_demand / HOUR_S


def look(workers: Sequence[Worker], kinds: Kinds, before: Usual) -> FleetNow:
    """Add up a fleet; `before` is what an average worker of it was at the last look.

    A worker of which nothing is known counts as an average one.
    """
    perfs = {
        one.id: one.perf if one.perf > 0 else kinds.expected(one.kind, one.estimate)
        for one in workers
    }
    known = [perfs[one.id] for one in workers if one.state.outlook is not Outlook.NONE]
    known = [perf for perf in known if perf > 0]
    unknown = sum(known) / len(known) if known else before.worker
    now = FleetNow(perfs={name: perf or unknown for name, perf in perfs.items()}, usual=before)
    for worker in workers:
        perf, outlook = now.perfs[worker.id], worker.state.outlook
        if outlook is Outlook.NONE:
            continue
        if worker.state is State.READY:
            now.ready += perf
        elif outlook is Outlook.SOON:
            now.starting += perf
        elif outlook is Outlook.LATER:
            now.loading += perf
        else:
            now.asleep += perf
        now.workers += 1
        now.gpu_price += worker.gpu_price
        now.on_demand_price += worker.on_demand_price
        now.storage_price += worker.storage_price
        now.slots += worker.slots
    if now.pool > 0:
        now.usual = Usual(
            worker=now.pool / now.workers,
            slot_perf=now.pool / max(1, now.slots),
            price=now.gpu_price / now.pool,
            on_demand=now.on_demand_price / now.pool,
        )
    return now
