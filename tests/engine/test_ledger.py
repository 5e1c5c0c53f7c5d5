"""The books: a request is in one place, sums are those of what is there, nothing falls below 0."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mercato.engine.fleet import Fleet
from mercato.engine.ledger import Where
from mercato.engine.post import Post
from mercato.engine.standalone import StandaloneMarket
from mercato.market.ids import ContractId
from mercato.serverless.queue import Request, RequestIdx
from mercato.wire.worker import Finished, Status
from tests.engine.scene import ManualClock

WORKERS = 3
workers = st.integers(1, WORKERS)
costs = st.sampled_from([0.0, 0.1, 1.0, 7.3, 1e6])


class Books(RuleBasedStateMachine):
    """Behaviour 41: whatever clients, workers and time do."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        market = StandaloneMarket(self.clock)
        definition = market.add_endpoint("e", "k")
        self.fleet = Fleet(definition)
        self.market, self.definition = market, definition
        for worker in range(1, WORKERS + 1):
            market.add_worker(definition, worker, "t")
        self.fleet.take_facts(market.workers.values(), self.now_s)
        for post in self.fleet.posts.values():
            self.speak(post)
        self.last = 0

    @property
    def now_s(self) -> float:
        return self.clock.now_s()

    def speak(self, post: Post) -> None:
        post.take(Status(id=post.worker.id, loadtime=1, max_perf=10, url="http://x:1"), self.now_s)
        self.fleet.settle(post, self.now_s)

    def post(self, worker: int) -> Post | None:
        return self.fleet.posts.get(ContractId(worker))

    @rule(target=requests, cost=costs)
    def come(self, cost: float) -> RequestIdx:
        self.last += 1
        request = Request(idx=RequestIdx(self.last), cost=cost, arrived_s=self.now_s)
        self.fleet.ledger.wait(request)
        return request.idx

    @rule(idx=requests, keep_s=st.sampled_from([1.0, 60.0]))
    def leave(self, idx: RequestIdx, keep_s: float) -> None:
        self.fleet.ledger.leave(idx, self.now_s, keep_s=keep_s)

    @rule(idx=requests)
    def come_back(self, idx: RequestIdx) -> None:
        if self.fleet.ledger.where(idx) is Where.WAITING:
            self.fleet.ledger.back(idx, self.now_s)

    @rule(worker=workers)
    def give(self, worker: int) -> None:
        post = self.post(worker)
        if post is not None and self.fleet.ledger.queue:
            request = self.fleet.ledger.queue.pop()
            assert request is not None
            self.fleet.assign(request, post, self.now_s)

    @rule(worker=workers, idx=requests, status=st.sampled_from(["Success", "Error", "Rejected"]))
    def finish(self, worker: int, idx: RequestIdx, status: str) -> None:
        post = self.post(worker)
        if post is not None:
            told = Finished(request_idx=idx, success=True, status=status, work_completed_at=2)
            self.fleet.finish(post, told, self.now_s)

    @rule(worker=workers, idxs=st.lists(requests, max_size=5), load=costs)
    def report(self, worker: int, idxs: list[RequestIdx], load: float) -> None:
        post = self.post(worker)
        if post is not None:
            self.fleet.reconcile(post, idxs, load, self.now_s)

    @rule(worker=workers)
    def lose(self, worker: int) -> None:
        if self.post(worker) is not None:
            self.fleet.lose(ContractId(worker), self.now_s)

    @rule(worker=workers, there=st.booleans())
    def go_and_return(self, *, worker: int, there: bool) -> None:
        self.market.end_worker(worker)
        if there:
            self.market.add_worker(self.definition, worker, "t")
        self.fleet.take_facts(self.market.workers.values(), self.now_s)
        post = self.post(worker)
        if post is not None:
            self.speak(post)

    @rule(idx=consumes(requests))
    def ask_again(self, idx: RequestIdx) -> None:
        ledger = self.fleet.ledger
        entry = ledger.assigned.get(idx)
        if entry is not None:
            self.fleet.end(idx, entry.worker, self.now_s, lost=True)
        if ledger.where(idx) is Where.DONE:
            ledger.wait(Request(idx=idx, cost=1.0, arrived_s=self.now_s))

    @rule(seconds=st.sampled_from([0.1, 3.0, 11.0, 200.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.time_s += seconds
        self.fleet.ledger.expire(self.now_s)
        for post in self.fleet.posts.values():
            self.fleet.age(post, self.now_s)

    @invariant()
    def a_request_is_in_one_place(self) -> None:
        ledger = self.fleet.ledger
        for number in range(1, self.last + 1):
            idx = RequestIdx(number)
            places = [
                idx in ledger.queue,
                idx in ledger.away,
                idx in ledger.assigned,
                idx in ledger.done,
            ]
            assert sum(places) <= 1, (idx, places)

    @invariant()
    def a_workers_sums_are_those_of_the_books(self) -> None:
        for name, post in self.fleet.posts.items():
            here = self.fleet.ledger.at(name)
            assert post.worker.requests == len(here)
            total = sum(entry.cost for entry in here.values())
            assert abs(post.worker.work - total) <= 1e-6 * max(1.0, total)
            assert post.worker.work >= 0
            if not here:
                assert post.worker.work == 0
        for idx, entry in self.fleet.ledger.assigned.items():
            assert self.fleet.ledger.at(entry.worker)[idx] is entry

    @invariant()
    def what_waits_is_counted(self) -> None:
        ledger = self.fleet.ledger
        waiting = ledger.waiting(self.now_s)
        assert waiting.requests == len(ledger.queue) + len(ledger.away)
        assert waiting.units >= 0
        assert waiting.oldest_s >= 0
        if not waiting.requests:
            assert waiting.units == 0


Books.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestBooks = Books.TestCase
