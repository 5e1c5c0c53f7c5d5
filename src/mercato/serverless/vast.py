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
    passed_s = now_s - memory.now_s if memory.now_s >= 0 else 1.0
    _average(load, passed_s, memory)
    memory.now_s = now_s
    kept = [one for one in workers if one.state.outlook is not Outlook.NONE]
    soon = [one for one in kept if one.state.outlook in {Outlook.NOW, Outlook.SOON}]
    ready, total = _capacity(soon), _capacity(kept)
    worker = total / len(kept) if kept else max((one.estimate for one in offers), default=1.0)
    memory.perf_mean = _mean(memory.perf_mean or worker, worker, passed_s, DELETE_MEAN_S)
    target_30s, target_1h = _targets(endpoint, load, memory)
    found = scores(
        target_30s=target_30s,
        target_1h=target_1h,
        ready=ready,
        total=total,
        worker_awake=ready / len(soon) if soon and ready else worker,
        worker_mean=memory.perf_mean,
    )
    memory.stop_mean = _mean(memory.stop_mean, found.stop, passed_s, STOP_MEAN_S)
    memory.create_mean = _mean(memory.create_mean, found.create, passed_s, CREATE_MEAN_S)
    lately = (memory.peak.push(int(now_s), target_30s) - total) / memory.perf_mean
    spare = min(found.delete, -lately)
    memory.delete_mean = _mean(memory.delete_mean, spare, passed_s, DELETE_MEAN_S)
    stop = min(found.stop, memory.stop_mean)
    asked = endpoint.always_one or load.waiting.requests > 0
    decisions = _awake(now_s, asked, found.start, stop, kept, soon)
    busy = {one.worker for one in decisions}
    free = [one for one in kept if one.id not in busy]
    return decisions + _disk(
        now_s,
        min(found.create, memory.create_mean),
        min(spare, memory.delete_mean),
        max(endpoint.workers_min, int(asked)) - len(kept),
        endpoint.workers_max - len(workers),
        free,
        offers,
    )


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


def _capacity(workers: Iterable[Worker]) -> float:
    return sum(_perf(one) for one in workers)


def _perf(worker: Worker) -> float:
    return discounted(worker.benchmark or worker.estimate, worker.reliability)


def _value(worker: Worker, now_s: float) -> float:
    measured = worker.benchmark or worker.estimate
    if measured <= 0:
        return 0.0
    idle_s = now_s - worker.idle_since_s if not worker.requests and worker.idle_since_s else 0.0
    return run_value(
        perf=_perf(worker),
        measured=measured,
        idle_h=max(0.0, idle_s) / 3_600,
        per_hour=worker.price / NANO,
        setup_cost=0.0,
    )


def _awake(
    now_s: float,
    asked: bool,  # noqa: FBT001 - one of the facts
    start: float,
    stop: float,
    kept: Sequence[Worker],
    soon: Sequence[Worker],
) -> list[Decision]:
    """Start as many as the score is worth, or stop one; while it is `asked` for, one is awake."""
    if start > START_ABOVE or (asked and not soon):
        asleep = [one for one in kept if one.state.outlook is Outlook.ASLEEP]
        asleep.sort(key=lambda one: (one.state is State.STOPPED, -_value(one, now_s), one.id))
        reason = f"start score {start:.3f} above {START_ABOVE}"
        return [
            Decision(kind=Kind.WAKE, worker=one.id, reason=reason)
            for one in asleep[: max(1, math.floor(start))]
        ]
    ready = [one for one in soon if one.state is State.READY and not one.sessions]
    floor = 1 if asked else 0
    if stop > STOP_ABOVE and ready and len(soon) > floor:
        worst = min(ready, key=lambda one: (_value(one, now_s), one.id))
        reason = f"stop score {stop:.3f} above {STOP_ABOVE}"
        return [Decision(kind=Kind.SLEEP, worker=worst.id, reason=reason)]
    return []


def _disk(
    now_s: float,
    create: float,
    delete: float,
    lacking: int,
    room: int,
    free: Sequence[Worker],
    offers: Sequence[Candidate],
) -> list[Decision]:
    """Create or delete; `lacking` workers to the minimum, `room` for more to the maximum."""
    if (create > CREATE_ABOVE or lacking > 0) and room > 0:
        best = sorted(offers, key=lambda one: (-_offer_value(one), one.offer))
        reason = (
            f"{lacking} workers are lacking to the minimum"
            if lacking > 0
            else f"create score {create:.3f} above {CREATE_ABOVE}"
        )
        number = min(room, max(1, lacking, math.floor(create)))
        return [Decision(kind=Kind.RENT, offer=one.offer, reason=reason) for one in best[:number]]
    asleep = [one for one in free if one.state is State.STOPPED]
    if asleep and (room < 0 or (delete > DELETE_ABOVE and lacking < 0)):
        worst = min(asleep, key=lambda one: (_value(one, now_s), one.id))
        reason = f"delete score {delete:.3f} above {DELETE_ABOVE}"
        if room < 0:
            reason = f"there are {-room} workers more than may be"
        return [Decision(kind=Kind.DESTROY, worker=worst.id, reason=reason)]
    return []


def _offer_value(offer: Candidate) -> float:
    return discounted(offer.estimate, offer.reliability) / max(1, offer.gpu_price)
