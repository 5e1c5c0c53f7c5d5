"""An endpoint: its limits, its targets, and which policy scales it.

Work is counted in units (a token, say) and performance in units a second: a worker of 100 units/s
does a request of cost 100 in a second. The names that the API shows for these fields stand in
control/api; the defaults are those of the newest client (docs of the API, section 4.8).
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NewType

import msgspec

EndpointId = NewType("EndpointId", int)
GroupId = NewType("GroupId", int)

LATE_WEIGHT: Final = 10.0
WORKERS_MAX: Final = 1_000

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "workers_max": (0, WORKERS_MAX),
    "workers_min": (0, WORKERS_MAX),
    "load_min": (0, math.inf),
    "pool_load_min": (0, math.inf),
    "pool_factor": (1, math.inf),
    "worker_wait_max_s": (0, math.inf),
    "wait_aim_s": (0, math.inf),
    "late_weight": (0, math.inf),
    "interruptible_share": (0, 1),
}
"""The least and the most that parameters of an endpoint may be; besides, all are finite, and
`utilisation` is above 0 and at most 1."""


class EndpointState(StrEnum):
    """Who may change the fleet."""

    ACTIVE = "active"
    """The engine scales it."""
    SUSPENDED = "suspended"
    """The engine leaves its workers as they are and goes on routing to them."""
    STOPPED = "stopped"
    """All workers are put to sleep."""


class Policy(StrEnum):
    """Which rule scales the endpoint."""

    AUTO = "auto"
    """Buys capacity where a late request would cost more; learns from the endpoint's own past."""
    QUEUE = "queue"
    """Adds a worker when a request waits too long, drops it after a time without work."""
    VAST = "vast"
    """The documented tick of the engine that this API comes from."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one endpoint, as its owner set them."""

    id: EndpointId = EndpointId(0)
    state: EndpointState = EndpointState.ACTIVE
    policy: Policy = Policy.AUTO

    workers_max: int = 20
    """Never more workers than this, asleep ones counted; wins over every other number."""
    workers_min: int = 5
    """Never fewer workers that have the model on disk, awake or asleep."""
    load_min: float = 0.0
    """Units/s that are always expected; the floor of the capacity awake."""
    pool_load_min: float = 0.0
    """Units/s that the fleet must be able to do, asleep workers counted."""
    utilisation: float = 0.9
    """Capacity awake = load / utilisation."""
    pool_factor: float = 2.5
    """Capacity awake and asleep = this times the capacity awake."""
    worker_wait_max_s: float = 30.0
    """A worker with more than this much work left gets nothing; the request waits in the queue."""
    wait_aim_s: float = 10.0
    """A request that waits longer than this is late, and lateness is what scaling up buys off."""
    idle_before_zero_s: float | None = None
    """No last worker sleeps before this long without a request; negative: it never does."""

    late_weight: float = LATE_WEIGHT
    """What all requests being late would cost, in bills of the cheapest possible fleet on
    demand: 3 is for who would rather wait, 30 for who would rather pay."""
    interruptible_share: float = 0.0
    """Policy `auto`: how much of the fleet may be rented by bid, 0 to 1; who was outbid is no part
    of it until it is back."""

    queue_delay_s: float = 4.0
    """Policy `queue`: a worker is added when a request has waited this long."""
    idle_s: float = 60.0
    """Policy `queue`: a worker goes to sleep after this long without work."""

    def fitting(self) -> "Endpoint":
        """The same with targets that can be met: the most workers win over the least."""
        least = min(self.workers_min, self.workers_max)
        return msgspec.structs.replace(self, workers_min=least)

    @property
    def may_bid(self) -> bool:
        """Whether workers may be rented by bid; the other policies know no share to keep to."""
        return self.policy is Policy.AUTO and self.interruptible_share > 0

    @property
    def always_one(self) -> bool:
        """Whether one worker must stay awake even when nobody asks."""
        return self.load_min > 0 or (
            self.idle_before_zero_s is not None and self.idle_before_zero_s < 0
        )

    @property
    def floor(self) -> float:
        """Units/s that must be awake whatever is asked: `load_min` with its headroom."""
        return self.load_min / self.utilisation

    def last_stays(self, idle_s: float) -> bool:
        """Whether the last worker awake must stay so, this long after the last request."""
        gate_s = self.idle_before_zero_s
        return self.always_one or (gate_s is not None and idle_s < gate_s)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A worker group, as far as decisions go: which version it runs and how long it learns."""

    id: GroupId
    version: int = 0
    """Rises with every change of template; workers of an older one are updated."""
    test_workers: int = 3
    """How many machines to measure before the cheapest per performance alone is rented."""
    slots: int = 0
    """Requests that one worker does at once; 0 when not known, then it is learned."""
