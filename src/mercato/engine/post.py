"""One worker at its post: what the market says, what it says itself, what to make of both.

A worker's own word is never more than a claim. It is bounded here, on the way in; what it claims to
do is weighed against what it is seen to do (serverless/worker.py).
"""

import math
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from mercato.engine.hearing import Hearing
from mercato.market.contract import Kind as Contract
from mercato.market.instance import State as Instance
from mercato.serverless.worker import DEGRADED, PRIOR_SLOT_S, State, Worker
from mercato.wire.fleet import WorkerFact
from mercato.wire.worker import UNITS_MAX, Status

PERF_MAX: Final = 1e12
SLOTS_MAX: Final = 4_096
IDXS_MAX: Final = 20_000
SILENT_BUSY_S: Final = 15.0
"""A worker with requests that has not been heard for this long is looked for."""
SILENT_S: Final = 25.0
"""So is one without."""
WITNESS_SLOT_S: Final = 20.0
"""So much work seen of a worker is enough for the others to be compared with it."""
OUTCOMES: Final = 10
FAILURES: Final = 3
"""Of the last ten requests handed to a worker; then it gets none for a while."""
ORDER_SEEN_S: Final = 5.0
"""So long after a restart was ordered, that it has ended may be news from before the order."""
PAUSE_S: Final = 5.0
PAUSE_MAX_S: Final = 60.0


class BadReport(ValueError):  # noqa: N818 - an answer to a worker, not a fault of ours
    """A report that cannot be true; the message says which part."""


class Post:
    """A worker as the engine knows it."""

    def __init__(self, fact: WorkerFact, now_s: float) -> None:
        """A worker of which only the market has spoken."""
        self.fact = fact
        self.worker = Worker(
            id=fact.id,
            group=fact.group,
            machine=fact.machine,
            kind=fact.kind,
            gpu_price=fact.gpu_price,
            on_demand_price=fact.on_demand_price,
            storage_price=fact.storage_price,
            interruptible=fact.contract is Contract.INTERRUPTIBLE,
            reliability=fact.reliability,
            version=fact.version,
            created_s=fact.created_at_ms / 1_000,
            since_s=now_s,
        )
        self.url = ""
        """Where clients reach it; empty until it has said so."""
        self.loaded = False
        """Whether this run of it has loaded its model and measured itself."""
        self.loaded_once = False
        """Whether any run has."""
        self.on_disk = False
        """Whether a run of what it runs now has: image and model are on its disk."""
        self.loaded_s = self.load_took_s = 0.0
        """When it had loaded, and how long that took by its own word."""
        self.error = ""
        self.heard_s = 0.0
        """When it last reported, by our clock; 0 before it ever did."""
        self.boot, self.sequence = "", 0
        self.hearing = Hearing(now_s)
        self.slots_told = self.peak = 0
        """Requests that it does at once by its word, and the most that were seen at once."""
        self.recalled = False
        """Known from the engine before, and not heard by this one yet."""
        self.probing = False
        self.lost = False
        """Looked for and not found; until it reports again."""
        self.paused_until_s = 0.0
        self.pause_s = PAUSE_S
        self.outcomes: deque[bool] = deque(maxlen=OUTCOMES)
        self.draining = False
        """Told to finish what it has: it gets nothing new."""
        self.ordered: State | None = None
        """What it was told to become, until it is seen to have become it."""
        self.ordered_s = 0.0
        self.reboots = 0
        self.refused = ""
        """Why the market would not restart it the last time; empty when it did."""
        self.well_since_s = 0.0
        self.degraded_since_s = 0.0
        """Since when it does much less than it should; 0 while it does not."""
        self.load = self.new_load = self.served = self.disk_gb = 0.0

    def take_fact(self, fact: WorkerFact) -> bool:
        """What the market says now; whether it says that this run of it has ended."""
        ended = fact.state is not self.fact.state and fact.state in _ENDED
        self.fact = fact
        if ended:
            self.loaded_once |= self.loaded
            self.forget_run()
        worker = self.worker
        worker.gpu_price, worker.storage_price = fact.gpu_price, fact.storage_price
        worker.on_demand_price = fact.on_demand_price
        worker.reliability, worker.version = fact.reliability, fact.version
        return ended

    def take(self, status: Status, now_s: float) -> bool:
        """What the worker says now; False when it is old news.

        Raises:
            BadReport: when it cannot be true; then nothing of it is taken.
        """
        if status.boot and status.boot == self.boot and status.sequence <= self.sequence:
            return False
        if self.hearing.is_past(status, now_s):
            return False
        check(status, self.fact.address)
        self.boot, self.sequence = status.boot, status.sequence
        self.heard_s = now_s
        self.lost = False
        if self.recalled:
            self.recalled, self.paused_until_s = False, 0.0
        self.error = (status.error_msg or "")[:1_000]
        self.load, self.disk_gb = _amount(status.cur_load), _amount(status.disk_usage)
        self.new_load, self.served = _amount(status.new_load), _amount(status.cur_perf)
        self.slots_told = status.slots
        if status.url:
            self.url = status.url.rstrip("/")
        loaded = status.loadtime > 0 and status.max_perf > 0 and not self.error
        if loaded and not self.loaded:
            self.loaded_s = now_s
            self.loaded_once = self.on_disk = True
            self.load_took_s = status.loadtime
            self.well_since_s = now_s
        self.loaded = loaded
        if loaded:
            self.worker.benchmark = status.max_perf
        return True

    def settle(self, now_s: float) -> State:
        """The state that all of this amounts to, written on the worker."""
        state = self._state(now_s)
        worker = self.worker
        if state is State.STOPPED:
            self.forget_run()
            self.loaded_once, self.draining, self.ordered = True, False, None
        if state is worker.state:
            return state
        if state is State.READY:
            self.ordered = None
            worker.idle_since_s = now_s
        worker.state, worker.since_s = state, now_s
        return state

    def _state(self, now_s: float) -> State:
        instance = self.fact.state
        decided = self._by_market(now_s)
        if decided is not None:
            return decided
        if instance is Instance.OFFLINE and (self.lost or not self.loaded):
            return State.TAKEN
        # A report is proof that it runs, sooner than the market can know.
        if instance is Instance.RUNNING or self.loaded or self.error or self.lost:
            return self._running()
        if instance is Instance.SCHEDULING:
            return State.TAKEN if self.loaded_once else State.PENDING
        if self.loaded_once:
            return self.ordered or State.STARTING
        return State.LOADING if instance is Instance.LOADING else State.CREATING

    def _by_market(self, now_s: float) -> State | None:
        """What the market says that leaves the worker nothing to say; None when it says none."""
        if self.fact.state is Instance.STOPPING:
            return self._stopping()
        state = _BY_MARKET.get(self.fact.state)
        old_news = self.ordered in _ANEW and now_s - self.ordered_s < ORDER_SEEN_S
        return self.ordered if state is State.ERROR and old_news else state

    def _stopping(self) -> State:
        if self.ordered in _ANEW:
            return self.ordered  # it ended by itself, and its host is about to start it
        ours = self.draining or self.ordered is State.STOPPED or not self.loaded
        # Else somebody else takes its GPUs: nobody can wake it.
        return State.DRAINING if ours else State.TAKEN

    def _running(self) -> State:
        if self.error or self.lost:
            return State.ERROR
        if self.draining:
            return State.DRAINING
        if self.loaded:
            return State.READY
        return (self.ordered or State.STARTING) if self.loaded_once else State.LOADING

    def order(self, state: State, now_s: float) -> None:
        """It was told to become this."""
        self.ordered, self.ordered_s = state, now_s

    def restart(self, state: State, now_s: float) -> None:
        """Its host was told to begin it anew; its last run may go on speaking for a while."""
        self.forget_run()
        if state is State.UPDATING:
            self.on_disk = False
        self.order(state, now_s)
        self.hearing.restarted(self.boot, now_s)

    def forget_run(self) -> None:
        """It is being restarted: what it said of its last run is over."""
        self.loaded = False
        self.error = ""
        self.lost = False
        self.heard_s = 0.0
        self.outcomes.clear()
        self.paused_until_s = 0.0

    def does(self, enough_slot_s: float) -> float:
        """Units/s that it was seen to do; 0 before a slot was seen at work for so long."""
        worker = self.worker
        if worker.seen_slot_s < enough_slot_s:
            return 0.0
        return worker.seen_units / worker.seen_slot_s * worker.slots

    @property
    def kept(self) -> float:
        """How much of its claim it keeps, as far as was seen."""
        claim = self.worker.benchmark
        return self.does(WITNESS_SLOT_S) / claim if claim > 0 else 0.0

    def judge(self, kept: float, kind_does: float, now_s: float) -> None:
        """See whether it does what it should: what it claims, or what its kind does if less.

        `kept` is how much of its claim the best worker here keeps, `kind_does` what the middle one
        of its kind is seen to do: where nobody keeps a claim, requests are harder than the
        benchmark, and no worker is to blame.
        """
        claim = self.worker.benchmark * min(1.0, kept)
        should = min(claim, kind_does or claim)
        does = self.does(PRIOR_SLOT_S)
        if not does or does >= DEGRADED * should:
            self.degraded_since_s = 0.0
        elif not self.degraded_since_s:
            self.degraded_since_s = now_s

    def routable(self, now_s: float) -> bool:
        """Whether it may get requests."""
        return (
            self.worker.state is State.READY
            and bool(self.url)
            and not self.probing
            and now_s >= self.paused_until_s
        )

    def silent(self, now_s: float) -> bool:
        """Whether it is time to look for it."""
        patience_s = SILENT_BUSY_S if self.worker.requests else SILENT_S
        return self.heard_s > 0 and now_s - self.heard_s > patience_s

    def went(self, *, well: bool, now_s: float) -> None:
        """Note how a request went; after too many failures it gets none for a while."""
        self.outcomes.append(well)
        if well and len(self.outcomes) == OUTCOMES and all(self.outcomes):
            self.pause_s = PAUSE_S
        if self.outcomes.count(False) >= FAILURES:
            self.outcomes.clear()
            self.paused_until_s = now_s + self.pause_s
            self.pause_s = min(2 * self.pause_s, PAUSE_MAX_S)


_BY_MARKET: Final = {
    Instance.STOPPED: State.STOPPED,
    Instance.EXITED: State.ERROR,
    Instance.FAILED: State.ERROR,
    Instance.DESTROYING: State.DESTROYING,
    Instance.DESTROYED: State.DESTROYING,
}
"""States of an instance that leave the worker nothing to say."""

_ANEW: Final = (State.REBOOTING, State.UPDATING)
"""What a worker is told to become whose container begins anew."""

_ENDED: Final = frozenset({Instance.SCHEDULING, Instance.STOPPED, Instance.EXITED, Instance.FAILED})
"""States of an instance whose container does not run."""


def _amount(told: float) -> float:
    """What a worker says of something that is only shown, or weighed against our own books."""
    return min(max(told, 0.0), UNITS_MAX) if math.isfinite(told) else 0.0


def check(status: Status, address: str) -> None:
    """Refuse a report that cannot be true.

    `address` is where the worker's host is; it may not send clients anywhere else. Empty: anywhere.

    Raises:
        BadReport: with the part that is wrong.
    """
    if not (math.isfinite(status.loadtime) and status.loadtime >= 0):
        raise BadReport("loadtime is negative or no number")
    if not (math.isfinite(status.max_perf) and 0 <= status.max_perf <= PERF_MAX):
        raise BadReport("max_perf is negative or no number")
    if not 0 <= status.slots <= SLOTS_MAX or status.sequence < 0:
        raise BadReport("slots or sequence is out of bounds")
    if len(status.working_request_idxs) > IDXS_MAX:
        raise BadReport("too many requests at once")
    if status.url:
        _check_url(status.url, address)


def _check_url(url: str, address: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadReport("the url is none") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise BadReport("the url is no http or https address")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise BadReport("the url has more than an address and a port")
    if address and parts.hostname != address:
        raise BadReport(f"the url is not at the worker's host, {address}")
