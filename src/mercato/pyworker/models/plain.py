"""Any server that takes JSON by POST and answers at once or by a stream."""

from collections.abc import Sequence
from typing import Any

from mercato.pyworker.worker import Benchmark, ModelLog, Route, Worker


def worker(
    model: str,
    *,
    paths: Sequence[str],
    trial: Any = None,
    log: ModelLog | None = None,
    health: str | None = None,
    parallel: bool = False,
    concurrency: int = 10,
) -> Worker:
    """A worker that passes `paths` on to the server at `model`.

    `trial` is a payload for the benchmark of the first path; without one the worker counts as doing
    one ordinary request a second.
    """
    return Worker(
        model=model,
        log=log,
        health=health,
        routes=tuple(
            Route(
                path=path,
                parallel=parallel,
                benchmark=Benchmark(payloads=[trial], concurrency=concurrency)
                if trial is not None and path == paths[0]
                else None,
            )
            for path in paths
        ),
    )
