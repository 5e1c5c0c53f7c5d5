"""The policy `queue`: a worker is added when a request waits too long, dropped when long idle.

It needs no forecast. Requests are packed onto few workers by the router, so that the others fall
idle; one that has had no work for a while goes to sleep, and what sleeps beyond the endpoint's
minimum for a day is given back. A worker on its way counts, so that one delay adds one worker: one
that starts stands for both, and one that loads, which takes minutes, for another to rent alone.

Of the owner's targets it keeps `load_min`, with its headroom by `utilisation`, one worker after the
other. How much is on disk follows from what was ever late: `pool_factor` and `pool_load_min` count
for nothing, and neither does `utilisation` beyond that floor.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.limits import dismiss, make_room
from mercato.serverless.load import Load
from mercato.serverless.recruit import Candidate
from mercato.serverless.worker import Outlook, State, Worker

GIVE_BACK_S: Final = 24 * 3_600.0
"""A worker that has slept for so long, beyond the minimum, is given back."""

_AWAKE: Final = frozenset({Outlook.NOW, Outlook.SOON})


def queued(
    now_s: float,
    endpoint: Endpoint,
    load: Load,
    workers: Sequence[Worker],
    offers: Sequence[Candidate],
) -> list[Decision]:
    """What to do about a fleet now."""
    dismissed, staying = dismiss(endpoint, workers, lambda one: -_price_of_work(one))
    decisions = _grow(now_s, endpoint, load, staying, offers)
    return dismissed + (decisions or _shrink(now_s, endpoint, load, staying))


def _grow(
    now_s: float,
    endpoint: Endpoint,
    load: Load,
    workers: Sequence[Worker],
    offers: Sequence[Candidate],
) -> list[Decision]:
    """One more worker awake, or on disk, when there is a reason for it."""
    kept = [one for one in workers if one.state.outlook is not Outlook.NONE]
    reason = _awake_reason(endpoint, load, kept)
    asleep = [one for one in kept if one.state.outlook is Outlook.ASLEEP]
    if reason and asleep:
        # One that drains is back at once; of those that sleep, the cheapest for what it does.
        best = min(asleep, key=lambda one: (one.state is State.STOPPED, _price_of_work(one)))
        return [Decision(kind=Kind.WAKE, worker=best.id, reason=reason)]
    if len(kept) < endpoint.workers_min:
        reason = f"{len(kept)} of at least {endpoint.workers_min} workers have the model"
    elif any(one.state.outlook is Outlook.LATER for one in kept):
        reason = ""
    if reason and len(workers) >= endpoint.workers_max:
        return make_room(now_s, load, workers, offers)
    return _rent(kept, offers, reason) if reason and offers else []


def _awake_reason(endpoint: Endpoint, load: Load, kept: Sequence[Worker]) -> str:
    """Why one more worker is to be awake; empty when none is."""
    waiting = load.waiting
    awake = [one for one in kept if one.state.outlook in _AWAKE]
    starts = any(one.state.outlook is Outlook.SOON for one in awake)
    late = not awake or waiting.oldest_s > endpoint.queue_delay_s
    if waiting.requests and late and not starts:
        return f"{waiting.requests} requests wait, the first for {waiting.oldest_s:.1f} s"
    if endpoint.always_one and not awake:
        return "one worker is to be awake always"
    able, floor = _capacity(awake), endpoint.floor
    return f"{floor:.3g} units/s are to be awake always and {able:.3g} are" if able < floor else ""


def _rent(kept: Sequence[Worker], offers: Sequence[Candidate], reason: str) -> list[Decision]:
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
    now_s: float, endpoint: Endpoint, load: Load, workers: Sequence[Worker]
) -> list[Decision]:
    """Put to sleep what has been idle, and give back what has slept for long."""
    decisions: list[Decision] = []
    kept = [one for one in workers if one.state.outlook is not Outlook.NONE]
    awake = [one for one in kept if one.state.outlook in _AWAKE]
    idle = [
        worker
        for worker in awake
        if worker.state is State.READY
        and worker.requests == 0
        and worker.sessions == 0
        and now_s - max(worker.idle_since_s, worker.since_s) >= endpoint.idle_s
    ]
    stays = endpoint.last_stays(now_s - load.last_s)
    for worker in sorted(idle, key=_price_of_work, reverse=True):
        left = [one for one in awake if one is not worker]
        if (stays and not left) or _capacity(left) < endpoint.floor:
            continue
        awake = left
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


def _capacity(workers: Iterable[Worker]) -> float:
    """Units/s of these, as measured or as estimated before that."""
    return sum(one.perf if one.perf > 0 else one.estimate for one in workers)


def _price_of_work(worker: Worker) -> float:
    return worker.price / worker.perf if worker.perf > 0 else float("inf")
