"""The world of the benchmark: workers that load, serve, stop and die on a virtual clock.

The model is the study's. A worker has C slots, each at 1/C of its speed, and a queue of its own; a
request's wait is the time from its arrival to the start of the attempt that succeeded.
"""

import math
import random
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from heapq import heappop, heappush
from typing import Final, Protocol

from arena.market import Ask, offers
from arena.scenario import Scenario, Trace

STORAGE_PER_HOUR: Final = 0.02
RECRUIT_COST: Final = 0.075
DROP_S: Final = 600.0
HOUR_S: Final = 3_600.0
TAKEN_AFTER_S: Final = 10.0
"""How long it takes to see that a stopped worker's GPU serves somebody else."""


class Phase(IntEnum):
    """What a worker is doing."""

    CREATING = 0
    LOADING = 1
    READY = 2
    DRAINING = 3
    STOPPED = 4
    STARTING = 5
    TAKEN = 6
    GONE = 7


class SimWorker:
    """A worker with the truth about it."""

    __slots__ = (
        "ask", "benchmark", "born_s", "degraded", "done", "epoch", "fifo", "gpu_from_s", "gpu_s",
        "id", "inbound", "interruptible", "perf", "phase", "price", "ready_s", "report_due",
        "running", "since_s", "slots", "stopped_s",
    )  # fmt: skip

    def __init__(self, name: int, ask: Ask, slots: int, *, interruptible: bool) -> None:
        self.id = name
        self.ask = ask
        self.slots = slots
        self.interruptible = interruptible
        self.price = ask.price * (0.5 if interruptible else 1.0)
        self.perf = ask.perf
        self.benchmark = 0.0
        self.phase = Phase.CREATING
        self.since_s = 0.0
        self.born_s = 0.0
        self.stopped_s = 0.0
        self.epoch = 0
        """Rises with every change of phase but draining, so that old events find nobody."""
        self.running: dict[int, float] = {}
        self.fifo: deque[int] = deque()
        self.inbound = 0
        self.done: list[int] = []
        self.report_due = False
        self.gpu_from_s = -1.0
        self.gpu_s = 0.0
        self.ready_s = 0.0
        self.degraded = False

    @property
    def load(self) -> int:
        """Requests here or on their way here."""
        return len(self.running) + len(self.fifo) + self.inbound


class Controller(Protocol):
    """A policy as the world calls it."""

    period_s: float
    reports: bool
    """Whether it learns of completions from the worker's report each second, or at once."""

    def arrive(self, now_s: float, request: int) -> None:
        """A request asks for a worker; also again, after its worker failed."""

    def finished(self, now_s: float, worker: SimWorker, requests: Sequence[int]) -> None:
        """Requests that this worker has finished."""

    def changed(self, now_s: float, worker: SimWorker) -> None:
        """The worker came into another phase."""

    def tick(self, now_s: float) -> None:
        """Time to think."""


class Event(IntEnum):
    """What a heap entry means."""

    DONE = 0
    REPORT = 1
    REACH = 2
    RETRY = 3
    PHASE = 4
    CRASH = 5
    OUTBID = 6
    DEGRADE = 7


class World:
    """The market, the fleet and the requests of one run."""

    def __init__(self, scenario: Scenario, trace: Trace, seed: int) -> None:
        self.scenario = scenario
        self.trace = trace
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.asks = offers(seed, scenario.slots, scenario.faults)
        self.fleet: dict[int, SimWorker] = {}
        self.dead: list[SimWorker] = []
        self.waits: list[float] = [math.nan] * len(trace.at_s)
        self.retries = 0
        self.recruits = 0
        self.starts = 0
        self.destroys = 0
        self.recruits_paid = 0
        self.units_done = 0.0
        self._events: list[tuple[float, int, Event, SimWorker | None, float]] = []
        self._seq = 0
        self._names = 0
        self._controller: Controller | None = None
        self._storage_s = 0.0

    @property
    def controller(self) -> Controller:
        """Who runs this fleet."""
        assert self._controller is not None
        return self._controller

    # What a policy may do.

    def recruit(self, ask: Ask, *, interruptible: bool = False) -> SimWorker | None:
        """Rent an offer; None when somebody was faster (it is gone for two hours)."""
        assert ask.free_from_s <= self.now_s, ask
        if self.rng.random() >= 0.95:
            ask.free_from_s = self.now_s + 2 * HOUR_S
            return None
        worker = self._new(ask, interruptible=interruptible)
        self.recruits += 1
        if self.now_s >= self.scenario.warm_s:
            self.recruits_paid += 1
        self._enter(worker, Phase.CREATING)
        self._after(15.0 * ask.load_factor, Event.PHASE, worker)
        return worker

    def start(self, worker: SimWorker) -> None:
        """Wake a stopped worker; its GPU may serve somebody else by now."""
        assert worker.phase is Phase.STOPPED
        self.starts += 1
        stopped_for_s = self.now_s - worker.stopped_s
        taken = 0.25 * (1 - math.exp(-stopped_for_s / 21_600)) if not worker.interruptible else 0.0
        if self.rng.random() < taken:
            self._enter(worker, Phase.STARTING, bills=False)
            self._after(TAKEN_AFTER_S, Event.PHASE, worker, 1.0)
            return
        self._enter(worker, Phase.STARTING)
        slow = 1.5 if worker.ask.bad else 1.0
        start_s = self.scenario.start_s * slow * math.exp(self.rng.gauss(0, 0.35))
        self._after(start_s, Event.PHASE, worker)

    def drain(self, worker: SimWorker) -> None:
        """Let a ready worker finish what it has, then stop it."""
        assert worker.phase is Phase.READY
        worker.phase, worker.since_s = Phase.DRAINING, self.now_s
        self.controller.changed(self.now_s, worker)
        self._stop_if_empty(worker)

    def undrain(self, worker: SimWorker) -> None:
        """Let a draining worker go on."""
        assert worker.phase is Phase.DRAINING
        worker.phase, worker.since_s = Phase.READY, self.now_s
        self.controller.changed(self.now_s, worker)

    def destroy(self, worker: SimWorker) -> None:
        """Give a worker back; what it was doing is lost."""
        assert worker.phase is not Phase.GONE
        self.destroys += 1
        self._die(worker)
        worker.ask.free_from_s = self.now_s

    def send(self, request: int, worker: SimWorker, delay_s: float = 0.0) -> None:
        """The client calls this worker, after `delay_s`."""
        if delay_s > 0:
            worker.inbound += 1
            self._after(delay_s, Event.REACH, worker, request)
        elif worker.phase in (Phase.READY, Phase.DRAINING):
            self._reach(worker, request)
        else:
            self._lose([request])

    def drop(self, request: int) -> None:
        """The request waited too long and is given up."""
        self.waits[request] = DROP_S

    # How time passes.

    def run(self, controller: Controller) -> None:
        """From the first second to the last; the controller has been given this world."""
        self._controller = controller
        self._initial_fleet()
        at_s, requests, ends_s = self.trace.at_s, len(self.trace.at_s), self.scenario.end_s
        events, arrive, tick = self._events, controller.arrive, controller.tick
        next_request, tick_s, period_s = 0, 0.0, controller.period_s
        while True:
            request_s = at_s[next_request] if next_request < requests else ends_s
            event_s = events[0][0] if events else ends_s
            if event_s <= request_s and event_s <= tick_s:
                if event_s >= ends_s:
                    break
                self.now_s = event_s
                self._happen(*heappop(events)[2:])
            elif request_s <= tick_s:
                if request_s >= ends_s:
                    break
                self.now_s = request_s
                arrive(request_s, next_request)
                next_request += 1
            else:
                if tick_s >= ends_s:
                    break
                self.now_s = tick_s
                tick(tick_s)
                tick_s += period_s
        self._close()

    def _happen(self, event: Event, worker: SimWorker | None, extra: float) -> None:
        if event is Event.DONE:
            assert worker is not None
            self._done(worker, int(extra))
        elif event is Event.REPORT:
            assert worker is not None
            worker.report_due = False
            done, worker.done = worker.done, []
            self.controller.finished(self.now_s, worker, done)
        elif event is Event.RETRY:
            self.controller.arrive(self.now_s, int(extra))
        elif event is Event.REACH:
            assert worker is not None
            worker.inbound -= 1
            if worker.phase in (Phase.READY, Phase.DRAINING):
                self._reach(worker, int(extra))
            else:
                self._lose([int(extra)])
        else:
            assert worker is not None
            self._rare(event, worker, int(extra))

    def _rare(self, event: Event, worker: SimWorker, extra: int) -> None:
        epoch, taken = divmod(extra, 2)
        if epoch != worker.epoch or worker.phase is Phase.GONE:
            return
        if event is Event.PHASE:
            self._next_phase(worker, taken=bool(taken))
        elif event is Event.CRASH:
            self._die(worker)
        elif event is Event.DEGRADE:
            worker.perf /= 2
            worker.degraded = True
        elif event is Event.OUTBID:
            lost = self._all_requests(worker)
            self._enter(worker, Phase.TAKEN)
            self._after(self.rng.expovariate(1 / (2 * HOUR_S)), Event.PHASE, worker)
            self._lose(lost)

    def _next_phase(self, worker: SimWorker, *, taken: bool) -> None:
        ask = worker.ask
        if worker.phase is Phase.CREATING:
            self._enter(worker, Phase.LOADING)
            load_s = self.scenario.load_s * math.exp(self.rng.gauss(0, 0.45)) * ask.load_factor
            self._after(load_s, Event.PHASE, worker)
        elif worker.phase is Phase.LOADING:
            if ask.fails:
                self._die(worker)
                return
            worker.benchmark = self._measure(worker)
            self._ready(worker)
        elif worker.phase is Phase.STARTING and taken:
            self._enter(worker, Phase.TAKEN)
            self._after(self.rng.expovariate(1 / HOUR_S), Event.PHASE, worker)
        elif worker.phase is Phase.STARTING:
            self._ready(worker)
        elif worker.phase is Phase.TAKEN:
            self._enter(worker, Phase.STOPPED)

    def _ready(self, worker: SimWorker) -> None:
        self._enter(worker, Phase.READY)
        faults = self.scenario.faults
        self._after(self.rng.expovariate(faults.crash_per_hour / HOUR_S), Event.CRASH, worker)
        if worker.interruptible:
            self._after(self.rng.expovariate(1 / (3 * HOUR_S)), Event.OUTBID, worker)
        if worker.ask.degrades and not worker.degraded:
            self._after(max(0.0, 1_800.0 - worker.ready_s), Event.DEGRADE, worker)

    def _measure(self, worker: SimWorker) -> float:
        measured = worker.perf * math.exp(self.rng.gauss(0, 0.05))
        return measured * (8 if worker.ask.poisoned else 1)

    # How requests pass through a worker.

    def _reach(self, worker: SimWorker, request: int) -> None:
        if len(worker.running) < worker.slots:
            self._begin(worker, request)
        else:
            worker.fifo.append(request)

    def _begin(self, worker: SimWorker, request: int) -> None:
        now_s = self.now_s
        self.waits[request] = now_s - self.trace.at_s[request]
        end_s = now_s + self.trace.work[request] * worker.slots / worker.perf
        worker.running[request] = end_s
        self._seq += 1
        heappush(self._events, (end_s, self._seq, Event.DONE, worker, request))

    def _done(self, worker: SimWorker, request: int) -> None:
        if worker.running.get(request) != self.now_s:
            return  # lost with its worker
        del worker.running[request]
        self.units_done += self.trace.work[request]
        if worker.fifo:
            self._begin(worker, worker.fifo.popleft())
        if self.controller.reports:
            worker.done.append(request)
            if not worker.report_due:
                worker.report_due = True
                phase_s = 0.37 * worker.id % 1.0
                at_s = math.floor(self.now_s - phase_s) + 1 + phase_s
                self._seq += 1
                heappush(self._events, (at_s, self._seq, Event.REPORT, worker, 0.0))
        else:
            self.controller.finished(self.now_s, worker, (request,))
        if worker.phase is Phase.DRAINING:
            self._stop_if_empty(worker)

    def _stop_if_empty(self, worker: SimWorker) -> None:
        if worker.phase is Phase.DRAINING and not worker.load:
            worker.stopped_s = self.now_s
            self._enter(worker, Phase.STOPPED)

    def _all_requests(self, worker: SimWorker) -> list[int]:
        lost = [*worker.running, *worker.fifo]
        worker.running.clear()
        worker.fifo.clear()
        return lost

    def _lose(self, requests: Sequence[int]) -> None:
        """Their clients see it and ask again."""
        for request in requests:
            self.retries += 1
            self.waits[request] = math.nan
            self._seq += 1
            heappush(self._events, (self.now_s + 0.1, self._seq, Event.RETRY, None, float(request)))

    # Phases and money.

    def _new(self, ask: Ask, *, interruptible: bool = False) -> SimWorker:
        self._names += 1
        worker = SimWorker(self._names, ask, self.scenario.slots, interruptible=interruptible)
        worker.born_s = worker.since_s = self.now_s
        ask.free_from_s = math.inf
        self.fleet[worker.id] = worker
        return worker

    def _enter(self, worker: SimWorker, phase: Phase, *, bills: bool | None = None) -> None:
        if worker.phase is Phase.READY or worker.phase is Phase.DRAINING:
            worker.ready_s += self.now_s - worker.since_s
        if bills is None:
            bills = phase in (Phase.LOADING, Phase.READY, Phase.STARTING)
        self._meter(worker, bills=bills)
        worker.phase, worker.since_s = phase, self.now_s
        worker.epoch += 1
        self.controller.changed(self.now_s, worker)

    def _meter(self, worker: SimWorker, *, bills: bool) -> None:
        if worker.gpu_from_s >= 0:
            begun_s = max(worker.gpu_from_s, self.scenario.warm_s)
            worker.gpu_s += max(0.0, min(self.now_s, self.scenario.end_s) - begun_s)
        worker.gpu_from_s = self.now_s if bills else -1.0

    def _die(self, worker: SimWorker) -> None:
        lost = self._all_requests(worker)
        self._enter(worker, Phase.GONE)
        worker.ask.free_from_s = self.now_s + 2 * HOUR_S
        del self.fleet[worker.id]
        self.dead.append(worker)
        self._storage(worker)
        self._lose(lost)

    def _storage(self, worker: SimWorker) -> None:
        self._storage_s += max(0.0, self.now_s - max(worker.born_s, self.scenario.warm_s))

    def _after(self, delay_s: float, event: Event, worker: SimWorker, extra: float = 0.0) -> None:
        self._seq += 1
        if event is not Event.REACH:
            extra = worker.epoch * 2 + extra
        heappush(self._events, (self.now_s + delay_s, self._seq, event, worker, extra))

    def _initial_fleet(self) -> None:
        sound = [
            ask
            for ask in self.asks
            if ask.kind.name == "RTX4090"
            and not ask.bad
            and not (ask.fails or ask.poisoned or ask.degrades)
        ]
        sound.sort(key=lambda ask: ask.price / ask.perf)
        scenario = self.scenario
        for at, ask in enumerate(sound[: scenario.ready + scenario.stopped]):
            worker = self._new(ask)
            worker.benchmark = self._measure(worker)
            if at < scenario.ready:
                self._ready(worker)
            else:
                self._enter(worker, Phase.STOPPED)

    def _close(self) -> None:
        self.now_s = self.scenario.end_s
        for worker in self.fleet.values():
            self._meter(worker, bills=False)
            self._storage(worker)
        for request, wait_s in enumerate(self.waits):
            if math.isnan(wait_s):
                self.waits[request] = min(DROP_S, self.now_s - self.trace.at_s[request])

    def cost(self) -> float:
        """Dollars of GPUs, storage and recruiting between warm and end."""
        gpu = sum(
            worker.price * worker.gpu_s / HOUR_S for worker in [*self.fleet.values(), *self.dead]
        )
        return gpu + STORAGE_PER_HOUR * self._storage_s / HOUR_S + RECRUIT_COST * self.recruits_paid

    def billed_perf_s(self) -> float:
        """Units that the billed GPU time could have done."""
        return sum(worker.ask.perf * worker.gpu_s for worker in [*self.fleet.values(), *self.dead])
