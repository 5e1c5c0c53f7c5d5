"""Runs many seeds, on each core one process and a database server of its own.

A market and its server only ever wait for each other, so they share a core: handing over within one
is quicker than between two.
"""

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from typing import Final

from tests.control.postgres import Postgres, postgres
from tests.simulation.seeds import Broken, Outcome, Scale, run

_SPAWN: Final = multiprocessing.get_context("spawn")


def outcomes(seeds: Sequence[int], scale: Scale, workers: int) -> Iterator[Outcome | str]:
    """What became of every seed, in order; the story of one that broke a law or its worker.

    A worker that dies (killed for want of memory, say) costs its own seed alone: the story names
    the seed and how it ended, and another worker goes on with the rest.
    """
    waiting, done = deque(seeds), dict[int, Outcome | str]()
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as servers:
        crew = []
        for number in range(min(workers, len(seeds))):
            core = cores[number % len(cores)]
            with _on(core):
                server = servers.enter_context(postgres())
            crew.append(_Worker(server, core, scale))
        try:
            for worker in crew:
                worker.give(waiting)
            for seed in seeds:
                while seed not in done:
                    for ready in wait([one.line for one in crew if one.seed is not None]):
                        [worker] = [one for one in crew if one.line is ready]
                        number, outcome = worker.result()
                        done[number] = outcome
                        worker.give(waiting)
                yield done.pop(seed)
        finally:
            for worker in crew:
                worker.end()


class _Worker:
    """A process that runs one seed after another, and the seed that it is at."""

    def __init__(self, server: Postgres, core: int, scale: Scale) -> None:
        self._server, self._core, self._scale = server, core, scale
        self._start()

    def _start(self) -> None:
        self.seed: int | None = None
        self.line, theirs = _SPAWN.Pipe()
        arguments = (theirs, self._server.url, self._server.template, self._core, self._scale)
        self._process = _SPAWN.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # so that its death is the end of the line

    def give(self, waiting: deque[int]) -> None:
        """Have it run the next seed, if there is one."""
        if waiting:
            self.seed = waiting.popleft()
            self.line.send(self.seed)

    def result(self) -> tuple[int, Outcome | str]:
        """What became of its seed; a worker that died is replaced."""
        seed, self.seed = self.seed, None
        assert seed is not None
        try:
            outcome: Outcome | str = self.line.recv()
        except (EOFError, ConnectionError):
            self._process.join(5.0)
            self.end()
            outcome = f"seed {seed}: its worker {_how(self._process.exitcode)}; run it by itself"
            self._start()
        return seed, outcome

    def end(self) -> None:
        """End the process."""
        self.line.close()
        self._process.terminate()
        self._process.join()


def _how(code: int | None) -> str:
    """How a process ended, and what that mostly means."""
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL: by the kernel when memory runs out, see dmesg; or by hand)"
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit status {code}"


@contextmanager
def _on(core: int) -> Iterator[None]:
    """Have what is started meanwhile run on one core."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def _work(line: Connection, url: str, template: str, core: int, scale: Scale) -> None:
    """Run the seeds that come along the line on one core, until it ends."""
    os.sched_setaffinity(0, {core})
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # connections are lost on purpose
    databases = Postgres(url, template)
    while True:
        try:
            seed: int = line.recv()
        except EOFError:
            return
        try:
            outcome: Outcome | str = run(seed, databases, scale)
        except Broken as broken:
            outcome = str(broken)
        except Exception as problem:  # noqa: BLE001 - it could not be run at all
            outcome = f"seed {seed}: {problem!r}"
        line.send(outcome)
