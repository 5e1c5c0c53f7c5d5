"""What recorded traffic would have cost, and how long it would have waited, under other parameters.

The traffic is played through the endpoint's own decisions, router and queue on a clock of its own,
with a fleet of one kind of worker that never fails: what differs between two replays is what the
parameters make of it.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

import msgspec

from mercato.market.ids import ContractId, MachineId, OfferId
from mercato.market.money import MS_PER_S, NanoUsd, NanoUsdPerHour, accrued
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, GroupId, Policy
from mercato.serverless.load import Load
from mercato.serverless.queue import Queue, Request, RequestIdx
from mercato.serverless.recruit import Candidate
from mercato.serverless.route import Router
from mercato.serverless.scale import Memory, decide
from mercato.serverless.worker import State, Worker

BIND_EARLY_S: Final = 1.5
GROUP: Final = GroupId(0)
FOREVER_S: Final = 1e12
GIVE_UP_S: Final = 3_600.0
"""After the last request; what has not begun by then counts as having waited until then."""


class Asked(msgspec.Struct, frozen=True):
    """One recorded request: when it came, in seconds, and the units that it cost."""

    at_s: float
    units: float


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The kind of worker to replay with, as the endpoint's own have shown it."""

    gpu_price: NanoUsdPerHour
    storage_price: NanoUsdPerHour
    perf: float
    """Units/s."""
    slots: int = 8
    start_s: float = 30.0
    """From waking to serving; its GPU is paid."""
    load_s: float = 240.0
    """From renting to serving; its GPU is paid."""
    rent: NanoUsd = NanoUsd(75_000_000)
    """What fetching image and model costs."""
    awake: int = 1
    asleep: int = 0
    """Workers at the beginning."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay."""

    cost: NanoUsd
    requests: int
    p50_s: float
    p95_s: float
    """Seconds from a request's coming to its start at a worker."""
    late: float
    """The share that waited longer than the endpoint aims at."""
    rented: int
    woken: int


def replay(
    traffic: Sequence[Asked], endpoint: Endpoint, terms: Terms, *, from_s: float, to_s: float
) -> Outcome:
    """Play `traffic`, in order of time, and bill the whole span in which it was recorded.

    The span is in seconds, its quiet hours too. What is not served at its end is served after it,
    for an hour after the last came at most.

    Raises:
        ValueError: when there is no traffic, the terms name a worker that can do nothing, or the
            endpoint may have no worker.
    """
    if not traffic:
        raise ValueError("there is no recorded traffic to replay: choose a time with requests")
    if terms.perf <= 0 or terms.slots < 1:
        raise ValueError("a worker to replay with needs a performance and at least one slot")
    if endpoint.workers_max < 1:
        raise ValueError("an endpoint of at most 0 workers serves nothing: raise max_workers")
    return _Replay(traffic, endpoint, terms, from_s).play(to_s)


class _Replay:
    """One endpoint on its own clock."""

    def __init__(
        self, traffic: Sequence[Asked], endpoint: Endpoint, terms: Terms, from_s: float
    ) -> None:
        self._traffic = traffic
        self._endpoint = endpoint
        self._terms = terms
        self._load = Load()
        self._memory = Memory()
        self._queue = Queue(poll_timeout_s=FOREVER_S)
        pack = endpoint.policy is not Policy.VAST
        early_s = min(BIND_EARLY_S, endpoint.worker_wait_max_s)
        self._router = Router(wait_max_s=early_s if pack else endpoint.worker_wait_max_s, pack=pack)
        self._workers: dict[ContractId, Worker] = {}
        self._lines: dict[ContractId, list[RequestIdx]] = {}
        """Requests at each worker, those being done first, oldest first."""
        self._events: list[tuple[float, int, ContractId]] = []
        """Ends of requests, and of starts and loads with the request -1."""
        self._waits: list[float] = [0.0] * len(traffic)
        self._now_s = from_s
        self._cost = 0
        self._rented = self._woken = self._served = self._named = 0

    def play(self, to_s: float) -> Outcome:
        for at in range(self._terms.awake + self._terms.asleep):
            self._add(State.READY if at < self._terms.awake else State.STOPPED)
        coming = 0
        last_s = self._traffic[-1].at_s + GIVE_UP_S
        while self._now_s < to_s or (self._served < len(self._traffic) and self._now_s < last_s):
            tick_s = self._now_s + 1.0
            while True:
                ends_s = self._events[0][0] if self._events else FOREVER_S
                comes_s = self._traffic[coming].at_s if coming < len(self._traffic) else FOREVER_S
                if min(ends_s, comes_s) > tick_s:
                    break
                if comes_s < ends_s:
                    self._ask(coming, comes_s)
                    coming += 1
                else:
                    self._end(*heappop(self._events))
            self._tick(tick_s)
        return self._outcome()

    def _ask(self, at: int, now_s: float) -> None:
        units = self._traffic[at].units
        self._load.arrive(now_s, units)
        self._queue.push(Request(idx=RequestIdx(at), cost=units, arrived_s=now_s))
        self._serve(now_s)

    def _serve(self, now_s: float) -> None:
        while len(self._queue) and (worker := self._router.pick()) is not None:
            request = self._queue.pop()
            assert request is not None
            self._router.assign(worker, request.cost)
            line = self._lines[worker.id]
            line.append(request.idx)
            if len(line) <= worker.slots:
                self._start(request.idx, worker, now_s)

    def _start(self, idx: RequestIdx, worker: Worker, now_s: float) -> None:
        asked = self._traffic[idx]
        self._waits[idx] = now_s - asked.at_s
        ends_s = now_s + asked.units * worker.slots / worker.perf
        heappush(self._events, (ends_s, idx, worker.id))

    def _end(self, now_s: float, idx: int, name: ContractId) -> None:
        worker = self._workers[name]
        if idx < 0:
            worker.state, worker.since_s, worker.benchmark = State.READY, now_s, worker.perf
            worker.idle_since_s = now_s
            self._router.put(worker)
        else:
            self._served += 1
            line = self._lines[name]
            line.remove(RequestIdx(idx))
            self._router.release(worker, self._traffic[idx].units)
            if len(line) >= worker.slots:
                self._start(line[worker.slots - 1], worker, now_s)
            elif not line:
                worker.idle_since_s = now_s
                if worker.state is State.DRAINING:
                    worker.state, worker.since_s = State.STOPPED, now_s
        self._serve(now_s)

    def _tick(self, now_s: float) -> None:
        self._now_s = now_s
        for worker in self._workers.values():
            rate = worker.storage_price + (worker.gpu_price if worker.state.bills_gpu else 0)
            self._cost += accrued(NanoUsdPerHour(rate), MS_PER_S)
        self._load.tick(now_s, self._queue.waiting(now_s))
        fleet = tuple(self._workers.values())
        decisions = decide(now_s, self._endpoint, self._load, fleet, self._offers(), self._memory)
        for decision in decisions:
            self._do(decision)
        self._serve(now_s)

    def _do(self, decision: Decision) -> None:
        now_s = self._now_s
        if decision.kind is Kind.RENT:
            self._rented += 1
            self._cost += self._terms.rent
            worker = self._add(State.LOADING)
            heappush(self._events, (now_s + self._terms.load_s, -1, worker.id))
            return
        assert decision.worker is not None
        worker = self._workers[decision.worker]
        worker.since_s = now_s
        match decision.kind:
            case Kind.WAKE if worker.state is State.DRAINING:
                worker.state = State.READY
                self._router.put(worker)
            case Kind.WAKE:
                self._woken += 1
                worker.state = State.STARTING
                heappush(self._events, (now_s + self._terms.start_s, -1, worker.id))
            case Kind.SLEEP:
                self._router.drop(worker.id)
                worker.state = State.DRAINING if worker.requests else State.STOPPED
            case Kind.DESTROY:
                del self._workers[worker.id]
            case _:
                pass

    def _add(self, state: State) -> Worker:
        self._named += 1
        terms = self._terms
        worker = Worker(
            id=ContractId(self._named),
            group=GROUP,
            machine=MachineId(self._named),
            kind="replayed",
            gpu_price=terms.gpu_price,
            on_demand_price=terms.gpu_price,
            storage_price=terms.storage_price,
            state=state,
            since_s=self._now_s,
            created_s=self._now_s,
            slots=terms.slots,
            estimate=terms.perf,
            benchmark=0.0 if state is State.LOADING else terms.perf,
            perf=terms.perf,
        )
        self._workers[worker.id] = worker
        self._lines[worker.id] = []
        if state is State.READY:
            self._router.put(worker)
        return worker

    def _offers(self) -> list[Candidate]:
        """As many as the endpoint has room for."""
        terms = self._terms
        return [
            Candidate(
                offer=OfferId(self._named + at),
                group=GROUP,
                machine=MachineId(self._named + at),
                kind="replayed",
                gpu_price=terms.gpu_price,
                storage_price=terms.storage_price,
                estimate=terms.perf,
            )
            for at in range(1, 1 + max(0, self._endpoint.workers_max - len(self._workers)))
        ]

    def _outcome(self) -> Outcome:
        while (left := self._queue.pop()) is not None:
            self._waits[left.idx] = self._now_s - left.arrived_s
        waits = sorted(self._waits)
        return Outcome(
            cost=NanoUsd(self._cost),
            requests=len(waits),
            p50_s=waits[len(waits) // 2],
            p95_s=waits[int(0.95 * len(waits))],
            late=sum(wait_s > self._endpoint.wait_aim_s for wait_s in waits) / len(waits),
            rented=self._rented,
            woken=self._woken,
        )
