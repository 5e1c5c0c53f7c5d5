"""How many workers to have: one function over parameters, load, workers and offers.

`decide` is asked once a second for each endpoint. It returns what to do and why; who carries it
out is the engine's business, and what is not done is decided again a second later.
"""

from collections.abc import Sequence

import msgspec

from mercato.serverless.auto import AutoMemory, auto
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, Group, Policy
from mercato.serverless.load import Load
from mercato.serverless.queued import queued
from mercato.serverless.recruit import Candidate
from mercato.serverless.vast import VastMemory, vast
from mercato.serverless.worker import State, Worker


class Memory(msgspec.Struct, kw_only=True):
    """What the policies keep from tick to tick; plain data, to be stored with the endpoint."""

    auto: AutoMemory = msgspec.field(default_factory=AutoMemory)
    vast: VastMemory = msgspec.field(default_factory=VastMemory)


def decide(
    now_s: float,
    endpoint: Endpoint,
    load: Load,
    workers: Sequence[Worker],
    offers: Sequence[Candidate],
    memory: Memory,
) -> list[Decision]:
    """What to do about this endpoint's fleet now; an empty list when it is right as it is.

    Args:
        now_s: seconds on any clock that never goes back.
        endpoint: the parameters.
        load: what has been asked lately, brought up to `now_s` by its `tick`.
        workers: the whole fleet, also what is on its way and what is broken.
        offers: what could be rented now; empty when nothing can.
        memory: the policies' own, changed in place.
    """
    match endpoint.policy:
        case Policy.AUTO:
            return auto(now_s, endpoint, load, workers, offers, memory.auto)
        case Policy.QUEUE:
            return queued(now_s, endpoint, load, workers, offers)
        case Policy.VAST:
            return vast(now_s, endpoint, load, workers, offers, memory.vast)


def renew(groups: Sequence[Group], workers: Sequence[Worker]) -> list[Decision]:
    """Which workers to make anew now because their group runs something newer.

    Those that sleep at once, as nobody waits for them; of those that serve one at a time, while
    another serves on or none is left to, and not while one that was made anew is in trouble. The
    only one that serves waits for those that slept.
    """
    versions = {group.id: group.version for group in groups}
    decisions: list[Decision] = []
    for group, version in versions.items():
        mine = [worker for worker in workers if worker.group == group]
        old = [worker for worker in mine if worker.version < version]
        reason = f"its group runs version {version}"
        asleep = [worker for worker in old if worker.state is State.STOPPED]
        decisions += [
            Decision(kind=Kind.UPDATE, worker=worker.id, reason=reason) for worker in asleep
        ]
        busy = any(
            worker.state in {State.UPDATING, State.DRAINING}
            or (worker.version >= version and worker.state in {State.REBOOTING, State.ERROR})
            for worker in mine
        )
        alone = sum(worker.state is State.READY for worker in mine) == 1
        serving = [worker for worker in old if worker.state is State.READY]
        if serving and not busy and not (alone and asleep):
            quietest = min(serving, key=lambda worker: (worker.work, worker.id))
            decisions.append(Decision(kind=Kind.UPDATE, worker=quietest.id, reason=reason))
    return decisions
