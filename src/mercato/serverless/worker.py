"""A worker's life as one table: what each state bills, what may be done in it, what it promises.

A worker is an instance that serves an endpoint. Nothing here decides what state it is in: the
engine reads that from the market (is it rented, does it run) and from the worker's own reports
(has it loaded, is it well). The drawn page is docs/states/worker.md.
"""

from enum import Enum
from typing import Final

import msgspec

from mercato.market.ids import ContractId, MachineId
from mercato.market.money import NanoUsdPerHour
from mercato.serverless.endpoint import GroupId

PRIOR_SLOT_S: Final = 60.0
"""A benchmark counts as this many seconds of each slot's observed work."""
BENCHMARK_TRUST: Final = 1.6
"""A benchmark above this times the mean of its kind is not believed beyond it."""
DEGRADED: Final = 0.6
"""A worker that does less than this share of what it claimed is to be replaced."""


class Outlook(Enum):
    """What a state promises for the capacity of the endpoint."""

    NOW = "serves now"
    SOON = "will serve within a start"
    LATER = "will serve once loaded"
    ASLEEP = "would serve within a start, if woken"
    NONE = "promises nothing"


class State(Enum):
    """Label, whether it bills its GPU, its storage, what it promises, what it means."""

    PENDING = ("pending", False, False, Outlook.LATER, "its offer was accepted")
    CREATING = ("creating", False, True, Outlook.LATER, "its host makes the container")
    LOADING = ("loading", True, True, Outlook.LATER, "loads its model and measures itself")
    READY = ("idle", True, True, Outlook.NOW, "takes requests")
    DRAINING = ("stopping", True, True, Outlook.ASLEEP, "finishes its requests, then sleeps")
    STOPPED = ("stopped", False, True, Outlook.ASLEEP, "sleeps with its model on disk")
    STARTING = ("starting", True, True, Outlook.SOON, "wakes up")
    TAKEN = ("unavail", False, True, Outlook.NONE, "cannot wake: its GPUs serve somebody else")
    UPDATING = ("update_starting", True, True, Outlook.SOON, "restarts with the newer version")
    REBOOTING = ("rebooting", True, True, Outlook.SOON, "restarts after an error")
    ERROR = ("error", False, False, Outlook.NONE, "failed")
    DESTROYING = ("destroying", False, False, Outlook.NONE, "is being given back")

    def __init__(
        self,
        label: str,
        bills_gpu: bool,  # noqa: FBT001 - the columns of a table
        bills_storage: bool,  # noqa: FBT001 - the same
        outlook: Outlook,
        meaning: str,
    ) -> None:
        """Name the columns of the table above."""
        self.label = label
        self.bills_gpu = bills_gpu
        self.bills_storage = bills_storage
        self.outlook = outlook
        self.meaning = meaning


class Worker(msgspec.Struct, kw_only=True):
    """One worker as the engine knows it. Written by the engine alone, read by every decision."""

    id: ContractId
    group: GroupId
    machine: MachineId
    kind: str
    """The hardware as one word, such as "2x RTX 4090": workers of a kind are expected alike."""
    gpu_price: NanoUsdPerHour
    on_demand_price: NanoUsdPerHour
    """What its GPUs cost on demand: `gpu_price`, unless it was rented by bid."""
    storage_price: NanoUsdPerHour
    interruptible: bool = False

    state: State = State.PENDING
    since_s: float = 0.0
    """When it came into this state."""
    created_s: float = 0.0
    version: int = 0

    slots: int = 1
    """Requests it does at once."""
    estimate: float = 0.0
    """Units/s guessed from scores made elsewhere, before anything was measured."""
    benchmark: float = 0.0
    """Units/s that it measured of itself; 0 until it has."""
    perf: float = 0.0
    """Units/s to reckon with: `learned` below, or the expectation of its kind before that."""
    seen_units: float = 0.0
    seen_slot_s: float = 0.0
    reliability: float = 1.0

    requests: int = 0
    """Requests routed to it and not known to be finished."""
    work: float = 0.0
    """Units of those requests."""
    sessions: int = 0
    idle_since_s: float = 0.0
    """When it last had nothing to do, while ready."""
    errors: int = 0

    @property
    def price(self) -> NanoUsdPerHour:
        """What an hour awake costs."""
        return NanoUsdPerHour(self.gpu_price + self.storage_price)

    @property
    def slot_wait_s(self) -> float:
        """Seconds until a slot is expected to be free for one more request."""
        over = self.requests + 1 - self.slots
        if over <= 0 or self.perf <= 0 or (self.slots == 1 and over == 1):
            return 0.0
        return over * self.work / (self.requests * self.perf)

    @property
    def wait_s(self) -> float:
        """Seconds of work that it has left, by its performance."""
        return self.work / self.perf if self.perf > 0 else 0.0


def observe(worker: Worker, units: float, slot_s: float, memory_slot_s: float) -> None:
    """Count work that a slot was seen to do; the older it is, the less it counts.

    Args:
        worker: who did it.
        units: what the client claimed for it.
        slot_s: how long it took, by differences of the worker's own clock.
        memory_slot_s: after this many seconds of a slot's work, old observations weigh 1/e.
    """
    if slot_s <= 0 or units < 0:
        return
    keep = max(0.0, 1.0 - slot_s / (memory_slot_s * worker.slots))
    worker.seen_units = worker.seen_units * keep + units
    worker.seen_slot_s = worker.seen_slot_s * keep + slot_s


def learned(worker: Worker, expected: float) -> float:
    """Units/s to reckon with: the benchmark, outweighed by what was seen as that grows.

    A poisoned benchmark loses its weight in about a minute of full work. `expected` is what other
    workers of this kind have shown, 0 when nothing is known.
    """
    claimed = worker.benchmark
    if expected > 0:
        claimed = min(claimed, BENCHMARK_TRUST * expected)
    prior_s = PRIOR_SLOT_S * worker.slots
    per_slot = (claimed / worker.slots * prior_s + worker.seen_units) / (
        prior_s + worker.seen_slot_s
    )
    return per_slot * worker.slots
