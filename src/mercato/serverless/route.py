"""Which worker gets a request: one with a free slot, else the one with the least work left.

A prompt whose beginning a worker has cached may go there instead, if that worker has room: where
waiting and reading together take least.

The router holds the ready workers of one endpoint in orders that a decision reads in logarithmic
time: those with a free slot by preference, all by the seconds of work they have left. Entries are
never searched for: an entry that no longer tells the truth is dropped when it comes up.
"""

from collections.abc import Container
from heapq import heapify, heappop, heappush
from typing import Final

from mercato.market.ids import ContractId
from mercato.serverless.prefix import Chain, Prefixes
from mercato.serverless.worker import Worker

BLOCK_UNITS: Final = 128.0
"""What reading a block of a prompt, some 512 tokens, takes beside writing: as much as so many
units of work."""


class Router:
    """The ready workers of one endpoint, ordered for the next request."""

    def __init__(
        self, *, wait_max_s: float, cached_wait_max_s: float | None = None, pack: bool = True
    ) -> None:
        """Bind early only where the request is expected to start within `wait_max_s`.

        A prompt may wait for `cached_wait_max_s` where its beginning is cached, if that is soonest
        all the same; as long as others when left out. With `pack`, free slots of the best
        performance per price fill first, so that the others fall idle and can sleep; without, the
        least work left wins.
        """
        self.wait_max_s = wait_max_s
        self.cached_wait_max_s = wait_max_s if cached_wait_max_s is None else cached_wait_max_s
        self.pack = pack
        self.prefixes = Prefixes()
        self._workers: dict[ContractId, Worker] = {}
        self._free: list[tuple[float, ContractId]] = []  # by price per performance
        self._waits: list[tuple[float, ContractId]] = []  # by seconds of work left

    def __len__(self) -> int:
        return len(self._workers)

    def __contains__(self, worker: ContractId) -> bool:
        return worker in self._workers

    def put(self, worker: Worker) -> None:
        """Take a worker into rotation, or note its new performance, price or slots.

        One without performance (not measured, failed, or not a number) is never routed to.
        """
        if not 0 < worker.perf < float("inf"):
            self.drop(worker.id)
            return
        self._workers[worker.id] = worker
        self._note(worker)

    def drop(self, worker: ContractId) -> None:
        """Take a worker out of rotation; unknown ones are no error."""
        self._workers.pop(worker, None)

    def pick(self, avoid: Container[ContractId] = (), chain: Chain = ()) -> Worker | None:
        """The worker for the next request; None when it should wait in the queue.

        `chain` tells the beginning of its prompt, if it has one (prefix.py).
        """
        worker = (self.pack and self._first_free(avoid)) or self._least_wait(avoid)
        if worker and chain:
            return self._closest(worker, avoid, chain)
        return worker or None

    def _closest(self, picked: Worker, avoid: Container[ContractId], chain: Chain) -> Worker:
        """The one that answers a prompt soonest: the one picked for its room, or who has cached."""
        best, depth = picked, self.prefixes.depth(picked.id, chain)
        best_s = self._wait(picked) + _reading_s(picked, len(chain) - depth)
        for name, cached in self.prefixes.holders(chain):
            worker = self._workers.get(name)
            if worker is None or name in avoid:
                continue
            wait_s = self._wait(worker)
            soon_s = wait_s + _reading_s(worker, len(chain) - cached)
            if wait_s <= self.cached_wait_max_s and (soon_s, name) < (best_s, best.id):
                best, best_s = worker, soon_s
        return best

    def assign(self, worker: Worker, cost: float, chain: Chain = ()) -> None:
        """Count a request of `cost` as that worker's; what it begins with will be cached there."""
        worker.requests += 1
        worker.work += cost
        self._note(worker)
        if chain:
            self.prefixes.note(worker.id, chain)

    def release(self, worker: Worker, cost: float) -> None:
        """A request of `cost` is no longer that worker's: finished, failed or gone."""
        assert worker.requests > 0, worker.id
        worker.requests -= 1
        # Nothing left is exactly nothing, whatever the rounding of the sums before.
        worker.work = max(0.0, worker.work - cost) if worker.requests else 0.0
        self._note(worker)

    def _first_free(self, avoid: Container[ContractId]) -> Worker | None:
        heap, kept = self._free, []
        found = None
        while heap:
            rank, name = heap[0]
            worker = self._workers.get(name)
            if worker is None or worker.requests >= worker.slots or rank != _rank(worker):
                heappop(heap)
                continue
            if name not in avoid:
                found = worker
                break
            kept.append(heappop(heap))
        for entry in kept:
            heappush(heap, entry)
        return found

    def _least_wait(self, avoid: Container[ContractId]) -> Worker | None:
        heap, kept = self._waits, []
        found = None
        while heap:
            wait_s, name = heap[0]
            worker = self._workers.get(name)
            if worker is None or wait_s != self._wait(worker):
                heappop(heap)
                continue
            if name not in avoid:
                found = worker if wait_s <= self.wait_max_s else None
                break
            kept.append(heappop(heap))
        for entry in kept:
            heappush(heap, entry)
        return found

    def _wait(self, worker: Worker) -> float:
        return worker.slot_wait_s if self.pack else worker.wait_s

    def _note(self, worker: Worker) -> None:
        if worker.id not in self._workers:
            return
        heappush(self._waits, (self._wait(worker), worker.id))
        if worker.requests < worker.slots:
            heappush(self._free, (_rank(worker), worker.id))
        if max(len(self._waits), len(self._free)) > 64 + 8 * len(self._workers):
            self._rebuild()

    def _rebuild(self) -> None:
        """Drop what no longer tells the truth, before it outgrows what does."""
        workers = self._workers.values()
        self._waits = [(self._wait(worker), worker.id) for worker in workers]
        self._free = [
            (_rank(worker), worker.id) for worker in workers if worker.requests < worker.slots
        ]
        heapify(self._waits)
        heapify(self._free)


def _reading_s(worker: Worker, blocks: int) -> float:
    """How long a worker reads so many blocks of one prompt: a slot has its share of the speed."""
    return blocks * BLOCK_UNITS * worker.slots / worker.perf


def _rank(worker: Worker) -> float:
    """What a unit of this worker's work costs while it is awake; the best first."""
    return worker.price / worker.perf
