"""The default policy: capacity where late requests would cost more than the capacity.

Awake is what the rule says that would have served this endpoint's own past best (hindsight.py),
more while requests wait, and what a surge asks at once. On disk is what the best rule for pools
says (pool.py), more while a shortage is worth it (shortage.py). Which worker: by price per
performance as measured.

The owner's numbers bound it: `workers_max` always, the floors of load and workers, and headroom:
`utilisation` below the client's default asks for that much more capacity awake.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from mercato.market.money import NanoUsd, NanoUsdPerHour, dollars
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.fleet import HOUR_S, UNKNOWN_PERF, FleetNow, Usual, look
from mercato.serverless.hindsight import BIN_S, CLEAR_FROM_S, START_S, Hindsight, Prices
from mercato.serverless.limits import dismiss, make_room
from mercato.serverless.load import Load
from mercato.serverless.pool import POOL_BIN_S, SOME, Pool
from mercato.serverless.recruit import Candidate, Kinds, choose, middle, size
from mercato.serverless.shortage import LOAD_S, Shortage, expected_work, to_rent
from mercato.serverless.worker import Outlook, State, Worker

LEARN_S: Final = 30.0
"""How often the kinds of hardware are looked at again."""
FETCH: Final = NanoUsd(75_000_000)
"""What fetching image and model costs, about ten gigabytes."""
KEEP_S: Final = 7_200.0
"""A worker rented in a shortage is kept for about this long; one too many for this long goes."""
DISK: Final = NanoUsdPerHour(20_000_000)
"""What a worker's disk costs when there is none to tell."""
FLEET_OVER_BEST: Final = 1.3
"""A fleet's price per performance, on demand, over that of the best offer: late requests are
weighed in bills of the cheapest possible fleet (Endpoint.late_weight). Renting by bid makes the
fleet cheaper, and does not make anybody wait more gladly."""
NEUTRAL_UTILISATION: Final = 0.9
"""The client's default, which leaves the headroom to the policy."""
STARTS_BEFORE: Final = 10
"""What a start is taken to take before any was seen counts as so many seen ones."""
STARTS_MAX: Final = 50
"""Of more than so many the oldest count less and less."""
CALM_WAIT_S: Final = 2.0
"""No worker is put to sleep while more than this many seconds of work wait."""
NO_SLEEP_S: Final = 60.0
NO_DESTROY_S: Final = 600.0
"""After this policy begins with an endpoint."""


class Bin(msgspec.Struct, kw_only=True):
    """What was seen since the shadows last lived."""

    since_s: float = -1.0
    quick: float = 0.0
    calm: float = 0.0
    wanted: float = 0.0
    need: float = 0.0
    ticks: int = 0
    in_time: int = 0
    """Requests that the workers awake would not have made late, had there been enough on disk."""
    requests: int = 0
    """The counter as the bin began."""

    def add(self, load: Load, wanted: float) -> None:
        """A tick."""
        self.quick = max(self.quick, load.quick)
        self.calm = max(self.calm, load.calm)
        self.wanted = max(self.wanted, wanted)
        self.need += load.need
        self.ticks += 1


class AutoMemory(msgspec.Struct, kw_only=True):
    """What the policy keeps from tick to tick. Plain data, stored with the endpoint."""

    began_s: float = -1.0
    learned_s: float = -1e18
    kinds: Kinds = msgspec.field(default_factory=Kinds)
    usual: Usual | None = None
    """An average worker, when there last was one."""
    starting: dict[int, float] = msgspec.field(default_factory=dict)
    """Workers that wake, and since when."""
    starts: int = STARTS_BEFORE
    """How many the mean below is of."""
    start_s: float = START_S
    """How long one takes."""
    hindsight: Hindsight = msgspec.field(default_factory=Hindsight)
    bin: Bin = msgspec.field(default_factory=Bin)
    pool: Pool = msgspec.field(default_factory=Pool)
    pool_bin: Bin = msgspec.field(default_factory=Bin)
    present: dict[int, float] = msgspec.field(default_factory=dict)
    """Workers that promised something when the last pool bin began, and their units/s."""
    destroyed: list[int] = msgspec.field(default_factory=list)
    """Those among them that this policy gave back."""
    surplus_since_s: float = -1.0
    """Since when there is a worker too many on disk; negative when there is none."""


class _Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one tick."""

    now_s: float
    endpoint: Endpoint
    load: Load
    workers: Sequence[Worker]
    """Without those that go because there are too many."""
    offers: Sequence[Candidate]
    memory: AutoMemory
    fleet: FleetNow
    prices: Prices
    rule: float
    """Units/s that the chosen rule wants awake."""

    @property
    def base(self) -> float:
        """Units/s awake that the workers on disk must be enough for."""
        return max(self.rule, self.endpoint.floor)

    @property
    def some(self) -> float:
        """More units/s than none, and less than any worker's."""
        return SOME * self.fleet.worker

    def perf(self, worker: Worker) -> float:
        """Units/s of one of the workers."""
        return self.fleet.perfs[worker.id]

    def price_of_work(self, worker: Worker) -> tuple[float, int]:
        """What a unit/s of it costs awake; ties by name."""
        return (worker.price / self.perf(worker), worker.id)


def auto(
    now_s: float,
    endpoint: Endpoint,
    load: Load,
    workers: Sequence[Worker],
    offers: Sequence[Candidate],
    memory: AutoMemory,
) -> list[Decision]:
    """What to do about a fleet now; arguments as in scale.decide."""
    if memory.began_s < 0:
        memory.began_s = now_s
    if now_s - memory.learned_s >= LEARN_S:
        memory.kinds.learn(workers)
        memory.learned_s = now_s
    before = memory.usual or Usual(worker=middle(offers, memory.kinds) or UNKNOWN_PERF)
    fleet = look(workers, memory.kinds, before)
    perfs = fleet.perfs
    dismissed, staying = dismiss(endpoint, workers, lambda one: -one.price / perfs[one.id])
    if len(staying) < len(workers):
        gone = {int(one.id) for one in workers} - {int(one.id) for one in staying}
        memory.destroyed = sorted(gone.union(memory.destroyed))
        workers, fleet = staying, look(staying, memory.kinds, before)
    if fleet.workers:
        memory.usual = fleet.usual
    load.slot_perf = fleet.slot_perf
    moment = _Moment(
        now_s=now_s,
        endpoint=endpoint,
        load=load,
        workers=workers,
        offers=offers,
        memory=memory,
        fleet=fleet,
        prices=_prices(endpoint, load, fleet, memory.start_s),
        rule=memory.hindsight.wanted((load.quick, load.calm), fleet.worker),
    )
    _pass_time(moment)
    wanted = _awake_wanted(moment)
    decisions = _wake(moment, wanted)
    calm = load.waiting.units <= CALM_WAIT_S * fleet.ready
    if not decisions and calm and now_s >= memory.began_s + NO_SLEEP_S:
        decisions = _sleep(moment, wanted)
    woken = {one.worker for one in decisions}
    resting = [one for one in workers if one.state is State.STOPPED and one.id not in woken]
    return dismissed + decisions + _keep(moment, _pool_wanted(moment), resting)


# What is wanted.


def _prices(endpoint: Endpoint, load: Load, fleet: FleetNow, start_s: float) -> Prices:
    units = load.units / load.requests if load.requests else 0.0
    disk = fleet.storage_price / fleet.workers if fleet.workers else float(DISK)
    return Prices(
        awake_s=fleet.awake_s,
        asleep_s=disk / HOUR_S,
        rent=FETCH + fleet.awake_s * fleet.worker * LOAD_S,
        late=endpoint.late_weight * units * fleet.on_demand_s / FLEET_OVER_BEST,
        worker=fleet.worker,
        aim_s=endpoint.wait_aim_s,
        request_s=units / fleet.slot_perf,
        start_s=start_s,
    )


def _awake_wanted(m: _Moment) -> float:
    """Units/s that must be reached by workers awake or starting."""
    endpoint, waiting = m.endpoint, m.load.waiting
    wanted = m.rule * max(1.0, NEUTRAL_UTILISATION / endpoint.utilisation)
    backlog = max(0.0, waiting.units - CLEAR_FROM_S * m.fleet.ready)
    wanted += backlog / m.memory.hindsight.rule.clear_s
    wanted = max(wanted, _surge(m), endpoint.floor)
    stays = m.fleet.awake > 0 and endpoint.last_stays(m.now_s - m.load.last_s)
    if endpoint.always_one or waiting.requests or stays:
        wanted = max(wanted, m.some)
    return wanted


def _surge(m: _Moment) -> float:
    """Units/s that a surge asks at once."""
    return 0.0 if m.memory.hindsight.rule.patient else m.load.surge


def _pool_wanted(m: _Moment) -> float:
    """Units/s that must be reached by all workers."""
    endpoint, load = m.endpoint, m.load
    wanted = max(m.memory.pool.wanted(m.base, m.fleet.worker), endpoint.floor)
    wanted = max(wanted, endpoint.pool_factor * m.base, endpoint.pool_load_min)
    if endpoint.always_one or load.waiting.requests:
        wanted = max(wanted, m.some)
    if load.waiting.requests and load.units > 0:
        cost = m.prices.rent + m.prices.asleep_s * KEEP_S
        aim_s, late = m.prices.aim_s, m.prices.late
        short = to_rent(_shortage(m), aim_s=aim_s, late=late, worker_cost=cost)
        if short > m.fleet.pool:
            # Half a worker less, as in Pool.wanted.
            wanted = max(wanted, short - 0.5 * m.fleet.worker)
    return wanted


def _shortage(m: _Moment) -> Shortage:
    need = m.load.steady()
    return Shortage(
        need=need,
        backlog=m.load.waiting.units,
        pool=m.fleet.pool,
        loading=m.fleet.loading,
        loaded_work=sum(
            expected_work(m.perf(worker), m.now_s - worker.created_s)
            for worker in m.workers
            if worker.state.outlook is Outlook.LATER
        ),
        lasts_s=m.memory.pool.levels.lasts_s(m.fleet.pool),
        requests_s=need * m.load.requests / m.load.units,
        worker=m.fleet.worker,
    )


# How the past is kept.


def _pass_time(m: _Moment) -> None:
    """Let the shadows live through what was seen."""
    memory, requests = m.memory, m.load.requests
    short, long = memory.bin, memory.pool_bin
    if short.since_s < 0 or m.now_s - short.since_s > 2 * POOL_BIN_S:
        # Nobody looked for a while: what was asked then is not known, nor when who woke was awake.
        memory.starting = {}
        memory.bin = Bin(since_s=m.now_s, requests=requests)
        memory.pool_bin = Bin(since_s=m.now_s, requests=requests)
        return
    _time_starts(m)
    short.add(m.load, m.rule)
    long.add(m.load, m.base)
    if m.now_s - short.since_s >= BIN_S:
        needs = (short.quick, short.calm)
        came = requests - short.requests
        need = short.need / short.ticks
        long.in_time += memory.hindsight.live(needs, need, came, m.prices)
        memory.bin = Bin(since_s=m.now_s, requests=requests)
    if m.now_s - long.since_s >= POOL_BIN_S:
        wanted = max(long.wanted, m.some if requests > long.requests else 0.0)
        need = long.need / long.ticks
        memory.pool.live(wanted, need, long.in_time, _lost(m), m.prices)
        memory.pool_bin = Bin(since_s=m.now_s, requests=requests)


def _time_starts(m: _Moment) -> None:
    """See how long those took to wake that have woken."""
    memory = m.memory
    before, memory.starting = memory.starting, {}
    for worker in m.workers:
        name = int(worker.id)
        if worker.state is State.STARTING:
            memory.starting[name] = before.get(name, worker.since_s)
        elif worker.state is State.READY and name in before:
            memory.starts = min(memory.starts + 1, STARTS_MAX)
            took_s = max(0.0, worker.since_s - before[name])
            memory.start_s += (took_s - memory.start_s) / memory.starts


def _lost(m: _Moment) -> float:
    """Units/s of workers that have gone since the last pool bin, without this policy's doing."""
    memory = m.memory
    present = {
        int(worker.id): m.perf(worker)
        for worker in m.workers
        if worker.state.outlook is not Outlook.NONE
    }
    lost = sum(
        perf
        for name, perf in memory.present.items()
        if name not in present and name not in memory.destroyed
    )
    memory.present, memory.destroyed = present, []
    return lost


# Which worker.


def _wake(m: _Moment, wanted: float) -> list[Decision]:
    """Wake what is lacking: those that drain, then the best price per performance.

    The last is the cheapest that covers what is still lacking.
    """
    short = wanted - m.fleet.awake
    if short <= 0:
        return []
    reason = _awake_reason(m, wanted)
    decisions: list[Decision] = []
    for state in (State.DRAINING, State.STOPPED):
        left = sorted((one for one in m.workers if one.state is state), key=m.price_of_work)
        while left and short > 0:
            best = left[0]
            if m.perf(best) >= short:
                enough = (one for one in left if m.perf(one) >= short)
                best = min(enough, key=lambda one: (one.price, one.id))
            left.remove(best)
            short -= m.perf(best)
            decisions.append(Decision(kind=Kind.WAKE, worker=best.id, reason=reason))
    return decisions


def _sleep(m: _Moment, wanted: float) -> list[Decision]:
    """Put to sleep what is not wanted: the worst price per performance first."""
    spare = m.fleet.awake - wanted
    ready = [one for one in m.workers if one.state is State.READY and not one.sessions]
    if not ready or spare < min(m.perf(one) for one in ready):
        return []
    reason = _awake_reason(m, wanted)
    decisions: list[Decision] = []
    for worker in sorted(ready, key=m.price_of_work, reverse=True):
        if m.perf(worker) <= spare:
            spare -= m.perf(worker)
            decisions.append(Decision(kind=Kind.SLEEP, worker=worker.id, reason=reason))
    return decisions


def _awake_reason(m: _Moment, wanted: float) -> str:
    waiting = m.load.waiting
    surge = f"; a surge of {_surge(m):.0f} units/s" if _surge(m) > 0 else ""
    waits = (
        f"; {waiting.requests} requests wait, the first for {waiting.oldest_s:.1f} s"
        if waiting.requests
        else ""
    )
    return (
        f"{max(wanted, 0.0):.0f} units/s are wanted awake and {m.fleet.awake:.0f} are "
        f"({m.memory.hindsight.told()}{surge}{waits})"
    )


def _keep(m: _Moment, wanted: float, resting: Sequence[Worker]) -> list[Decision]:
    """Rent what is lacking on disk, or give back what has long been too much."""
    memory, fleet = m.memory, m.fleet
    lacking = m.endpoint.workers_min - fleet.workers
    if fleet.pool < wanted or lacking > 0:
        memory.surplus_since_s = -1.0
        return _rent(m, wanted, lacking)
    least = min((m.perf(one) for one in m.workers), default=float("inf"))
    if lacking == 0 or least > _spare(m, wanted):
        memory.surplus_since_s = -1.0
        return []
    if memory.surplus_since_s < 0:
        memory.surplus_since_s = m.now_s
    if m.now_s < max(memory.surplus_since_s + KEEP_S, memory.began_s + NO_DESTROY_S):
        return []
    return _give_back(m, wanted, resting)


def _rent(m: _Moment, wanted: float, lacking: int) -> list[Decision]:
    room = m.endpoint.workers_max - len(m.workers)
    if room <= 0:
        return make_room(m.now_s, m.load, m.workers, m.offers)
    if not m.offers:
        return []
    fleet = m.fleet
    short = max(wanted - fleet.pool, (lacking - 0.5) * fleet.worker)
    by_bid = _room_by_bid(m, fleet.pool + short)
    never_sleeps = m.endpoint.always_one and fleet.pool < max(m.endpoint.floor, m.some)
    chosen = choose(
        short,
        max(wanted, fleet.pool),
        [one for one in m.offers if one.bid is None or by_bid > 0],
        m.memory.kinds,
        1.0 if never_sleeps else m.memory.pool.levels.share(fleet.pool),
        fleet.worker,
    )
    reason = _rent_reason(m, wanted, lacking)
    decisions: list[Decision] = []
    for one in chosen[:room]:
        if one.bid is not None:
            if by_bid <= 0:
                break  # what is still lacking is rented on demand at the next tick
            by_bid -= size(one, m.memory.kinds, fleet.worker)
        told = (
            reason if one.bid is None else f"{reason}; by bid, for ${dollars(one.bid):.6g} an hour"
        )
        decisions.append(Decision(kind=Kind.RENT, offer=one.offer, bid=one.bid, reason=told))
    return decisions


def _room_by_bid(m: _Moment, fleet: float) -> float:
    """Units/s that may yet be rented by bid, for a fleet of so many.

    Who was outbid is not counted: while it is away, another bid may be won elsewhere for less than
    an on-demand worker costs.
    """
    held = sum(
        m.perf(one)
        for one in m.workers
        if one.interruptible and one.state.outlook is not Outlook.NONE
    )
    return m.endpoint.interruptible_share * fleet - held


def _rent_reason(m: _Moment, wanted: float, lacking: int) -> str:
    if lacking > 0:
        least = m.endpoint.workers_min
        many = "1 worker is" if least == 1 else f"{least} workers are"
        return f"{many} wanted on disk at least and {m.fleet.workers} are there"
    if wanted <= m.some:
        return "1 worker is wanted to begin with"
    floor = m.endpoint.floor
    always = f"; {floor:.3g} units/s are to be awake always" if floor > m.rule else ""
    return f"{_told(m, wanted)} ({m.memory.pool.told()}{always})"


def _told(m: _Moment, wanted: float) -> str:
    much = "1 worker is" if 0 < wanted <= m.some else f"{wanted:.3g} units/s are"
    return f"{much} wanted on disk and {m.fleet.pool:.3g} units/s are there"


def _spare(m: _Moment, wanted: float) -> float:
    """Units/s that could be given back and would not be rented again at once."""
    return m.fleet.pool - (wanted + 0.5 * m.fleet.worker if wanted > 0 else 0.0)


def _give_back(m: _Moment, wanted: float, resting: Sequence[Worker]) -> list[Decision]:
    """Give back the worst of those that sleep and are not wanted."""
    spare = _spare(m, wanted)
    idle = [one for one in resting if m.perf(one) <= spare]
    if not idle:
        return []
    worst = max(idle, key=m.price_of_work)
    m.memory.destroyed.append(int(worst.id))
    reason = f"{_told(m, wanted)}, for {KEEP_S / HOUR_S:.0f} h ({m.memory.pool.told()})"
    return [Decision(kind=Kind.DESTROY, worker=worst.id, reason=reason)]
