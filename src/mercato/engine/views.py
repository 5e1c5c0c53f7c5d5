"""What an engine shows of an endpoint, in the names that clients read."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from mercato.engine.fleet import Fleet
from mercato.engine.post import Post
from mercato.engine.station import Station
from mercato.serverless.endpoint import GroupId

View = Callable[[Station, GroupId | None, int | None], Any]
"""Of an endpoint, or of one group of it; the last so many lines where there are lines."""


def waiting(fleet: Fleet, idx: int) -> bytes:
    """The answer to a client that has to wait: why, and the number to ask again with."""
    states = Counter(post.worker.state.label for post in fleet.posts.values())
    count = len(fleet.ledger.queue) + len(fleet.ledger.away)
    there = ", ".join(f"{number} {label}" for label, number in sorted(states.items()))
    status = f"workers: {there or 'none yet'}; requests waiting: {count}"
    body = {"endpoint": fleet.definition.name, "status": status, "request_idx": idx}
    return msgspec.json.encode(body)


def workers(station: Station, group: GroupId | None, tail: int | None) -> Any:
    """The workers, one row each. None of the numbers is ever null: clients would fall over it."""
    del tail
    posts = station.fleet.posts.values()
    return [_row(post) for post in posts if group is None or post.worker.group == group]


def _row(post: Post) -> dict[str, Any]:
    worker, fact = post.worker, post.fact
    return {
        "id": worker.id,
        "status": worker.state.label,
        "workergroup_id": worker.group,
        "machine_id": worker.machine,
        "gpu_name": worker.kind,
        "cur_load": worker.work,
        "new_load": post.new_load,
        "cur_load_rolling_avg": post.load,
        "cur_perf": post.served,
        "perf": worker.perf,
        "measured_perf": worker.benchmark,
        "dlperf": fact.dlperf,
        "reliability": worker.reliability,
        "reqs_working": worker.requests,
        "slots": worker.slots,
        "disk_usage": post.disk_gb,
        "loaded_at": post.loaded_s,
        "started_at": (fact.started_at_ms or 0) / 1_000,
        "version": worker.version,
        "url": post.url,
        "error_msg": post.error,
        "status_msg": fact.message,
    }


def logs(station: Station, group: GroupId | None, tail: int | None) -> Any:
    """The journal's four grains. A group's is its endpoint's: what happens to it is told there."""
    del group
    return station.journal.read(tail)


def decisions(station: Station, group: GroupId | None, tail: int | None) -> Any:
    """What was decided, why, and what came of it; the latest last."""
    del group
    done = list(station.scaling.done)
    return [
        {
            "at": one.at_s,
            "kind": one.decision.kind,
            "worker": one.decision.worker,
            "offer": one.decision.offer,
            "reason": one.decision.reason,
            "outcome": one.outcome,
        }
        for one in (done if tail is None else done[-max(1, tail) :])
    ]
