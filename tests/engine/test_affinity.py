"""Prefix affinity on recorded traffic: the engine's own books and routing on a clock by itself."""

import heapq
import lzma
import os
from collections import OrderedDict, deque
from pathlib import Path
from typing import Final, NamedTuple

from mercato.engine.fleet import CACHED_WAIT_S
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.prefix import BLOCKS_KEPT, CHAIN_MAX
from mercato.serverless.route import BLOCK_UNITS
from mercato.wire.worker import Finished
from tests.engine.scene import Asking, Scene, vast

TRACE: Final = Path(__file__).parent / "traces" / "mooncake_conversation.txt.xz"
REQUESTS: Final = int(os.environ.get("MERCATO_AFFINITY_REQUESTS", "5000"))
"""Of the trace's 12,031; `make affinity` plays them all."""
WORKERS: Final = 16
SLOTS: Final = 8
PERF: Final = 1_400.0
"""Units/s of a worker: three fifths of what they can do together are asked of them."""


class Recorded(NamedTuple):
    """A request of the trace."""

    at_s: float
    output: int
    blocks: tuple[int, ...]

    @property
    def cost(self) -> float:
        """What its client claims: to read all of it, and to write."""
        return self.output + BLOCK_UNITS * len(self.blocks)


class Played(NamedTuple):
    """What came of playing it."""

    hits: float
    """Of all blocks, those that the worker had cached indeed."""
    wait_p95_s: float
    """From the asking until a slot took it up."""
    read_mean_s: float
    """From the asking until its prompt was read."""
    handed_wait_max_s: float
    """The longest wait, as the engine's books told it, at a worker that was given one more."""


class Machine:
    """A worker as it is: slots, a line before them, and a cache of its own."""

    def __init__(self) -> None:
        self.busy = 0
        self.line: deque[tuple[Asking, Recorded]] = deque()
        self.cache: OrderedDict[int, None] = OrderedDict()

    def read(self, blocks: tuple[int, ...]) -> int:
        """Read a prompt; how many blocks of its beginning were cached."""
        cached = next((n for n, block in enumerate(blocks) if block not in self.cache), len(blocks))
        for block in reversed(blocks):
            self.cache[block] = None
            self.cache.move_to_end(block)
        while len(self.cache) > BLOCKS_KEPT:
            self.cache.popitem(last=False)
        return cached


class Play:
    """The trace through one endpoint."""

    def __init__(self, scene: Scene, *, aware: bool) -> None:
        """With `aware`, clients say how their prompts begin."""
        self._scene = scene
        self._aware = aware
        self._began_s = scene.clock.time_s
        self._machines = {worker: Machine() for worker in range(1, WORKERS + 1)}
        self._waiting: list[tuple[Asking, Recorded]] = []
        self._ends: list[tuple[float, int, int]] = []
        self._waits: list[float] = []
        self._read_s = self._hit = self._asked = 0.0
        self._handed_wait_max_s = 0.0

    def play(self, trace: list[Recorded]) -> Played:
        router = self._scene.fleet.router
        for recorded in trace:
            self._until(self._began_s + recorded.at_s)
            workers = {name: self._scene.post(name).worker for name in self._machines}
            waits = {name: router._wait(worker) for name, worker in workers.items()}
            chain = recorded.blocks[:CHAIN_MAX] if self._aware else ()
            asking = self._scene.ask(recorded.cost, chain=chain)
            if asking.worker is not None:
                self._handed_wait_max_s = max(self._handed_wait_max_s, waits[asking.worker])
            self._waiting.append((asking, recorded))
            self._take_up()
        while self._ends:
            self._until(self._ends[0][0])
        assert len(self._waits) == len(trace)
        return Played(
            self._hit / self._asked,
            sorted(self._waits)[int(0.95 * len(trace))],
            self._read_s / len(trace),
            self._handed_wait_max_s,
        )

    def _until(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            self._scene.clock.time_s, idx, worker = heapq.heappop(self._ends)
            machine = self._machines[worker]
            machine.busy -= 1
            if machine.line:
                self._start(worker, *machine.line.popleft())
            done = Finished(request_idx=idx, success=True, status="Success")
            self._scene.desk.finish(self._scene.post(worker), [done])
            self._take_up()
        self._scene.clock.time_s = now_s

    def _take_up(self) -> None:
        """Clients go to the workers that they were given."""
        still = []
        for asking, recorded in self._waiting:
            if asking.worker is None:
                still.append((asking, recorded))
            elif self._machines[asking.worker].busy < SLOTS:
                self._start(asking.worker, asking, recorded)
            else:
                self._machines[asking.worker].line.append((asking, recorded))
        self._waiting = still

    def _start(self, worker: int, asking: Asking, recorded: Recorded) -> None:
        machine = self._machines[worker]
        machine.busy += 1
        waited_s = self._scene.clock.time_s - self._began_s - recorded.at_s
        cached = machine.read(recorded.blocks)
        reading_s = (len(recorded.blocks) - cached) * BLOCK_UNITS * SLOTS / PERF
        self._waits.append(waited_s)
        self._read_s += waited_s + reading_s
        self._hit += cached
        self._asked += len(recorded.blocks)
        ends_s = self._scene.clock.time_s + reading_s + recorded.output * SLOTS / PERF
        heapq.heappush(self._ends, (ends_s, asking.idx, worker))


async def test_39_on_recorded_talks_a_quarter_is_cached_and_prompts_are_read_sooner() -> None:
    trace = _recorded(REQUESTS)
    policies = {"vast": vast(), "auto": Endpoint(workers_min=0)}
    least_work = await _played(trace, policies["vast"], aware=False)
    for name, parameters in policies.items():
        blind = least_work if name == "vast" else await _played(trace, parameters, aware=False)
        aware = await _played(trace, parameters, aware=True)
        print(f"{name}: blind {blind}, aware {aware}")  # noqa: T201 - what a whole run came to
        assert aware.hits >= 0.25 > 2 * blind.hits
        assert aware.wait_p95_s <= 1.3 * least_work.wait_p95_s
        assert aware.read_mean_s < 0.9 * blind.read_mean_s
        bound_s = parameters.worker_wait_max_s if name == "vast" else CACHED_WAIT_S
        assert aware.handed_wait_max_s <= bound_s + 1.0


async def _played(trace: list[Recorded], parameters: Endpoint, *, aware: bool) -> Played:
    scene = await Scene(parameters).open()
    await scene.staff(*range(1, WORKERS + 1), perf=PERF, slots=SLOTS)
    return Play(scene, aware=aware).play(trace)


def _recorded(count: int) -> list[Recorded]:
    with lzma.open(TRACE, "rt") as lines:
        rows = [line.split() for line, _ in zip(lines, range(count), strict=False)]
    return [
        Recorded(int(at_ms) / 1_000, int(output), tuple(_blocks(spans)))
        for at_ms, _, output, spans in rows
    ]


def _blocks(spans: str) -> list[int]:
    ends = [tuple(map(int, span.split("-"))) for span in spans.split(",")]
    return [block for first, last in ends for block in range(first, last + 1)]
