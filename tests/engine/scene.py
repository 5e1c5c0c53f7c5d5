"""An engine on a clock that goes as it is told to, with workers that say what they are told to."""

import asyncio
from collections.abc import Iterable
from typing import Any

from mercato.engine.engine import Engine
from mercato.engine.fleet import Fleet
from mercato.engine.post import Post
from mercato.engine.request import Ask, Desk, Ready
from mercato.engine.scaling import Decide
from mercato.engine.signing import new_key
from mercato.engine.standalone import StandaloneMarket
from mercato.engine.station import Station
from mercato.serverless.decision import Decision
from mercato.serverless.endpoint import Endpoint, Policy
from mercato.serverless.queue import RequestIdx
from mercato.wire.fleet import Definition
from mercato.wire.worker import Finished, Status, issued_ms

KEY = "endpoint key"
NAME = "llm"
SIGNING_KEY = new_key()


class ManualClock:
    """Tells the time that it was told."""

    def __init__(self) -> None:
        self.time_s = 1_800_000_000.0

    def now_s(self) -> float:
        return self.time_s

    def now_ms(self) -> int:
        return int(self.time_s * 1_000)


def nothing(*_: Any) -> list[Decision]:
    """A policy that is content."""
    return []


class Asking:
    """A client that asks for a worker, and asks again as it is told to."""

    def __init__(self, scene: "Scene", cost: float, **more: Any) -> None:
        self._scene = scene
        self._ask = Ask(cost=cost, **more)
        self.answers: list[Ready | None] = []
        self.again()

    def again(self) -> "Asking":
        """Ask, or ask again with the same number."""
        self._reply = self.answers.append
        self._ask.idx = self._scene.desk.ask(self._ask, self._reply)
        return self

    def hang_up(self) -> None:
        self._scene.desk.hang_up(RequestIdx(self.idx), self._reply)

    @property
    def idx(self) -> int:
        return self._ask.idx

    @property
    def worker(self) -> int | None:
        """The worker that was named last; None while there is none."""
        if not self.answers:
            return None
        last = self.answers[-1]
        if last is None:
            return None
        return next(
            int(post.worker.id)
            for post in self._scene.fleet.posts.values()
            if issued_ms(post.fact.token_hash, last, post.worker.id) is not None
        )


class Scene:
    """One endpoint, its engine, its workers."""

    def __init__(self, parameters: Endpoint | None = None, *, slots: int = 0) -> None:
        self.clock = ManualClock()
        self.market = StandaloneMarket(self.clock)
        self.market._keys["serverless"] = SIGNING_KEY
        self.parameters = parameters or Endpoint(workers_min=0)
        self.definition: Definition = self.market.add_endpoint(
            NAME, KEY, self.parameters, slots=slots
        )
        self.engine = Engine(self.market, self.clock, "one", "http://127.0.0.1:1")
        self.policy: Decide = nothing

    async def open(self) -> "Scene":
        await self.engine.open()
        return self

    async def again(self) -> "Scene":
        """The engine dies, and another begins in its place."""
        self.engine = Engine(self.market, self.clock, "two", "http://127.0.0.1:2")
        self.clock.time_s += 4.0
        await self.engine.open()
        return self

    @property
    def station(self) -> Station:
        station = self.engine.stations[self.definition.id]
        station.scaling._decide = self.policy
        return station

    @property
    def desk(self) -> Desk:
        return self.station.desk

    @property
    def fleet(self) -> Fleet:
        return self.station.fleet

    def post(self, worker: int) -> Post:
        found = self.engine.post(worker)
        assert found is not None
        return found[1]

    async def hire(self, worker: int, **known: Any) -> Post:
        """A worker that the market knows, and that has not spoken yet."""
        self.market.add_worker(self.definition, worker, f"token {worker}", **known)
        await self.engine.refresh()
        return self.post(worker)

    async def staff(self, *workers: int, perf: float = 100.0, slots: int = 1) -> None:
        """Workers that are ready."""
        for worker in workers:
            await self.hire(worker)
            self.report(worker, max_perf=perf, slots=slots)

    def report(self, worker: int, **said: Any) -> None:
        """A worker reports; by default that it is ready, and has what the books say it has."""
        post = self.post(worker)
        working = [int(idx) for idx in self.fleet.ledger.at(post.worker.id)]
        status: dict[str, Any] = {
            "id": worker,
            "loadtime": 1.0,
            "max_perf": post.worker.benchmark or 100.0,
            "url": f"http://127.0.0.1:{worker}",  # where nobody listens
            "working_request_idxs": working,
            "cur_load": post.worker.work,
            "slots": post.slots_told,
        }
        self.desk.hear(post, Status(**(status | said)))

    def finish(self, worker: int, *idxs: int, status: str = "Success", took_s: float = 1.0) -> None:
        """A worker is done with requests."""
        now_s = self.clock.now_s()
        told = [
            Finished(
                request_idx=idx,
                success=status in {"Success", "Cancelled"},
                status=status,
                entered_queue_at=now_s - took_s,
                work_started_at=now_s - took_s,
                work_completed_at=now_s,
            )
            for idx in idxs
        ]
        self.desk.finish(self.post(worker), told)

    def ask(self, cost: float = 100.0, **more: Any) -> Asking:
        return Asking(self, cost, **more)

    async def pass_time(self, seconds: float, *, quiet: Iterable[int] = ()) -> None:
        """Let seconds go by, ticks and all; workers report every second but those who are quiet."""
        silent = set(quiet)
        end_s = self.clock.time_s + seconds
        while self.clock.time_s < end_s - 1e-9:
            self.clock.time_s = min(end_s, self.clock.time_s + 0.5)
            for worker, post in tuple(self.fleet.posts.items()):
                if worker not in silent and post.loaded:
                    self.report(int(worker))
            self.station.desk.answer_the_held(self.clock.now_s())
            self.station.tick()
            await self.settled()
            await self.engine.refresh()

    async def settled(self) -> None:
        """Let what was begun in the background come to its end."""
        station = self.station
        tasks = [*station._probes, *([station._scaling] if station._scaling else [])]
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)

    @property
    def states(self) -> dict[int, str]:
        return {int(name): post.worker.state.label for name, post in self.fleet.posts.items()}


def vast(**changes: Any) -> Endpoint:
    """An endpoint with the documented engine's policy: the least work left wins."""
    return Endpoint(policy=Policy.VAST, workers_min=0, **changes)
