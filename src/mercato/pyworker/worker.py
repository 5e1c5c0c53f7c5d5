"""What a worker serves: its routes, its model server, and how to know that it is ready.

This is what somebody who writes a worker of their own fills in; see `examples/worker.py`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from mercato.pyworker.model import Model

WORKLOAD: Final = 100.0
"""The units of a request whose route has no workload of its own."""

Workload = Callable[[Any], float]
"""From a request's payload to the units of work in it, in the unit of the client's `cost`."""

Answer = Callable[[Any, Model], Awaitable[Any] | AsyncIterator[Any]]
"""From a payload to what is answered: a value for JSON, or an iterator of values to stream."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """Raised by an `Answer` for a request that it will not do: the status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker measures itself once its model is loaded."""

    payloads: Sequence[Any] | Callable[[], Any]
    """Requests to send: taken in turn, or made."""
    rounds: int = 8
    concurrency: int = 10
    """Requests at once in each round; one when the route is not parallel."""
    warm_up: bool = True
    """Send one request before, which is not measured."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One path that clients may post to."""

    path: str
    to: str | None = None
    """The path at the model server; None: the same."""
    over: Mapping[str, Any] = {}
    """Fields that take the place of the payload's own, such as the model's name."""
    answer: Answer | None = None
    """Answers here instead of at the model server's path."""
    workload: Workload | float = WORKLOAD
    parallel: bool = False
    """Whether requests go to the model as they come. Those of routes that are not parallel take
    turns, in the order of their coming."""
    queue_max_s: float | None = 30.0
    """A request that would have more than this much work before it is refused with 429."""
    benchmark: Benchmark | None = None
    """At most one route of a worker has one."""


class ModelLog(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose lines tell how the model server does. A line counts when it contains a text."""

    file: str
    loaded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A whole worker."""

    routes: tuple[Route, ...]
    model: str | None = None
    """The model server, such as `http://127.0.0.1:8000`."""
    log: ModelLog | None = None
    """How to know that the model is loaded; None: by its health, or at once."""
    health: str | None = None
    """A path at the model server that answers 200 while it is well."""
    at_once: int = 1
    """Turns at a time, over all routes that are not parallel."""
    sessions_max: int = 10
    """0: no limit."""


def check(worker: Worker) -> None:
    """Say what is wrong with a worker before it starts.

    Raises:
        ValueError: when its parts do not fit together.
    """
    paths = [route.path for route in worker.routes]
    if not paths or len(set(paths)) < len(paths) or not all(p.startswith("/") for p in paths):
        raise ValueError("a worker needs routes, each with a path of its own that begins with /")
    if sum(route.benchmark is not None for route in worker.routes) > 1:
        raise ValueError("one route at most has a benchmark")
    if worker.model is None and any(route.answer is None for route in worker.routes):
        raise ValueError("a route without an answer of its own needs a model server")
    if worker.at_once < 1:
        raise ValueError("at_once must be at least 1")
