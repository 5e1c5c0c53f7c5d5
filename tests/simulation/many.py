"""Runs many seeds, one process for each core, on one database server."""

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from tests.control.postgres import Postgres, postgres
from tests.simulation.seeds import Broken, Outcome, Scale, run

_databases: Final[list[Postgres]] = []
"""Where this worker process makes its databases."""


def outcomes(seeds: Sequence[int], scale: Scale, workers: int) -> Iterator[Outcome | str]:
    """What became of every seed, in order; the story of one that broke a law."""
    workers = min(workers, len(seeds))
    with (
        postgres() as server,
        ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(server.url, server.template),
        ) as pool,
    ):
        try:
            yield from pool.map(_one, seeds, [scale] * len(seeds))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(url: str, template: str) -> None:
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # connections are lost on purpose
    _databases.append(Postgres(url, template))


def _one(seed: int, scale: Scale) -> Outcome | str:
    try:
        return run(seed, _databases[0], scale)
    except Broken as broken:
        return str(broken)
