"""The policy `queue`: a worker is added when a request waits too long, dropped when long idle.

It needs no forecast. Requests are packed onto few workers by the router, so that the others fall
idle; one that has had no work for a while goes to sleep, and what sleeps beyond the endpoint's
minimum for a day is given back. A worker on its way counts, so that one delay adds one worker.
"""

from collections.abc import Sequence
from typing import Final

from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.load import Load
from mercato.serverless.recruit import Candidate
from mercato.serverless.worker import Outlook, State, Worker

GIVE_BACK_S: Final = 24 * 3_600.0
"""A worker that has slept for so long, beyond the minimum, is given back."""

_COMING: Final = frozenset({Outlook.SOON, Outlook.LATER})


def queued(
    now_s: float,
    endpoint: Endpoint,
    load: Load,
    workers: Sequence[Worker],
    offers: Sequence[Candidate],
) -> list[Decision]:
    """What to do about a fleet now."""
    kept = [worker for worker in workers if worker.state.outlook is not Outlook.NONE]
    awake = [worker for worker in kept if worker.state.outlook is not Outlook.ASLEEP]
    coming = [worker for worker in kept if worker.state.outlook in _COMING]
    decisions = _grow(endpoint, load, kept, awake, coming, offers)
    if decisions:
        return decisions
    return _shrink(now_s, endpoint, load, kept, awake)


def _grow(
    endpoint: Endpoint,
    load: Load,
    kept: Sequence[Worker],
    awake: Sequence[Worker],
    coming: Sequence[Worker],
    offers: Sequence[Candidate],
) -> list[Decision]:
    """One more worker awake, or on disk, when there is a reason for it."""
    waiting = load.waiting
    late = waiting.requests > 0 and (not awake or waiting.oldest_s > endpoint.queue_delay_s)
    wanted_awake = 1 if endpoint.always_one and not awake else 0
    if (late and not coming) or wanted_awake:
        reason = (
            f"{waiting.requests} requests wait, the first for {waiting.oldest_s:.1f} s"
            if late
            else "one worker is to be awake always"
        )
        return _add_awake(endpoint, kept, offers, reason)
    if len(kept) < endpoint.workers_min:
        reason = f"{len(kept)} of at least {endpoint.workers_min} workers have the model"
        return _rent(endpoint, kept, offers, reason)
    return []


def _add_awake(
    endpoint: Endpoint, kept: Sequence[Worker], offers: Sequence[Candidate], reason: str
) -> list[Decision]:
    asleep = [worker for worker in kept if worker.state.outlook is Outlook.ASLEEP]
    if asleep:
        # One that drains is back at once; of those that sleep, the cheapest for what it does.
        best = min(asleep, key=lambda one: (one.state is State.STOPPED, _price_of_work(one)))
        return [Decision(kind=Kind.WAKE, worker=best.id, reason=reason)]
    return _rent(endpoint, kept, offers, reason)


def _rent(
    endpoint: Endpoint, kept: Sequence[Worker], offers: Sequence[Candidate], reason: str
) -> list[Decision]:
    if len(kept) >= endpoint.workers_max or not offers:
        return []
    shown: dict[str, list[float]] = {}
    for worker in kept:
        if worker.perf > 0:
            shown.setdefault(worker.kind, []).append(worker.perf)

    def price(offer: Candidate) -> float:
        perfs = shown.get(offer.kind)
        perf = sum(perfs) / len(perfs) if perfs else offer.estimate
        return (offer.gpu_price + offer.storage_price) / max(perf, 1e-9)

    best = min(offers, key=lambda offer: (not offer.holds_image, price(offer), offer.offer))
    return [Decision(kind=Kind.RENT, offer=best.offer, reason=reason)]


def _shrink(
    now_s: float,
    endpoint: Endpoint,
    load: Load,
    kept: Sequence[Worker],
    awake: Sequence[Worker],
) -> list[Decision]:
    """Put to sleep what has been idle, and give back what has slept for long."""
    decisions: list[Decision] = []
    idle = [
        worker
        for worker in awake
        if worker.state is State.READY
        and worker.requests == 0
        and worker.sessions == 0
        and now_s - max(worker.idle_since_s, worker.since_s) >= endpoint.idle_s
    ]
    left = len(awake)
    for worker in sorted(idle, key=_price_of_work, reverse=True):
        if left == 1 and _last_stays(now_s, endpoint, load):
            break
        left -= 1
        idle_s = now_s - max(worker.idle_since_s, worker.since_s)
        reason = f"it has had nothing to do for {idle_s:.0f} s"
        decisions.append(Decision(kind=Kind.SLEEP, worker=worker.id, reason=reason))
    surplus = len(kept) - endpoint.workers_min
    asleep = [
        worker
        for worker in kept
        if worker.state is State.STOPPED and now_s - worker.since_s >= GIVE_BACK_S
    ]
    for worker in sorted(asleep, key=_price_of_work, reverse=True)[: max(0, surplus)]:
        reason = f"it has slept for a day, and {len(kept)} workers are kept"
        decisions.append(Decision(kind=Kind.DESTROY, worker=worker.id, reason=reason))
    return decisions


def _last_stays(now_s: float, endpoint: Endpoint, load: Load) -> bool:
    if endpoint.always_one:
        return True
    wait_s = endpoint.idle_before_zero_s
    return wait_s is not None and now_s - load.last_s < wait_s


def _price_of_work(worker: Worker) -> float:
    return worker.price / worker.perf if worker.perf > 0 else float("inf")
