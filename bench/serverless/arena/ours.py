"""The engine's own code in the benchmark's world: its queue, its router, its decisions.

What the engine does around them is played here: workers' reports, what a client claims, the calls
that carry a decision out.
"""

from collections.abc import Sequence
from typing import Final

from arena.market import Ask
from arena.scenario import Scenario
from arena.world import DROP_S, STORAGE_PER_HOUR, Phase, SimWorker, World
from mercato.market.ids import ContractId, MachineId, OfferId
from mercato.market.money import NanoUsdPerHour, nano
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, GroupId, Policy
from mercato.serverless.load import Load
from mercato.serverless.queue import Queue, Request, RequestIdx
from mercato.serverless.recruit import Candidate
from mercato.serverless.route import Router
from mercato.serverless.scale import Memory, decide
from mercato.serverless.worker import State, Worker, learned, observe

STATES = {
    Phase.CREATING: State.CREATING,
    Phase.LOADING: State.LOADING,
    Phase.READY: State.READY,
    Phase.DRAINING: State.DRAINING,
    Phase.STOPPED: State.STOPPED,
    Phase.STARTING: State.STARTING,
    Phase.TAKEN: State.TAKEN,
    Phase.GONE: State.DESTROYING,
}
MEMORY_SLOT_S: Final = 600.0
BIND_EARLY_S: Final = 1.5
LOOK_S: Final = 60.0
"""How often the market is asked for offers; at once after one of them was taken."""
GROUP: Final = GroupId(1)


def endpoint(scenario: Scenario, policy: Policy, *, bids: float = 0.0) -> Endpoint:
    """The parameters of a scenario's endpoint: how much to keep is left to the policy."""
    if policy is Policy.VAST:
        # Its parameters are its policy: those of the newest client.
        return Endpoint(
            policy=policy,
            workers_max=scenario.workers_max,
            workers_min=min(5, scenario.workers_max),
            idle_before_zero_s=-1.0 if scenario.hot_min else None,
        )
    return Endpoint(
        policy=policy,
        workers_max=scenario.workers_max,
        workers_min=0,
        pool_factor=1.0,
        idle_before_zero_s=-1.0 if scenario.hot_min else None,
        interruptible_share=bids,
    )


class Ours:
    """One endpoint under the engine's code."""

    period_s = 1.0
    reports = True

    def __init__(self, world: World, parameters: Endpoint) -> None:
        self.world = world
        self.parameters = parameters
        self.memory = Memory()
        self.kinds = self.memory.auto.kinds
        self.load = Load()
        self.queue = Queue(poll_timeout_s=DROP_S)
        self.polled = parameters.policy is Policy.VAST
        """Whether waiting clients ask again from time to time, instead of being held."""
        self.router = (
            Router(wait_max_s=parameters.worker_wait_max_s, pack=False)
            if self.polled
            else Router(wait_max_s=BIND_EARLY_S)
        )
        self.workers: dict[ContractId, Worker] = {}
        self.given: dict[int, Worker] = {}
        """Which worker has a request."""
        self.asks = {OfferId(2 * ask.id): ask for ask in world.asks}
        bids = {OfferId(2 * ask.id + 1): ask for ask in world.asks}
        self.asks |= bids if parameters.interruptible_share > 0 else {}
        self.candidates = [self._candidate(offer, ask) for offer, ask in self.asks.items()]
        self.offers: list[Candidate] = []
        self.looked_s = -LOOK_S
        self.decisions: list[tuple[float, Decision]] = []

    # Requests.

    def arrive(self, now_s: float, request: int) -> None:
        """A request asks for a worker; also again, after its worker failed."""
        arrived_s, cost = self.world.trace.at_s[request], self.world.trace.claimed[request]
        before = self.given.pop(request, None)
        if before is not None:
            self.router.release(before, cost)
        elif now_s == arrived_s:
            self.load.arrive(now_s, cost)
        if not len(self.queue):
            worker = self.router.pick()
            if worker is not None:
                self._send(request, cost, worker)
                return
        self.queue.push(Request(idx=RequestIdx(request), cost=cost, arrived_s=arrived_s))
        if before is not None:
            self._serve()

    def finished(self, now_s: float, worker: SimWorker, requests: Sequence[int]) -> None:
        """A worker's report of what it has done."""
        trace, perf = self.world.trace, worker.perf
        mine: Worker | None = None
        for request in requests:
            mine = self.given.pop(request)
            cost = trace.claimed[request]
            self.router.release(mine, cost)
            if not mine.requests:
                mine.idle_since_s = now_s
            observe(mine, cost, trace.work[request] * worker.slots / perf, MEMORY_SLOT_S)
        assert mine is not None
        self._measure(mine)
        if mine.state is State.READY:
            self.router.put(mine)
            self._serve()

    def _send(self, request: int, cost: float, worker: Worker) -> None:
        self.router.assign(worker, cost)
        self.given[request] = worker
        self.world.send(request, self.world.fleet[worker.id], self._poll_s(request))

    def _poll_s(self, request: int) -> float:
        """How long until a waiting client asks again and hears of its worker."""
        waited_s = self.world.now_s - self.world.trace.at_s[request]
        if not self.polled or waited_s <= 0:
            return 0.0
        rng = self.world.rng
        return rng.random() * (1.0 if waited_s < 1 else rng.uniform(0.1, 5.0))

    def _serve(self) -> None:
        queue, router = self.queue, self.router
        while len(queue):
            worker = router.pick()
            if worker is None:
                return
            request = queue.pop()
            assert request is not None
            self._send(request.idx, request.cost, worker)

    # Workers.

    def changed(self, now_s: float, worker: SimWorker) -> None:
        """A worker came into another phase."""
        name = ContractId(worker.id)
        mine = self.workers.get(name)
        if mine is None:
            mine = self.workers[name] = self._worker(worker)
        mine.state, mine.since_s = STATES[worker.phase], now_s
        if worker.benchmark and not mine.benchmark:
            mine.benchmark = worker.benchmark
            self._measure(mine)
        if mine.state is State.READY:
            self.router.put(mine)
            self._serve()
        else:
            self.router.drop(name)
        if worker.phase is Phase.GONE:
            del self.workers[name]
            self.looked_s = -LOOK_S

    def _measure(self, mine: Worker) -> None:
        if self.polled:
            mine.perf = mine.benchmark  # this policy believes what a worker says
        else:
            mine.perf = learned(mine, self.kinds.expected(mine.kind, mine.estimate))

    def tick(self, now_s: float) -> None:
        """Decide, and do it."""
        queue = self.queue
        while (head := queue.peek()) is not None and now_s - head.arrived_s > DROP_S:
            queue.pop()
            self.world.drop(head.idx)
        self.load.tick(now_s, queue.waiting(now_s))
        if now_s - self.looked_s >= LOOK_S:
            self.looked_s = now_s
            free = {offer for offer, ask in self.asks.items() if ask.free_from_s <= now_s}
            self.offers = [one for one in self.candidates if one.offer in free]
        workers = tuple(self.workers.values())
        decisions = decide(now_s, self.parameters, self.load, workers, self.offers, self.memory)
        for decision in decisions:
            self.decisions.append((now_s, decision))
            self._do(now_s, decision)
        if decisions:
            self._serve()

    def _do(self, now_s: float, decision: Decision) -> None:
        if decision.kind is Kind.RENT:
            assert decision.offer is not None
            ask = self.asks[decision.offer]
            self.looked_s = -LOOK_S
            if ask.free_from_s <= now_s:
                self.world.recruit(ask, interruptible=decision.bid is not None)
            return
        assert decision.worker is not None
        worker = self.world.fleet[decision.worker]
        if decision.kind is Kind.WAKE:
            if worker.phase is Phase.DRAINING:
                self.world.undrain(worker)
            else:
                self.world.start(worker)
        elif decision.kind is Kind.SLEEP:
            self.world.drain(worker)
        elif decision.kind is Kind.DESTROY:
            self.world.destroy(worker)

    # How the engine sees the market.

    def _candidate(self, offer: OfferId, ask: Ask) -> Candidate:
        by_bid = offer % 2 == 1
        gpu_price = NanoUsdPerHour(nano(ask.price * (0.5 if by_bid else 1.0)))
        return Candidate(
            offer=offer,
            group=GROUP,
            machine=MachineId(ask.id),
            kind=ask.kind.name,
            gpu_price=gpu_price,
            storage_price=NanoUsdPerHour(nano(STORAGE_PER_HOUR)),
            estimate=ask.prior,
            bid=gpu_price if by_bid else None,
        )

    def _worker(self, worker: SimWorker) -> Worker:
        ask = worker.ask
        return Worker(
            id=ContractId(worker.id),
            group=GROUP,
            machine=MachineId(ask.id),
            kind=ask.kind.name,
            gpu_price=NanoUsdPerHour(nano(worker.price)),
            on_demand_price=NanoUsdPerHour(nano(ask.price)),
            storage_price=NanoUsdPerHour(nano(STORAGE_PER_HOUR)),
            interruptible=worker.interruptible,
            slots=worker.slots,
            estimate=ask.prior,
            created_s=worker.born_s,
        )
