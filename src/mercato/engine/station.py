"""One endpoint at its engine: desk, fleet, scaling and journal, and what is kept of them."""

import asyncio
from typing import Final

import msgspec
import structlog

from mercato.engine.clock import Clock
from mercato.engine.fleet import Fleet
from mercato.engine.journal import Grain, Journal, Once
from mercato.engine.market import Market
from mercato.engine.numbers import Numbers
from mercato.engine.post import Post
from mercato.engine.probe import answers
from mercato.engine.request import Desk
from mercato.engine.scaling import Scaling
from mercato.engine.signing import Signer
from mercato.market.ids import ContractId
from mercato.serverless.load import Load
from mercato.serverless.scale import Memory
from mercato.serverless.worker import State
from mercato.wire.fleet import Definition, WorkerFact

PROBE_EVERY_S: Final = 5.0
TAKEN_OVER_PAUSE_S: Final = 2.0
UNREAD_CHARS_MAX: Final = 300
"""A worker known from before gets nothing for this long, unless it reports what it has."""

_log = structlog.get_logger("mercato.engine")


class KeptPost(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a worker: enough to route to it before it speaks."""

    id: ContractId
    url: str
    loaded: bool
    benchmark: float
    seen_units: float
    seen_slot_s: float
    slots: int
    peak: int
    loaded_once: bool = False
    on_disk: bool = False
    load_took_s: float = 0.0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of an endpoint, for the engine after this one."""

    load: Load
    memory: Memory
    posts: list[KeptPost]
    units_per_score: float = 0.0


class Station:
    """Everything of one endpoint in this engine."""

    def __init__(
        self,
        definition: Definition,
        facts: list[WorkerFact],
        market: Market,
        signer: Signer,
        numbers: Numbers,
        clock: Clock,
    ) -> None:
        """Take an endpoint over; `facts` are its workers, from before."""
        self.journal = Journal()
        self.fleet = Fleet(definition)
        self.desk = Desk(self.fleet, signer, numbers, clock, self._look, self._note_request)
        self.scaling = Scaling(self.fleet, market, self.journal, clock, taken_over=bool(facts))
        self._clock = clock
        self._probed: dict[ContractId, float] = {}
        self._states: dict[ContractId, State] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._scaling: asyncio.Task[None] | None = None
        self._came = 0
        self._told = Once()
        self.take_facts(facts)

    @property
    def definition(self) -> Definition:
        """The endpoint as its owner wants it."""
        return self.fleet.definition

    def take_facts(self, facts: list[WorkerFact]) -> None:
        """What the market says of the workers now."""
        now_s = self._clock.now_s()
        self.fleet.take_facts(facts, now_s)
        for known in (self._states, self._probed):
            for gone in known.keys() - self.fleet.posts.keys():
                del known[gone]
        self.desk.give(now_s)

    def redefine(self, definition: Definition) -> None:
        """Its owner has changed it."""
        self.desk.redefine(definition)

    def tick(self) -> None:
        """Look after workers and queue, then let the policy decide; called once a second."""
        now_s = self._clock.now_s()
        self.fleet.weigh_kinds()
        for post in tuple(self.fleet.posts.values()):
            if post.silent(now_s):
                self._silent(post, now_s)
            self.fleet.settle(post, now_s)
            self._note_state(post, now_s)
        self.desk.tick(now_s)
        self.desk.load.tick(now_s, self.fleet.ledger.waiting(now_s))
        self._note_second(now_s)
        if self._scaling is None or self._scaling.done():
            self._scaling = asyncio.get_running_loop().create_task(self._scale())

    async def _scale(self) -> None:
        try:
            await self.scaling.step(self.desk.load)
        except (OSError, ConnectionError, TimeoutError) as error:
            _log.warning("the market cannot be reached", why=str(error))
        except Exception:  # noqa: BLE001 - one endpoint's trouble is not the others'
            _log.exception("scaling failed", endpoint=self.definition.id)

    def _silent(self, post: Post, now_s: float) -> None:
        """A worker is not heard: look for it, and go by the clock in what it must have done."""
        if post.lost:
            return
        self.fleet.age(post, now_s)
        if not post.probing and now_s - self._probed.get(post.worker.id, 0.0) > PROBE_EVERY_S:
            # It goes on getting requests until it is known to be gone.
            self._look(post)

    def _look(self, post: Post) -> None:
        self._probed[post.worker.id] = self._clock.now_s()
        task = asyncio.get_running_loop().create_task(self._probe(post))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _probe(self, post: Post) -> None:
        alive = await answers(post.url)
        now_s = self._clock.now_s()
        post.probing = False
        if not alive and not post.lost and post.loaded:
            post.lost = True
            self.fleet.lose(post.worker.id, now_s)
            self.journal.write(Grain.EVENTS, now_s, f"worker {post.worker.id} does not answer")
        self.fleet.settle(post, now_s)
        self.desk.give(now_s)

    def _note_state(self, post: Post, now_s: float) -> None:
        worker = post.worker
        before = self._states.get(worker.id)
        if before is not worker.state:
            self._states[worker.id] = worker.state
            was = f", was {before.label}" if before else ""
            self.journal.write(
                Grain.EVENTS, now_s, f"worker {worker.id} is {worker.state.label}{was}"
            )

    def note_unread(self, post: Post, left: list[str]) -> None:
        """A worker has said what cannot be read; it was left out of what it said besides."""
        told = ", ".join(left)[:UNREAD_CHARS_MAX]
        line = f"worker {post.worker.id} reports what cannot be read: {told}"
        if self._told.is_news(post.worker.id, line):
            self.journal.write(Grain.REPORTS, self._clock.now_s(), line)

    def _note_request(self, line: str) -> None:
        self.journal.write(Grain.DETAIL, self._clock.now_s(), line)

    def _note_second(self, now_s: float) -> None:
        """How this second went, unless nothing went on."""
        came, self._came = self.desk.load.requests - self._came, self.desk.load.requests
        waiting = self.desk.load.waiting
        working = sum(post.worker.requests for post in self.fleet.posts.values())
        if came or waiting.requests or working:
            self.journal.write(
                Grain.REPORTS,
                now_s,
                f"{came} requests came, {working} are at work, {waiting.requests} wait, the first "
                f"for {waiting.oldest_s:.1f} s; {len(self.fleet.router)} workers serve",
            )

    # What is kept.

    def remember(self) -> bytes:
        """What the engine after this one should know."""
        return msgspec.json.encode(
            Kept(
                load=self.desk.load,
                memory=self.scaling.memory,
                units_per_score=self.fleet.units_per_score,
                posts=[
                    KeptPost(
                        id=post.worker.id,
                        url=post.url,
                        loaded=post.loaded,
                        benchmark=post.worker.benchmark,
                        seen_units=post.worker.seen_units,
                        seen_slot_s=post.worker.seen_slot_s,
                        slots=post.slots_told,
                        peak=post.peak,
                        loaded_once=post.loaded_once,
                        on_disk=post.on_disk,
                        load_took_s=post.load_took_s,
                    )
                    for post in self.fleet.posts.values()
                    if post.url
                ],
            )
        )

    def recall(self, memory: bytes) -> None:
        """What the engine before this one knew; what cannot be read is as if it were not there."""
        try:
            kept = msgspec.json.decode(memory, type=Kept)
        except (msgspec.DecodeError, UnicodeDecodeError):
            _log.warning("what was kept cannot be read", endpoint=self.definition.id)
            return
        now_s = self._clock.now_s()
        self.desk.load, self.scaling.memory = kept.load, kept.memory
        self._came = kept.load.requests
        self.fleet.units_per_score = kept.units_per_score
        for known in kept.posts:
            post = self.fleet.posts.get(known.id)
            if post is None or post.heard_s:
                continue
            post.url, post.loaded = known.url, known.loaded
            post.loaded_once |= known.loaded_once or known.loaded
            post.on_disk, post.load_took_s = known.on_disk or known.loaded, known.load_took_s
            post.heard_s, post.well_since_s = now_s, now_s
            post.slots_told, post.peak = known.slots, known.peak
            post.recalled, post.paused_until_s = True, now_s + TAKEN_OVER_PAUSE_S
            worker = post.worker
            worker.benchmark = known.benchmark
            worker.seen_units, worker.seen_slot_s = known.seen_units, known.seen_slot_s
            self.fleet.settle(post, now_s)

    async def close(self) -> None:
        """Let the endpoint go: to another engine, or with this one."""
        tasks = [*self._probes, *([self._scaling] if self._scaling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.desk.dismiss()
