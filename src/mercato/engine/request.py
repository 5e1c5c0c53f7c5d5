"""A serverless request: how it finds its worker, from the question to the worker's last word.

    ask        a client asks for a worker: a new request, one that waits, or one whose worker failed
    give       a worker has room: it gets the request, and the client its address and a ticket
    hold       no worker has room: the client is kept on the line, and keeps its place between lines
    finish     the worker says that it is done, and has room again: give

The second half of the story, what the worker does with it, stands in pyworker/request.py. All of
this happens in memory, in one thread, with no waiting in between.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from mercato.engine.clock import Clock
from mercato.engine.fleet import Fleet
from mercato.engine.ledger import Where
from mercato.engine.numbers import Numbers, given_ms, plausible
from mercato.engine.post import Post
from mercato.engine.signing import Signer
from mercato.engine.traffic import Traffic
from mercato.market.ids import ContractId
from mercato.serverless.load import Load
from mercato.serverless.queue import Request, RequestIdx
from mercato.wire.fleet import Definition
from mercato.wire.worker import AuthData, Finished, Status, issue

HOLD_S: Final = 7.5
"""How long a client is kept on the line: the official one gives up after 10 s."""
BETWEEN_POLLS_S: Final = 60.0
"""A request that is not asked for during this time is given up: what the official client wishes."""
HUNG_UP_S: Final = 15.0
"""The same for a client that hung up without an answer: most have given up themselves."""
AVOID_S: Final = 5.0
"""A worker that failed a request does not get the same one again within this time, if another can
have it."""


class Ready(AuthData, kw_only=True):
    """The answer to a client who has a worker."""

    status: str = "READY"


Reply = Callable[[Ready | None], None]
"""Takes the answer to one call: a worker, or None: wait, and ask again."""


class Ask(msgspec.Struct, kw_only=True):
    """A client's question, checked."""

    cost: float
    caller: int = 0
    """Between whom the queue is fair."""
    idx: int = 0
    """Of a request that has asked before; 0 for a new one."""
    priority: int = 0
    deadline_s: float | None = None
    chain: tuple[int, ...] = ()
    """The beginning of its prompt (serverless/prefix.py), if it has one."""


class _Held(msgspec.Struct, kw_only=True):
    """A client on the line."""

    reply: Reply
    until_s: float


class Desk:
    """Where the requests of one endpoint come in."""

    def __init__(
        self,
        fleet: Fleet,
        signer: Signer,
        numbers: Numbers,
        clock: Clock,
        look: Callable[[Post], None],
        note: Callable[[str], None],
    ) -> None:
        """`look` is told of a worker that may be dead, and finds out; meanwhile it gets nothing.

        `note` keeps a line about a request that did not go as it should.
        """
        self.fleet = fleet
        self.load = Load()
        self.traffic = Traffic()
        self._signer = signer
        self._numbers = numbers
        self._clock = clock
        self._look = look
        self._note = note
        self._held: dict[RequestIdx, _Held] = {}
        self._holds: deque[tuple[float, RequestIdx, _Held]] = deque()
        self._avoid: dict[RequestIdx, dict[ContractId, float]] = {}
        self._name = fleet.definition.name
        self.dismissed = False
        """Whether another engine has the endpoint now."""

    def redefine(self, definition: Definition) -> None:
        """Its owner has changed the endpoint."""
        now_s = self._clock.now_s()
        self.fleet.redefine(definition, now_s)
        self._name = definition.name
        self.give(now_s)

    def dismiss(self) -> None:
        """Let everybody go who is on the line: another engine takes over, or nobody."""
        self.dismissed = True
        now_s = self._clock.now_s()
        held, self._held = self._held, {}
        for idx, line in held.items():
            self.fleet.ledger.leave(idx, now_s, keep_s=BETWEEN_POLLS_S)
            line.reply(None)

    # 1. A client asks.

    def ask(self, ask: Ask, reply: Reply) -> RequestIdx:
        """Find a worker, now or later; the request's number, under which its client asks again.

        `reply` is called once: before this returns when a worker has room, within `HOLD_S` in any
        case, unless the client hangs up (`hang_up`).
        """
        now_s = self._clock.now_s()
        idx, request = self._asked_before(ask, now_s)
        if request is None:
            request = self._request(idx, ask, now_s)
            if not self.fleet.ledger.queue:
                post = self._room(request, now_s)
                if post is not None:
                    self._give(request, post, reply, now_s)
                    return idx
            self.fleet.ledger.wait(request)
        self._hold(idx, reply, now_s)
        self.give(now_s)
        return idx

    def _asked_before(self, ask: Ask, now_s: float) -> tuple[RequestIdx, Request | None]:
        """The request's number, and the request itself when it waits already."""
        now_ms = self._clock.now_ms()
        if not plausible(ask.idx, now_ms):
            return self._new(ask, now_s), None
        idx = RequestIdx(ask.idx)
        ledger = self.fleet.ledger
        match ledger.where(idx):
            case Where.WAITING:
                if ledger.waiter(idx).caller != ask.caller:
                    return self._new(ask, now_s), None
                return idx, ledger.back(idx, now_s)
            case Where.ASSIGNED:
                entry = ledger.assigned[idx]
                if entry.request.caller not in {ask.caller, 0}:
                    return self._new(ask, now_s), None
                self._failed(idx, entry.worker, now_s)
            case Where.DONE:
                self._shun(idx, ledger.done[idx].worker, now_s)
            case Where.UNKNOWN:
                # Of an engine before this one: it keeps its number, and so its place.
                self.load.arrive(now_s, ask.cost)
        return idx, None

    def _new(self, ask: Ask, now_s: float) -> RequestIdx:
        self.load.arrive(now_s, ask.cost)
        self.traffic.arrive(now_s, ask.cost)
        return RequestIdx(self._numbers.next(self._clock.now_ms()))

    def _request(self, idx: RequestIdx, ask: Ask, now_s: float) -> Request:
        return Request(
            idx=idx,
            cost=ask.cost,
            arrived_s=min(now_s, given_ms(idx) / 1_000),
            caller=ask.caller,
            priority=ask.priority,
            deadline_s=ask.deadline_s,
            polled_s=now_s,
            chain=ask.chain,
        )

    def _failed(self, idx: RequestIdx, worker: ContractId, now_s: float) -> None:
        """A client comes back with a request that a worker has: that worker did not answer it."""
        self._note(f"request {idx} was not answered by worker {worker}, its client says")
        post = self.fleet.posts[worker]
        self.fleet.end(idx, worker, now_s, lost=True)
        self.fleet.blame(post, idx, now_s)
        self._shun(idx, worker, now_s)
        if not post.probing:
            post.probing = True
            self._look(post)
        self.fleet.rotate(post, now_s)

    def _shun(self, idx: RequestIdx, worker: ContractId, now_s: float) -> None:
        self._avoid.setdefault(idx, {})[worker] = now_s + AVOID_S

    # 2. A worker has room.

    def give(self, now_s: float) -> None:
        """Give the waiting requests to the workers that have room, in the queue's order."""
        queue = self.fleet.ledger.queue
        while (request := queue.peek()) is not None:
            post = self._room(request, now_s)
            if post is None:
                return
            queue.pop()
            held = self._held.pop(request.idx)
            self._give(request, post, held.reply, now_s)

    def _room(self, request: Request, now_s: float) -> Post | None:
        router = self.fleet.router
        avoid = self._avoid.get(request.idx)
        worker = None
        if avoid:
            still = {name for name, until_s in avoid.items() if until_s > now_s}
            worker = router.pick(still, request.chain)
        worker = worker or router.pick(chain=request.chain)
        return None if worker is None else self.fleet.posts[worker.id]

    def _give(self, request: Request, post: Post, reply: Reply, now_s: float) -> None:
        self.fleet.assign(request, post, now_s)
        now_ms = self._clock.now_ms()
        ready = Ready(
            endpoint=self._name,
            url=post.url,
            cost=request.cost,
            reqnum=self._numbers.next(now_ms),
            request_idx=request.idx,
            signature=self._signer.signature(post.url),
        )
        ready.ticket = issue(post.fact.token_hash, ready, post.worker.id, now_ms)
        reply(ready)

    # 3. No worker has room.

    def _hold(self, idx: RequestIdx, reply: Reply, now_s: float) -> None:
        before = self._held.get(idx)
        held = self._held[idx] = _Held(reply=reply, until_s=now_s + HOLD_S)
        self._holds.append((held.until_s, idx, held))
        if before is not None:
            # The same client on a new line: the old one is of no use to it.
            before.reply(None)

    def hang_up(self, idx: RequestIdx, reply: Reply) -> None:
        """A client has left the line; its request keeps its place for a while."""
        held = self._held.get(idx)
        if held is not None and held.reply is reply:
            del self._held[idx]
            self.fleet.ledger.leave(idx, self._clock.now_s(), keep_s=HUNG_UP_S)

    def answer_the_held(self, now_s: float) -> None:
        """Answer those who were on the line for long enough; called ten times a second."""
        while self._holds and self._holds[0][0] <= now_s:
            _, idx, held = self._holds.popleft()
            if self._held.get(idx) is held:
                del self._held[idx]
                self.fleet.ledger.leave(idx, now_s, keep_s=BETWEEN_POLLS_S)
                held.reply(None)

    def tick(self, now_s: float) -> None:
        """Give up those whose clients did, and forget what is over; called once a second."""
        for request in self.fleet.ledger.expire(now_s):
            waited_s = now_s - request.arrived_s
            self._note(f"request {request.idx} was given up after {waited_s:.0f} s")
            held = self._held.pop(request.idx, None)
            if held is not None:
                held.reply(None)
        for idx, workers in tuple(self._avoid.items()):
            if all(until_s <= now_s for until_s in workers.values()):
                del self._avoid[idx]
        self.give(now_s)

    # 4. The worker's word.

    def hear(self, post: Post, status: Status) -> None:
        """A worker reports how it is. Raises BadReport as `Post.take` does."""
        now_s = self._clock.now_s()
        boot, was_loaded = post.boot, post.loaded
        if post.hearing.is_pressed(now_s) or not post.take(status, now_s):
            return
        if (boot and post.boot != boot) or (was_loaded and status.loadtime == 0):
            # Another run of it: what the last one had is lost.
            self.fleet.lose(post.worker.id, now_s)
        self.fleet.settle(post, now_s)
        self.fleet.reconcile(post, status.working_request_idxs, post.load, now_s)
        self.give(now_s)

    def finish(self, post: Post, finished: list[Finished]) -> None:
        """A worker is done with requests. The same word may come twice."""
        now_s = self._clock.now_s()
        for told in finished:
            entry = self.fleet.finish(post, told, now_s)
            if entry is not None and told.status != "Success":
                self._note(f"request {entry.request.idx} at worker {post.worker.id}: {told.status}")
                self._shun(entry.request.idx, post.worker.id, now_s)
        self.fleet.settle(post, now_s)
        self.give(now_s)

    @property
    def on_the_line(self) -> int:
        """Clients that are held now."""
        return len(self._held)
