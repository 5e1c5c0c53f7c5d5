"""The rules of the peers, as baselines: each says how many workers to have awake.

All share one actuator on this market and learn of every completion at once, which favours them.
The rules and their constants are read from the peers' own sources and documents: Knative's pod
autoscaler, Ray Serve, Kubernetes HPA as KEDA drives it, RunPod's two rules, SkyServe.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from arena.market import Ask
from arena.world import DROP_S, HOUR_S, Phase, SimWorker, World

ON_THE_WAY = (Phase.CREATING, Phase.LOADING, Phase.STARTING)


class Peer:
    """A queue before workers with free slots, and the actuator that all peers share."""

    period_s = 1.0
    reports = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.slots = world.scenario.slots
        self.queue: deque[int] = deque()
        self.free: set[SimWorker] = set()
        """Ready workers with a free slot."""
        self.shown: dict[str, list[float]] = defaultdict(list)
        """Benchmarks by type."""
        self.kinds: frozenset[str] | None = None
        self.turn = 0

    # Requests.

    def arrive(self, now_s: float, request: int) -> None:
        if now_s > self.world.trace.at_s[request]:
            self.queue.appendleft(request)  # its worker failed: it was here before
        else:
            self.queue.append(request)
        self.serve(now_s)

    def finished(self, now_s: float, worker: SimWorker, requests: Sequence[int]) -> None:
        del requests
        if worker.phase is Phase.READY:
            self.free.add(worker)
        self.serve(now_s)

    def changed(self, now_s: float, worker: SimWorker) -> None:
        if worker.phase is Phase.READY:
            if not worker.ready_s and worker.benchmark:
                self.shown[worker.ask.kind.name].append(worker.benchmark)
            if worker.load < self.slots:
                self.free.add(worker)
            self.serve(now_s)
        else:
            self.free.discard(worker)

    def serve(self, now_s: float) -> None:
        queue, at_s = self.queue, self.world.trace.at_s
        while queue and now_s - at_s[queue[0]] > DROP_S:
            self.world.drop(queue.popleft())
        while queue and self.free:
            worker = self.pick()
            self.world.send(queue.popleft(), worker)
            if worker.load >= self.slots:
                self.free.discard(worker)

    def pick(self) -> SimWorker:
        """The best performance per price, so that the others fall idle."""
        return min(self.free, key=lambda worker: (worker.price / worker.perf, worker.id))

    # Workers.

    def tick(self, now_s: float) -> None:
        self.serve(now_s)
        for worker in list(self.world.fleet.values()):
            if worker.phase is Phase.STOPPED and now_s - worker.stopped_s > 2 * HOUR_S:
                self.world.destroy(worker)
        self.scale(now_s)

    def scale(self, now_s: float) -> None:
        raise NotImplementedError

    def phase(self, *phases: Phase) -> list[SimWorker]:
        return [worker for worker in self.world.fleet.values() if worker.phase in phases]

    def in_flight(self) -> int:
        return len(self.queue) + sum(worker.load for worker in self.world.fleet.values())

    def set_hot(self, want: int, *, down: bool = True) -> None:
        """Have `want` workers awake or on their way."""
        want = max(self.world.scenario.hot_min, min(want, self.world.scenario.workers_max))
        have = len(self.phase(Phase.READY, *ON_THE_WAY))
        if have < want:
            self.up(want - have)
        elif down and have > want:
            ready = self.phase(Phase.READY)
            ready.sort(key=lambda worker: worker.perf / worker.price)
            for worker in ready[: have - want]:
                self.world.drain(worker)

    def up(self, more: int) -> None:
        best = sorted(
            self.phase(Phase.DRAINING, Phase.STOPPED),
            key=lambda worker: (worker.phase is Phase.STOPPED, -worker.perf / worker.price),
        )
        for worker in best[:more]:
            if worker.phase is Phase.DRAINING:
                self.world.undrain(worker)
            else:
                self.world.start(worker)
        for _ in range(more - len(best)):
            if len(self.world.fleet) >= self.world.scenario.workers_max:
                return
            offers = self.offers()
            if not offers:
                return
            self.rent(offers)

    def rent(self, offers: list[Ask]) -> SimWorker | None:
        return self.world.recruit(min(offers, key=lambda ask: ask.price / self.expected(ask)))

    def offers(self) -> list[Ask]:
        now_s = self.world.now_s
        return [
            ask
            for ask in self.world.asks
            if ask.free_from_s <= now_s and (self.kinds is None or ask.kind.name in self.kinds)
        ]

    def expected(self, ask: Ask) -> float:
        shown = self.shown[ask.kind.name]
        return sum(shown) / len(shown) if shown else ask.prior


class Knative(Peer):
    """Average concurrency over 60 s per target, with a panic window of 6 s."""

    period_s = 2.0

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.seen: deque[int] = deque(maxlen=30)
        self.panic_until_s = -1.0
        self.panic_want = 0
        self.busy_s = 0.0

    def pick(self) -> SimWorker:
        ordered = sorted(self.free, key=lambda worker: worker.id)
        self.turn += 1
        return ordered[self.turn % len(ordered)]

    def scale(self, now_s: float) -> None:
        self.seen.append(self.in_flight())
        target = 0.7 * self.slots
        ready = max(1, len(self.phase(Phase.READY)))
        have = len(self.phase(Phase.READY, *ON_THE_WAY))
        stable = sum(self.seen) / len(self.seen)
        panic = sum(list(self.seen)[-3:]) / min(3, len(self.seen))
        want = max(math.ceil(stable / target), math.floor(ready / 2))
        panic_want = math.ceil(panic / target)
        if stable > 0:
            self.busy_s = now_s
        if panic_want / ready >= 2:
            if self.panic_until_s < now_s:
                self.panic_want = have
            self.panic_until_s = now_s + 60
        if now_s < self.panic_until_s:
            self.panic_want = max(self.panic_want, panic_want, want)
            want = self.panic_want
        if want == 0 and now_s < self.busy_s + 30:
            want = min(1, have)
        self.set_hot(want)


class Ray(Peer):
    """Ongoing requests per target, held for 30 s up and 600 s down; the lesser of two."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.seen: deque[int] = deque(maxlen=30)
        self.up_s = self.down_s = 0
        self.want = world.scenario.ready

    def pick(self) -> SimWorker:
        ordered = sorted(self.free, key=lambda worker: worker.id)
        rng = self.world.rng
        return min(rng.choice(ordered), rng.choice(ordered), key=lambda worker: worker.load)

    def scale(self, now_s: float) -> None:
        del now_s
        self.seen.append(self.in_flight())
        want = math.ceil(sum(self.seen) / len(self.seen) / (0.7 * self.slots))
        want = max(self.world.scenario.hot_min, min(want, self.world.scenario.workers_max))
        self.up_s = self.up_s + 1 if want > self.want else 0
        self.down_s = self.down_s + 1 if want < self.want else 0
        at_once = self.want == 0 and self.queue
        if at_once or self.up_s > 30 or self.down_s > 600:
            self.want = max(1, want) if at_once else want
            self.up_s = self.down_s = 0
        self.set_hot(self.want)


class Keda(Peer):
    """In-flight requests per worker every 15 s, up at once, down after 300 s."""

    period_s = 15.0

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.advised: deque[int] = deque(maxlen=20)
        self.busy_s = 0.0

    def pick(self) -> SimWorker:
        return min(self.free, key=lambda worker: (worker.load, worker.id))

    def scale(self, now_s: float) -> None:
        flying = self.in_flight()
        have = len(self.phase(Phase.READY, *ON_THE_WAY))
        if flying:
            self.busy_s = now_s
        if have == 0:
            self.set_hot(1 if flying else 0)
            return
        ratio = flying / have / (0.7 * self.slots)
        want = have if abs(ratio - 1) <= 0.1 else math.ceil(have * ratio)
        want = min(want, have + max(have, 4))
        self.advised.append(want)
        want = max(self.advised)
        if want <= 1:
            want = 1 if now_s < self.busy_s + 300 else 0
        self.set_hot(want)


class RunPodDelay(Peer):
    """A worker more while a request waits longer than 4 s; asleep after a time without work."""

    idle_s = 5.0

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.busy_s: dict[int, float] = {}

    def scale(self, now_s: float) -> None:
        at_s = self.world.trace.at_s
        waiting = sum(1 for request in self.queue if now_s - at_s[request] > 4)
        if waiting:
            coming = len(self.phase(*ON_THE_WAY))
            more = math.ceil(waiting / self.slots) - coming
            room = self.world.scenario.workers_max - coming - len(self.phase(Phase.READY))
            if more > 0:
                self.up(min(more, room))
        self.rest(now_s)

    def rest(self, now_s: float) -> None:
        ready = self.phase(Phase.READY)
        ready.sort(key=lambda worker: worker.perf / worker.price)
        left = len(ready)
        for worker in ready:
            if worker.load:
                self.busy_s[worker.id] = now_s
            idle_s = now_s - max(self.busy_s.get(worker.id, 0.0), worker.since_s)
            if idle_s > self.idle_s and left > self.world.scenario.hot_min:
                self.world.drain(worker)
                left -= 1


class RunPodDelay60(RunPodDelay):
    """The same with an idle time of 60 s."""

    idle_s = 60.0


class RunPodCount(RunPodDelay60):
    """Requests in the system per worker."""

    def scale(self, now_s: float) -> None:
        want = math.ceil(self.in_flight() / (4 if self.slots > 1 else 1))
        self.set_hot(want, down=False)
        self.rest(now_s)


class SkyServe(Peer):
    """Requests a second per worker, held 300 s up and 1200 s down, on one type of GPU."""

    period_s = 5.0

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.kinds = frozenset({"RTX4090"})
        work = world.trace.work[:2_000]
        perf = 300.0 / (15.0 if self.slots == 1 else 1.0)
        self.target_qps = 0.7 * perf / (sum(work) / len(work))
        self.arrivals: deque[float] = deque()
        self.up_s = self.down_s = 0.0
        self.want = world.scenario.ready
        self.next_s = 0.0

    def pick(self) -> SimWorker:
        return min(self.free, key=lambda worker: (worker.load, worker.id))

    def arrive(self, now_s: float, request: int) -> None:
        self.arrivals.append(now_s)
        super().arrive(now_s, request)

    def desired(self, now_s: float) -> int:
        while self.arrivals and self.arrivals[0] < now_s - 60:
            self.arrivals.popleft()
        want = math.ceil(len(self.arrivals) / 60 / self.target_qps)
        return max(self.world.scenario.hot_min, min(want, self.world.scenario.workers_max))

    def scale(self, now_s: float) -> None:
        if now_s < self.next_s:
            return
        step_s = 20.0 if self.want else 5.0
        self.next_s = now_s + step_s
        want = self.desired(now_s)
        self.up_s = self.up_s + step_s if want > self.want else 0
        self.down_s = self.down_s + step_s if want < self.want else 0
        if (self.want == 0 and want) or self.up_s >= 300 or self.down_s >= 1_200:
            self.want, self.up_s, self.down_s = want, 0.0, 0.0
        self.reach(self.want)

    def reach(self, want: int) -> None:
        self.set_hot(want)


class SkyServeSpot(SkyServe):
    """The same on bids, with on-demand workers in place of bids that are not ready."""

    def reach(self, want: int) -> None:
        spot = [worker for worker in self.world.fleet.values() if worker.interruptible]
        coming = [w for w in spot if w.phase in (Phase.READY, *ON_THE_WAY)]
        ready = sum(worker.phase is Phase.READY for worker in coming)
        for worker in sorted(coming, key=lambda w: w.perf / w.price)[: max(0, len(coming) - want)]:
            if worker.phase is Phase.READY:
                self.world.drain(worker)
        asleep = [worker for worker in spot if worker.phase is Phase.STOPPED]
        for _ in range(want - len(coming)):
            if asleep:
                self.world.start(asleep.pop())
            elif len(self.world.fleet) < self.world.scenario.workers_max and (
                offers := self.offers()
            ):
                ask = min(offers, key=lambda one: one.price / self.expected(one))
                self.world.recruit(ask, interruptible=True)
        self.fallback(max(self.world.scenario.hot_min, want - ready))

    def fallback(self, want: int) -> None:
        """Have `want` on-demand workers awake."""
        mine = [worker for worker in self.world.fleet.values() if not worker.interruptible]
        have = [w for w in mine if w.phase in (Phase.READY, *ON_THE_WAY)]
        ready = sorted((w for w in have if w.phase is Phase.READY), key=lambda w: w.perf / w.price)
        for worker in ready[: max(0, len(have) - want)]:
            self.world.drain(worker)
        asleep = [w for w in mine if w.phase in (Phase.STOPPED, Phase.DRAINING)]
        for worker in asleep[: max(0, want - len(have))]:
            if worker.phase is Phase.DRAINING:
                self.world.undrain(worker)
            else:
                self.world.start(worker)


class Build(Protocol):
    """How a policy is made for a world."""

    def __call__(self, world: World) -> Peer: ...


PEERS: dict[str, Callable[[World], Peer]] = {
    "knative_kpa": Knative,
    "ray_serve": Ray,
    "keda_hpa": Keda,
    "runpod_qd_idle5": RunPodDelay,
    "runpod_qd_idle60": RunPodDelay60,
    "runpod_rc_idle60": RunPodCount,
    "skyserve": SkyServe,
}
