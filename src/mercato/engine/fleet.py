"""The workers of one endpoint as last reported, and the requests that each of them has.

The books (ledger.py) and the router's sums (serverless/route.py) are changed here and nowhere
else, both at once: what the router reckons with is always what the books say.
"""

import statistics
from collections import OrderedDict
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final

from mercato.engine.ledger import Assigned, Ledger
from mercato.engine.numbers import plausible
from mercato.engine.post import WITNESS_SLOT_S, Post
from mercato.market.ids import ContractId
from mercato.serverless.endpoint import Endpoint, Policy
from mercato.serverless.queue import Request, RequestIdx
from mercato.serverless.route import Router
from mercato.serverless.worker import learned, observe
from mercato.wire.fleet import Definition, WorkerFact
from mercato.wire.worker import Finished

BIND_EARLY_S: Final = 1.5
"""Policies of our own bind a request no earlier than this before it is likely to start: until
then the queue knows better than a guess would."""
CACHED_WAIT_S: Final = 10.0
"""A prompt may wait longer than that where its beginning is cached, if reading it elsewhere takes
longer still."""
UNSEEN_S: Final = 10.0
"""A worker that has not reported a request this long after it was handed out never got it."""
MISSING_S: Final = 5.0
"""A request that was at work, and this long is not, without word of its end, has ended."""
ADOPTED_MIN: Final = 64
ADOPTED_SLOTS: Final = 4
"""So many requests that we did not hand out are counted as a worker's, or so many times its slots
if that is more: it says itself that it has them."""
BLAMED_MAX: Final = 10_000
FRESH_S: Final = 5.0
"""A report may be this much older than the word that a request has ended."""
BLIND_FACTOR: Final = 3.0
BLIND_S: Final = 10.0
"""Of a worker that is there and does not report, a request is taken for done after this long, or
after this many times as long as it should take."""
MEMORY_SLOT_S: Final = 600.0
SLOT_S_MAX: Final = 86_400.0
SLOTS_LEARNED_MAX: Final = 10
"""As many as the official worker measures itself with."""
SEEN_MAX: Final = 4.0
"""A request says itself what it costs. No worker is taken to do more than so many times what it
measured of itself."""
OVERLAPS_KEPT: Final = 32
KIND_MIN: Final = 3
"""From this many workers on, the middle one says what their kind can do."""


class Fleet:
    """The workers of one endpoint."""

    def __init__(self, definition: Definition) -> None:
        """An endpoint without workers yet."""
        self.definition = definition
        self.ledger = Ledger()
        self.posts: dict[ContractId, Post] = {}
        self.router = _router(definition.parameters)
        self.units_per_score = 0.0
        """What a point of DLPerf has come to here, in units/s; 0 before a worker was measured."""
        self._kept = 0.0
        """How much of its claim the worker keeps that keeps most of it."""
        self._kind_perf: dict[str, float] = {}
        self._kind_does: dict[str, float] = {}
        self._worked: dict[ContractId, list[tuple[float, float]]] = {}
        self._blamed: OrderedDict[RequestIdx, None] = OrderedDict()
        self._staying: set[ContractId] = set()
        """Who may have requests, and is not about to be stopped."""

    def redefine(self, definition: Definition, now_s: float) -> None:
        """Its owner has changed it."""
        before, self.definition = self.definition, definition
        if before.parameters != definition.parameters:
            self.router = _router(definition.parameters)
            for post in self.posts.values():
                self.rotate(post, now_s)

    # Workers.

    def take_facts(self, facts: Iterable[WorkerFact], now_s: float) -> list[Assigned]:
        """What the market says of the workers now; the requests of those that ended."""
        present = {fact.id: fact for fact in facts}
        freed: list[Assigned] = []
        for gone in self.posts.keys() - present.keys():
            freed += self.lose(gone, now_s)
            self.router.drop(gone)
            self._staying.discard(gone)
            del self.posts[gone]
            self._worked.pop(gone, None)
        for fact in present.values():
            post = self.posts.get(fact.id)
            if post is None:
                post = self.posts[fact.id] = Post(fact, now_s)
            elif post.take_fact(fact):
                freed += self.lose(fact.id, now_s)
            self.settle(post, now_s)
        return freed

    def settle(self, post: Post, now_s: float) -> None:
        """Bring a worker's state, speed and place in the rotation up to date."""
        post.settle(now_s)
        worker = post.worker
        told = post.slots_told or self._group_slots(post) or post.peak
        worker.slots = max(1, told)
        worker.estimate = post.fact.dlperf * self.units_per_score
        if worker.benchmark > 0:
            kind_perf = self._kind_perf.get(worker.kind, 0.0)
            worker.perf = learned(worker, kind_perf)
            post.judge(self._kept, self._kind_does.get(worker.kind, 0.0), now_s)
        self.rotate(post, now_s)

    def rotate(self, post: Post, now_s: float) -> None:
        """Let a worker have requests, or not; one that was outbid only while there is no other."""
        name, routable = post.worker.id, post.routable(now_s)
        if self.posts.get(name) is not post:
            return  # it went while somebody waited for news of it
        if routable and not post.fact.leaves:
            self._staying.add(name)
        else:
            self._staying.discard(name)
        if name in self._staying or (routable and not self._staying):
            self.router.put(post.worker)
        else:
            self.router.drop(name)

    def _group_slots(self, post: Post) -> int:
        groups = self.definition.groups
        return next((group.slots for group in groups if group.id == post.worker.group), 0)

    @property
    def measured(self) -> bool:
        """Whether any worker has shown what it does."""
        return any(post.worker.benchmark > 0 for post in self.posts.values())

    def weigh_kinds(self) -> None:
        """See what each kind of hardware does, so that one's boast is known for one."""
        shown: dict[str, list[float]] = {}
        does: dict[str, list[float]] = {}
        by_score: list[float] = []
        self._kept = max((post.kept for post in self.posts.values()), default=0.0)
        for post in self.posts.values():
            if post.worker.benchmark > 0:
                shown.setdefault(post.worker.kind, []).append(post.worker.perf)
                if post.kept > 0:
                    does.setdefault(post.worker.kind, []).append(post.does(WITNESS_SLOT_S))
                if post.fact.dlperf > 0:
                    by_score.append(post.worker.perf / post.fact.dlperf)
        if by_score:
            self.units_per_score = statistics.median(by_score)
        self._kind_perf = _middles(shown)
        self._kind_does = _middles(does)

    # Requests.

    def assign(self, request: Request, post: Post, now_s: float) -> Assigned:
        """A worker gets a request."""
        if request.idx in self.ledger.at(post.worker.id):
            self.end(request.idx, post.worker.id, now_s, lost=True)
        entry = self.ledger.assign(request, post.worker.id, now_s)
        self.router.assign(post.worker, entry.cost, request.chain)
        return entry

    def end(
        self, idx: RequestIdx, worker: ContractId, now_s: float, *, lost: bool = False
    ) -> Assigned | None:
        """A worker has a request no longer; None when it had not."""
        entry = self.ledger.end(idx, worker, now_s, lost=lost)
        if entry is not None:
            post = self.posts[worker]
            self.router.release(post.worker, entry.cost)
            if post.worker.requests == 0:
                post.worker.idle_since_s = now_s
        return entry

    def lose(self, worker: ContractId, now_s: float) -> list[Assigned]:
        """A worker has lost all that it had, what it had cached with it."""
        self.router.prefixes.forget(worker)
        return [
            entry
            for idx in tuple(self.ledger.at(worker))
            if (entry := self.end(idx, worker, now_s, lost=True)) is not None
        ]

    def finish(self, post: Post, told: Finished, now_s: float) -> Assigned | None:
        """A worker says that it is done with a request; None when it had no such one.

        How long that took is its own word, and believed only as far as our own clock bears it out.
        """
        entry = self.end(RequestIdx(told.request_idx), post.worker.id, now_s)
        if entry is None:
            return None
        if told.status == "Success" and told.success:
            slot_s = told.work_completed_at - told.work_started_at
            # What an adopted one really costs is not known.
            known = post.worker.benchmark > 0 and not entry.adopted
            if known and 0 < slot_s <= min(SLOT_S_MAX, now_s - entry.at_s + 1.0):
                seen = min(entry.cost, SEEN_MAX * _slot_perf(post) * slot_s)
                observe(post.worker, seen, slot_s, MEMORY_SLOT_S)
                self._learn_slots(post, told)
        if told.status == "Success":
            post.went(well=True, now_s=now_s)
        elif told.status == "Error":
            self.blame(post, entry.request.idx, now_s)
        return entry

    def blame(self, post: Post, idx: RequestIdx, now_s: float) -> None:
        """A request failed at a worker. One that fails again elsewhere is itself to blame."""
        if idx in self._blamed:
            return
        self._blamed[idx] = None
        if len(self._blamed) > BLAMED_MAX:
            self._blamed.popitem(last=False)
        post.went(well=False, now_s=now_s)

    def _learn_slots(self, post: Post, told: Finished) -> None:
        """Requests that were worked on at once show how many a worker works on at once.

        Once two were, one more is tried than was seen, so that the number can grow.
        """
        worked = self._worked.setdefault(post.worker.id, [])
        began_s, ended_s = told.work_started_at, told.work_completed_at
        overlap = 1 + sum(start < ended_s and began_s < end for start, end in worked)
        worked.append((began_s, ended_s))
        del worked[:-OVERLAPS_KEPT]
        if overlap > 1:
            post.peak = min(SLOTS_LEARNED_MAX, max(post.peak, overlap + 1))

    def reconcile(self, post: Post, idxs: Collection[int], load: float, now_s: float) -> None:
        """Compare the books with what a worker says that it works on now."""
        worker, here = post.worker.id, self.ledger.at(post.worker.id)
        working = {RequestIdx(idx) for idx in idxs}
        for idx, entry in tuple(here.items()):
            if idx in working:
                entry.seen, entry.missing_s = True, 0.0
            elif not entry.seen:
                if now_s - entry.at_s > UNSEEN_S:
                    self.end(idx, worker, now_s, lost=True)
            elif not entry.missing_s:
                entry.missing_s = now_s
            elif now_s - entry.missing_s > MISSING_S:
                self.end(idx, worker, now_s, lost=True)
        strange = self._strange(post, working, now_s)
        if strange:
            known = sum(entry.cost for entry in here.values())
            cost = max(0.0, load - known) / len(strange)
            for idx in strange:
                self._adopt(Request(idx=idx, cost=cost, arrived_s=now_s), post, now_s)

    def _strange(
        self, post: Post, working: Collection[RequestIdx], now_s: float
    ) -> list[RequestIdx]:
        """What a worker works on that we did not give it, as far as that can be."""
        here, now_ms = self.ledger.at(post.worker.id), int(now_s * 1_000)
        room = max(ADOPTED_MIN, ADOPTED_SLOTS * post.worker.slots)
        room -= sum(entry.adopted for entry in here.values())
        strange = (
            idx
            for idx in working
            if idx not in here and plausible(idx, now_ms) and not self._just_done(idx, now_s)
        )
        return list(islice(strange, max(0, room)))

    def _just_done(self, idx: RequestIdx, now_s: float) -> bool:
        done = self.ledger.done.get(idx)
        return done is not None and not done.lost and now_s - done.at_s < FRESH_S

    def _adopt(self, request: Request, post: Post, now_s: float) -> None:
        """Count what a worker works on and we do not know of: of another engine, or before us."""
        self.ledger.adopt(request, post.worker.id, now_s)
        self.router.assign(post.worker, request.cost)

    def age(self, post: Post, now_s: float) -> None:
        """Take for done what a worker that does not report must have done by now."""
        perf = post.worker.perf
        for idx, entry in tuple(self.ledger.at(post.worker.id).items()):
            slot_s = entry.cost / perf * post.worker.slots if perf > 0 else 0.0
            if now_s - entry.at_s > max(BLIND_S, BLIND_FACTOR * slot_s):
                self.end(idx, post.worker.id, now_s)


def _slot_perf(post: Post) -> float:
    """Units/s that one slot of a worker does by its own benchmark."""
    return post.worker.benchmark / post.worker.slots


def _middles(of_kinds: dict[str, list[float]]) -> dict[str, float]:
    """The middle one of each kind that has enough of them."""
    return {
        kind: statistics.median(values)
        for kind, values in of_kinds.items()
        if len(values) >= KIND_MIN
    }


def _router(parameters: Endpoint) -> Router:
    if parameters.policy is Policy.VAST:
        return Router(wait_max_s=parameters.worker_wait_max_s, pack=False)
    longest_s = parameters.worker_wait_max_s
    return Router(
        wait_max_s=min(BIND_EARLY_S, longest_s), cached_wait_max_s=min(CACHED_WAIT_S, longest_s)
    )
