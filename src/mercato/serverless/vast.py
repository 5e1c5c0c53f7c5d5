"""The policy `vast`: the tick that the engine behind this API publishes in its own log.

What is documented is kept to the digit: performance discounted by reliability, five moving
averages of load, capacity targets for 30 s and for an hour, and four scores in units of an average
worker with their thresholds. What the log does not show is our reading, and marked so: how the
averages become a prediction, where `pool_factor` enters, how many workers a tick may move, and
that nothing is given back that was wanted in the last ten minutes.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from mercato.market.money import NANO
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.fleet import UNKNOWN_PERF
from mercato.serverless.limits import dismiss, make_room
from mercato.serverless.load import Load
from mercato.serverless.peak import Peak
from mercato.serverless.recruit import Candidate
from mercato.serverless.worker import Outlook, State, Worker

WINDOWS_S: Final = (15.0, 60.0, 1_440.0, 3_600.0, 86_400.0)
"""Of the moving averages; the log shows them filling: 14.93, 58.21, 1443, 3607, 57708 s."""
START_ABOVE: Final = 0.2
STOP_ABOVE: Final = 0.8
CREATE_ABOVE: Final = 0.5
DELETE_ABOVE: Final = 1.0
SETUP_SHARE_H: Final = 48.0
"""What starting a worker cost is spread over so many hours."""
RELIABILITY_POWER: Final = 4
RUN_VALUE_POWER: Final = 0.9
STOP_MEAN_S: Final = 60.0
CREATE_MEAN_S: Final = 30.0
DELETE_MEAN_S: Final = 600.0
LEAST_PERF: Final = 1e-6
"""Units/s below which no average worker is reckoned, be it ever so unreliable."""
URGENCY_MAX: Final = 2.0
"""Our reading: a queue longer than its aim raises the prediction up to threefold."""


class VastMemory(msgspec.Struct, kw_only=True):
    """What the policy keeps from tick to tick. Plain data, stored with the endpoint."""

    now_s: float = -1.0
    units: float = 0.0
    averages: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(WINDOWS_S))
    filled_s: float = 0.0
    """How long the averages have been filling."""
    stop_mean: float = 0.0
    create_mean: float = 0.0
    delete_mean: float = 0.0
    peak: Peak = msgspec.field(default_factory=lambda: Peak(int(DELETE_MEAN_S)))
    """Of the target for 30 s, by seconds: what was wanted so lately is not given back."""
    perf_mean: float = 0.0
    """An average worker, rolling."""


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """The four scores, in average workers."""

    start: float
    create: float

    @property
    def stop(self) -> float:
        """Workers awake too many."""
        return -self.start

    @property
    def delete(self) -> float:
        """Workers on disk too many."""
        return -self.create


def discounted(measured: float, reliability: float) -> float:
    """Units/s to reckon with: what was measured times reliability to the fourth."""
    return float(measured * reliability**RELIABILITY_POWER)


def scores(
    *,
    target_30s: float,
    target_1h: float,
    ready: float,
    total: float,
    worker_awake: float,
    worker_mean: float,
) -> Scores:
    """Start and create scores; all arguments in units/s, the last two of an average worker."""
    return Scores(
        start=(target_30s - ready) / worker_awake,
        create=(target_1h - total) / worker_mean,
    )


def run_value(
    *, perf: float, measured: float, idle_h: float, per_hour: float, setup_cost: float
) -> float:
    """What a worker is worth while it runs, units/s for each dollar an hour; the least goes first.

    `per_hour` and `setup_cost` in dollars; `idle_h`: hours without work, which halve its worth.
    """
    idle = 1 - idle_h / (idle_h + 1)
    worth: float = (perf / measured) ** RUN_VALUE_POWER * idle * measured
    return worth / (per_hour + setup_cost / SETUP_SHARE_H)


def vast(
    now_s: float,
    endpoint: Endpoint,
    load: Load,
    workers: Sequence[Worker],
    offers: Sequence[Candidate],
    memory: VastMemory,
) -> list[Decision]:
    """What to do about a fleet now; arguments as in scale.decide."""
    passed_s = max(0.0, now_s - memory.now_s) if memory.now_s >= 0 else 1.0
    _average(load, passed_s, memory)
    memory.now_s = now_s
    dismissed, workers = dismiss(endpoint, workers, lambda one: _value(one, now_s))
    kept = [one for one in workers if one.state.outlook is not Outlook.NONE]
    soon = [one for one in kept if one.state.outlook in {Outlook.NOW, Outlook.SOON}]
    usual = _usual(kept, offers)
    ready, total = _capacity(soon, usual), _capacity(kept, usual)
    worker = _average_worker(kept, total, usual)
    memory.perf_mean = _mean(memory.perf_mean or worker, worker, passed_s, DELETE_MEAN_S)
    target_30s, target_1h = _targets(endpoint, load, memory)
    found = scores(
        target_30s=target_30s,
        target_1h=target_1h,
        ready=ready,
        total=total,
        worker_awake=_average_worker(soon, ready, worker),
        worker_mean=memory.perf_mean,
    )
    memory.stop_mean = _mean(memory.stop_mean, found.stop, passed_s, STOP_MEAN_S)
    memory.create_mean = _mean(memory.create_mean, found.create, passed_s, CREATE_MEAN_S)
    lately = (memory.peak.push(int(now_s), target_30s) - total) / memory.perf_mean
    spare = min(found.delete, -lately)
    memory.delete_mean = _mean(memory.delete_mean, spare, passed_s, DELETE_MEAN_S)
    stop = min(found.stop, memory.stop_mean)
    asked = endpoint.always_one or load.waiting.requests > 0
    stays = asked or endpoint.last_stays(now_s - load.last_s)
    decisions = _start(now_s, asked, found.start, kept, soon)
    decisions = decisions or _stop(now_s, stays, stop, soon)
    busy = {one.worker for one in decisions}
    free = [one for one in kept if one.id not in busy]
    create, delete = min(found.create, memory.create_mean), min(spare, memory.delete_mean)
    lacking = max(endpoint.workers_min, int(asked)) - len(kept)
    if create <= CREATE_ABOVE and lacking <= 0:
        decisions += _delete(now_s, delete, lacking, free)
    elif (room := endpoint.workers_max - len(workers)) > 0:
        decisions += _create(create, lacking, room, offers)
    else:
        decisions += make_room(now_s, load, workers, offers)
    return dismissed + decisions


def _average(load: Load, passed_s: float, memory: VastMemory) -> None:
    rate = (load.units - memory.units) / passed_s if passed_s > 0 else 0.0
    memory.units = load.units
    memory.filled_s += passed_s
    for at, window_s in enumerate(WINDOWS_S):
        span_s = min(window_s, memory.filled_s)
        memory.averages[at] = _mean(memory.averages[at], rate, passed_s, span_s)


def _mean(before: float, value: float, passed_s: float, window_s: float) -> float:
    return before + (value - before) * min(1.0, passed_s / window_s)


def _targets(endpoint: Endpoint, load: Load, memory: VastMemory) -> tuple[float, float]:
    """Units/s wanted awake in 30 s, and in all in an hour."""
    quarter_minute, minute, half_hour, hour, _ = memory.averages
    late = load.waiting.oldest_s / endpoint.wait_aim_s - 1 if endpoint.wait_aim_s > 0 else 0.0
    urgency = 1 + min(URGENCY_MAX, max(0.0, late))
    soon = max(max(quarter_minute, minute, half_hour) * urgency, endpoint.load_min)
    later = max(half_hour, hour, endpoint.load_min)
    target_30s = soon / endpoint.utilisation
    planned = later / endpoint.utilisation * endpoint.pool_factor
    return target_30s, max(target_30s, planned, endpoint.pool_load_min)


def _usual(workers: Sequence[Worker], offers: Sequence[Candidate]) -> float:
    """Units/s of a worker that nothing is known of yet: as the others, else as the best offer."""
    known = [_perf(one) for one in workers if _measured(one) > 0]
    mean = sum(known) / len(known) if known else 0.0
    return mean or max((one.estimate for one in offers), default=0.0) or UNKNOWN_PERF


def _capacity(workers: Iterable[Worker], usual: float) -> float:
    return sum(_perf(one) if _measured(one) > 0 else usual for one in workers)


def _average_worker(workers: Sequence[Worker], capacity: float, usual: float) -> float:
    """Units/s of an average one of these; never 0, which scores are divided by."""
    return max(LEAST_PERF, capacity / len(workers) if capacity > 0 else usual)


def _measured(worker: Worker) -> float:
    return worker.benchmark or worker.estimate


def _perf(worker: Worker) -> float:
    return discounted(_measured(worker), worker.reliability)


def _value(worker: Worker, now_s: float) -> float:
    measured = _measured(worker)
    if measured <= 0:
        return 0.0
    idle_s = now_s - worker.idle_since_s if not worker.requests and worker.idle_since_s else 0.0
    return run_value(
        perf=_perf(worker),
        measured=measured,
        idle_h=max(0.0, idle_s) / 3_600,
        per_hour=max(1, worker.price) / NANO,
        setup_cost=0.0,
    )


def _start(
    now_s: float,
    asked: bool,  # noqa: FBT001 - one of the facts
    start: float,
    kept: Sequence[Worker],
    soon: Sequence[Worker],
) -> list[Decision]:
    """Start as many as the score is worth; one at least while it is `asked` for."""
    if start <= START_ABOVE and (soon or not asked):
        return []
    asleep = [one for one in kept if one.state.outlook is Outlook.ASLEEP]
    asleep.sort(key=lambda one: (one.state is State.STOPPED, -_value(one, now_s), one.id))
    reason = f"start score {start:.3f} above {START_ABOVE}"
    return [
        Decision(kind=Kind.WAKE, worker=one.id, reason=reason)
        for one in asleep[: max(1, math.floor(start))]
    ]


def _stop(
    now_s: float,
    stays: bool,  # noqa: FBT001 - one of the facts
    stop: float,
    soon: Sequence[Worker],
) -> list[Decision]:
    """Stop one when the score is worth it; the last one not while it `stays`."""
    ready = [one for one in soon if one.state is State.READY and not one.sessions]
    if stop <= STOP_ABOVE or not ready or len(soon) <= int(stays):
        return []
    worst = min(ready, key=lambda one: (_value(one, now_s), one.id))
    reason = f"stop score {stop:.3f} above {STOP_ABOVE}"
    return [Decision(kind=Kind.SLEEP, worker=worst.id, reason=reason)]


def _create(create: float, lacking: int, room: int, offers: Sequence[Candidate]) -> list[Decision]:
    """Rent as many as the score is worth, or are `lacking` to the minimum; `room` at most."""
    best = sorted(offers, key=lambda one: (-_offer_value(one), one.offer))
    reason = (
        f"{lacking} workers are lacking to the minimum"
        if lacking > 0
        else f"create score {create:.3f} above {CREATE_ABOVE}"
    )
    number = min(room, max(1, lacking, math.floor(create)))
    return [Decision(kind=Kind.RENT, offer=one.offer, reason=reason) for one in best[:number]]


def _delete(now_s: float, delete: float, lacking: int, free: Sequence[Worker]) -> list[Decision]:
    """Give one back when the score is worth it and there are more than the minimum."""
    asleep = [one for one in free if one.state is State.STOPPED]
    if not asleep or delete <= DELETE_ABOVE or lacking >= 0:
        return []
    worst = min(asleep, key=lambda one: (_value(one, now_s), one.id))
    reason = f"delete score {delete:.3f} above {DELETE_ABOVE}"
    return [Decision(kind=Kind.DESTROY, worker=worst.id, reason=reason)]


def _offer_value(offer: Candidate) -> float:
    return discounted(offer.estimate, offer.reliability) / max(1, offer.gpu_price)
