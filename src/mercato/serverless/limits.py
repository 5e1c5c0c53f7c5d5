"""The most workers that an endpoint may have: who goes when there are more, or only takes up room.

The same for every policy; which worker is worth the least is the policy's own measure.
"""

from collections.abc import Callable, Sequence
from typing import Final

from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.load import Load
from mercato.serverless.recruit import Candidate
from mercato.serverless.shortage import LOAD_S
from mercato.serverless.worker import Outlook, State, Worker

TAKEN_MAX_S: Final = 300.0
"""A worker whose GPUs serve somebody else for so long is no longer waited for while requests wait:
about as long as another takes to be rented and to load."""

_GOING: Final = {
    State.DESTROYING: None,
    State.ERROR: None,
    State.TAKEN: Kind.DESTROY,
    State.STOPPED: Kind.DESTROY,
    State.DRAINING: None,
    State.PENDING: Kind.DESTROY,
    State.CREATING: Kind.DESTROY,
    State.LOADING: Kind.DESTROY,
    State.STARTING: None,
    State.UPDATING: None,
    State.REBOOTING: None,
    State.READY: Kind.SLEEP,
}
"""Who goes first when there are too many, and what is decided of it; None: it goes by itself, or
nothing can be done before it is well or awake. Those that serve come last."""
_RANK: Final = {state: rank for rank, state in enumerate(_GOING)}


def dismiss(
    endpoint: Endpoint, workers: Sequence[Worker], worth: Callable[[Worker], float]
) -> tuple[list[Decision], list[Worker]]:
    """Reduce a fleet to its maximum: what to do about those that go, and who stays.

    Never more go than there are too many. One with an open session stays until it ends.

    Args:
        endpoint: its maximum was lowered, perhaps.
        workers: the whole fleet, also what is on its way and what is broken.
        worth: of those in the same state, the one that is worth the least goes first.
    """
    over = len(workers) - endpoint.workers_max
    if over <= 0:
        return [], list(workers)
    free = (one for one in workers if one.state is not State.READY or not one.sessions)
    going = sorted(free, key=lambda one: (_RANK[one.state], worth(one), one.id))[:over]
    reason = f"the endpoint may have {endpoint.workers_max} workers and has {len(workers)}"
    decisions = [
        Decision(kind=kind, worker=one.id, reason=reason)
        for one in going
        if (kind := _GOING[one.state]) is not None
    ]
    gone = {one.id for one in going}
    return decisions, [one for one in workers if one.id not in gone]


def make_room(
    now_s: float, load: Load, workers: Sequence[Worker], offers: Sequence[Candidate]
) -> list[Decision]:
    """Give back who has been taken for longest, so that another can be rented in its place.

    For a fleet at its maximum that needs another worker, one at a time, while requests wait and
    there is an offer. Where somebody serves or can be woken, what waits is mostly worked off before
    another worker would have loaded: there it takes a request that has waited for as long.
    """
    waiting = load.waiting
    loads = any(
        one.state.outlook is Outlook.LATER or one.state is State.DESTROYING for one in workers
    )
    taken = [one for one in workers if one.state is State.TAKEN]
    if loads or not taken or not offers or not waiting.requests:
        return []
    alive = any(one.state.outlook is not Outlook.NONE for one in workers)
    if alive and waiting.oldest_s < LOAD_S:
        return []
    longest = min(taken, key=lambda one: (one.since_s, one.id))
    taken_s = now_s - longest.since_s
    if taken_s < TAKEN_MAX_S:
        return []
    reason = (
        f"its GPUs have served somebody else for {taken_s:.0f} s, {waiting.requests} "
        f"requests wait, and the endpoint may have no further worker"
    )
    return [Decision(kind=Kind.DESTROY, worker=longest.id, reason=reason)]
