"""Scaling one endpoint: once a second its policy decides, and what it decides is carried out.

A worker that is to sleep, be updated or given back first finishes what it has. After this engine
has taken an endpoint over, it holds back what it might regret until it has heard the workers.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

import msgspec
import structlog

from mercato.engine.care import Case, Remedy, look_after
from mercato.engine.clock import Clock
from mercato.engine.fleet import Fleet
from mercato.engine.journal import Grain, Journal, Once
from mercato.engine.market import UNREACHABLE, Market
from mercato.engine.post import Post
from mercato.engine.refusals import Refusals
from mercato.engine.sale import Sale
from mercato.market.ids import ContractId
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, EndpointState, Group, GroupId
from mercato.serverless.load import Load
from mercato.serverless.recruit import Candidate
from mercato.serverless.scale import Memory, decide, renew
from mercato.serverless.worker import State, Worker
from mercato.wire.fleet import DONE, Outcome

NO_SLEEP_S: Final = 60.0
NO_DESTROY_S: Final = 600.0
NO_RENT_S: Final = 30.0
"""Above the endpoint's minimum; all three after a takeover."""
DRAIN_MAX_S: Final = 3_600.0
"""A request may keep a worker from its end for this long."""
RENTS_MAX: Final = 6
"""Tries in one second."""
UNSEEN_S: Final = 30.0
"""A worker that was rented this long ago and is not told of is gone already."""
UPDATE_HALT_S: Final = 3_600.0
"""A version that a worker made anew could not load is given to no other that serves for so long."""
GROUP_PAUSE_S: Final = 30.0
GROUP_PAUSE_MAX_S: Final = 60.0
"""A group rents nothing for this long after its account or endpoint was refused."""
WORKER_PAUSE_S: Final = 1.0
WORKER_PAUSE_MAX_S: Final = 60.0
"""What the market would not do with a worker is tried again after this long; it doubles."""
DECISIONS_KEPT: Final = 500

_GENTLE: Final = frozenset({Kind.SLEEP, Kind.UPDATE, Kind.DESTROY})
_SERVING: Final = frozenset({State.READY, State.DRAINING})
_AWAKE: Final = frozenset(
    {
        *(State.READY, State.STARTING, State.LOADING),
        *(State.UPDATING, State.REBOOTING, State.ERROR),
    }
)
_log = structlog.get_logger("mercato.engine")

Decide = Callable[
    [float, Endpoint, Load, Sequence[Worker], Sequence[Candidate], Memory], list[Decision]
]
"""What says how large a fleet should be; `serverless.scale.decide` is the one."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and what came of it, for whoever asks why."""

    at_s: float
    decision: Decision
    outcome: str


class _Ending(NamedTuple):
    """What is done with a worker once it has nothing left."""

    decision: Decision
    since_s: float
    behind: bool
    """Whether its group ran something newer when this was decided."""


class Scaling:
    """Keeps the fleet of one endpoint as large as its policy says."""

    def __init__(
        self,
        fleet: Fleet,
        market: Market,
        journal: Journal,
        clock: Clock,
        *,
        taken_over: bool,
        policy: Decide = decide,
    ) -> None:
        """`taken_over` when there were workers before this engine came."""
        self._decide = policy
        self.memory = Memory()
        self.fence = 0
        self.done: deque[Done] = deque(maxlen=DECISIONS_KEPT)
        self._fleet = fleet
        self._market = market
        self._journal = journal
        self._clock = clock
        self._since_s = clock.now_s() if taken_over else float("-inf")
        self._ending: dict[ContractId, _Ending] = {}
        self._halted: dict[GroupId, tuple[int, float]] = {}
        """Versions that did not load, and until when nobody who serves is made anew as one."""
        self._refusals = Refusals()
        self._told = Once()
        self._sale = Sale(market, partial(self._contained, passes=()), self._tell_of_sale)
        self._known: set[ContractId] = set()
        self._unseen: deque[float] = deque()
        """When those were rented of which the market has not told yet."""

    async def step(self, load: Load) -> None:
        """Decide and do, once. Raises OSError when the market cannot be reached."""
        now_s = self._clock.now_s()
        self._see_rented(now_s)
        self._forget(now_s)
        away: OSError | None = None
        parts = (
            partial(self._care, now_s),
            partial(self._follow, now_s, load),
            partial(self._finish_ending, now_s),
        )
        for part in parts:
            try:
                with self._contained("scaling"):
                    await part()
            except UNREACHABLE as error:
                away = error
        if away is not None:
            raise away

    async def _follow(self, now_s: float, load: Load) -> None:
        """Begin what the policy wants now, or what the endpoint's state asks for."""
        parameters = self._fleet.definition.parameters
        if parameters.state is EndpointState.ACTIVE:
            groups = [group.id for group in self._fleet.definition.groups]
            offers = [
                self._in_units(offer)
                for offer in await self._sale.offers(groups, now_s)
                if not self._refusals.waits((Kind.RENT, offer.group), now_s)
            ]
            workers = [post.worker for post in self._fleet.posts.values()]
            wanted: list[Decision] = []
            with self._contained("the policy"):
                wanted = self._decide(now_s, parameters, load, workers, offers, self.memory)
            wanted += renew(self._to_renew(now_s), workers)
            await self._begin(wanted, offers, now_s)
        elif parameters.state is EndpointState.STOPPED:
            self._put_all_to_sleep()

    def _put_all_to_sleep(self) -> None:
        for post in self._fleet.posts.values():
            name, ending = post.worker.id, self._ending.get(post.worker.id)
            if ending is not None and ending.decision.kind is Kind.UPDATE:
                del self._ending[name]  # it would begin anew, and serve nobody
            if (post.worker.state in _AWAKE or post.draining) and post.ordered is not State.STOPPED:
                reason = "its endpoint is stopped"
                self._end(Decision(kind=Kind.SLEEP, worker=name, reason=reason))

    def _to_renew(self, now_s: float) -> list[Group]:
        """The groups whose workers may be made anew now."""
        return [
            group
            for group in self._fleet.definition.groups
            if self._halted.get(group.id, (-1, 0.0))[0] != group.version
            or self._halted[group.id][1] <= now_s
        ]

    @contextmanager
    def _contained(
        self, part: str, *, passes: tuple[type[Exception], ...] = UNREACHABLE
    ) -> Iterator[None]:
        """Keep trouble in one part of a step from the others, and tell of it once.

        What `passes` is raised all the same: while there is no market, there is nothing to do.
        """
        try:
            yield
        except passes:
            raise
        except Exception as trouble:  # noqa: BLE001 - one part's trouble is not the others'
            why = f"{type(trouble).__name__}: {trouble}"
            if isinstance(trouble, UNREACHABLE):
                why = "the market cannot be reached"  # where it is, is nothing for owners
            text = f"{part} failed: {why}"
            if self._told.is_news(part, text):
                _log.exception("scaling failed", endpoint=self._fleet.definition.id, part=part)
                self._journal.write(Grain.EVENTS, self._clock.now_s(), text)
        else:
            self._told.is_over(part)

    def _forget(self, now_s: float) -> None:
        """Forget what is of no use any more."""
        self._refusals.forget(now_s)
        groups = {group.id for group in self._fleet.definition.groups}
        self._sale.forget(groups, now_s)
        for gone in self._halted.keys() - groups:
            del self._halted[gone]

    # What the policy wants.

    async def _begin(self, wanted: list[Decision], offers: list[Candidate], now_s: float) -> None:
        rents = 0
        for decision in wanted:
            if self._held_back(decision, now_s):
                continue
            with self._contained(f"{decision.kind} {decision.worker or decision.offer}"):
                if decision.kind is Kind.RENT:
                    rents += 1
                    if rents <= RENTS_MAX:
                        await self._rent(decision, offers, now_s)
                elif decision.kind is Kind.WAKE:
                    await self._wake(decision)
                else:
                    self._end(decision)

    def _held_back(self, decision: Decision, now_s: float) -> bool:
        age_s = now_s - self._since_s
        match decision.kind:
            case Kind.SLEEP:
                return age_s < NO_SLEEP_S
            case Kind.DESTROY | Kind.UPDATE:
                return age_s < NO_DESTROY_S
            case Kind.RENT:
                return self._enough_rented(age_s)
            case _:
                return False

    def _see_rented(self, now_s: float) -> None:
        """Take those that were rented for seen as the market tells of new workers."""
        for _ in self._fleet.posts.keys() - self._known:
            if self._unseen:
                self._unseen.popleft()
        self._known = set(self._fleet.posts)
        while self._unseen and now_s - self._unseen[0] > UNSEEN_S:
            self._unseen.popleft()

    def _enough_rented(self, age_s: float) -> bool:
        definition = self._fleet.definition
        count = len(self._fleet.posts) + len(self._unseen)
        most = definition.parameters.workers_max
        if count >= most:
            text = f"no worker is rented: there are {count}, and max_workers is {most}"
            if self._told.is_news("rents", text):
                self._journal.write(Grain.DECISIONS, self._clock.now_s(), text)
            return True
        self._told.is_over("rents")
        few = max((group.test_workers for group in definition.groups), default=0)
        if few and not self._fleet.units_per_score and not self._fleet.measured:
            # Nobody knows yet how many it takes: a few workers are to show it first.
            return count >= few
        return age_s < NO_RENT_S and count >= max(1, definition.parameters.workers_min)

    async def _rent(self, decision: Decision, offers: list[Candidate], now_s: float) -> None:
        offer = next((offer for offer in offers if offer.offer == decision.offer), None)
        if offer is None or self._refusals.waits((Kind.RENT, offer.group), now_s):
            return
        outcome = await self._carry_out(offer.group, decision)
        if outcome.done:
            self._unseen.append(now_s)
            self._sale.rented(offer.group)
        elif outcome.of_account or (outcome.of_price and not self._sale.too_dear(offer, now_s)):
            what = (Kind.RENT, offer.group)
            self._refusals.note(what, outcome.text, now_s, GROUP_PAUSE_S, GROUP_PAUSE_MAX_S)
        elif not outcome.of_price:
            self._sale.not_to_be_had(offer, now_s)

    async def _wake(self, decision: Decision) -> None:
        assert decision.worker is not None
        post = self._fleet.posts.get(decision.worker)
        if post is None:
            return
        ending = self._ending.get(decision.worker)
        if ending is not None and ending.decision.kind is Kind.UPDATE:
            return  # it comes back by itself; woken as it was, it would never be made anew
        began = self._ending.pop(decision.worker, None)
        post.draining, post.ordered = False, None
        now_s = self._clock.now_s()
        self._fleet.settle(post, now_s)
        if began is not None and post.worker.state is State.READY:
            return
        if not self._refusals.waits((Kind.WAKE, decision.worker), now_s):
            await self._carry_out(post.worker.group, decision)

    def _tell_of_sale(self, group: GroupId, why: str) -> None:
        """Say once why a group can rent nothing: its owner may have asked for too much."""
        if not why:
            self._told.is_over(("sale", group))
        elif self._told.is_news(("sale", group), why):
            text = f"group {group}: {why}"
            self._journal.write(Grain.DECISIONS, self._clock.now_s(), text)

    def _in_units(self, offer: Candidate) -> Candidate:
        """An offer's score as what workers here have made of such scores."""
        per_score = self._fleet.units_per_score or 1.0
        return msgspec.structs.replace(offer, estimate=offer.estimate * per_score)

    # What a worker's own state asks for.

    async def _care(self, now_s: float) -> None:
        for post in tuple(self._fleet.posts.values()):
            with self._contained(f"the care of worker {post.worker.id}"):
                await self._look_after(post, now_s)

    async def _look_after(self, post: Post, now_s: float) -> None:
        if post.worker.state is State.READY:
            self._sale.went_well(post.worker.group)
        case = look_after(post, now_s)
        if case is None or post.worker.id in self._ending:
            return
        if case.remedy is Remedy.REBOOT:
            if self._fleet.definition.parameters.state is EndpointState.STOPPED:
                return  # it is to sleep
            await self._reboot(post, case.reason, now_s)
        elif not self._refusals.waits((Kind.DESTROY, post.worker.id), now_s):
            self._replace(post, case, now_s)

    async def _reboot(self, post: Post, reason: str, now_s: float) -> None:
        outcome = await self._market.reboot(post.worker.id, self.fence)
        self._fleet.lose(post.worker.id, now_s)
        post.reboots += 1
        if outcome == DONE:
            post.refused = ""
            post.restart(State.REBOOTING, now_s)
        else:
            post.refused = outcome
            post.forget_run()
            post.order(State.REBOOTING, now_s)
        self._fleet.settle(post, now_s)
        line = f"worker {post.worker.id} is restarted: {reason} [{outcome}]"
        self._journal.write(Grain.EVENTS, now_s, line)

    def _replace(self, post: Post, case: Case, now_s: float) -> None:
        worker = post.worker
        if not case.by_market:
            self._sale.failed(worker.group, worker.machine, now_s)
            self._halt(post, case, now_s)
        self._end(Decision(kind=Kind.DESTROY, worker=worker.id, reason=case.reason))

    def _halt(self, post: Post, case: Case, now_s: float) -> None:
        """Make nobody who serves anew as what this one could not load."""
        group, version = post.worker.group, post.worker.version
        others = (one.worker for one in self._fleet.posts.values())
        if post.on_disk or not any(
            one.group == group and one.version < version and one.state is State.READY
            for one in others
        ):
            return
        self._halted[group] = (version, now_s + UPDATE_HALT_S)
        text = (
            f"group {group}: nobody else who serves is made anew for an hour, as worker"
            f" {post.worker.id} of version {version} did not load: {case.reason}"
        )
        self._journal.write(Grain.EVENTS, now_s, text)

    # How a worker's service ends.

    def _end(self, decision: Decision) -> None:
        """Give a worker nothing more; what was decided is done once it has nothing left."""
        assert decision.kind in _GENTLE, decision
        assert decision.worker is not None, decision
        now_s = self._clock.now_s()
        post = self._fleet.posts.get(decision.worker)
        if post is None or decision.worker in self._ending:
            return
        if self._refusals.waits((decision.kind, decision.worker), now_s):
            return
        behind = not self._is_current(post)
        self._ending[decision.worker] = _Ending(decision, now_s, behind)
        post.draining = post.worker.state in _SERVING
        self._fleet.settle(post, now_s)

    async def _finish_ending(self, now_s: float) -> None:
        for worker in tuple(self._ending):
            with self._contained(f"the end of worker {worker}"):
                await self._finish(worker, now_s)

    async def _finish(self, worker: ContractId, now_s: float) -> None:
        """Do what was decided about a worker, if it has nothing left; until that is answered."""
        entry = self._ending[worker]
        decision = entry.decision
        post = self._fleet.posts.get(worker)
        if post is None:
            del self._ending[worker]
            return
        if decision.kind is Kind.UPDATE and entry.behind and self._is_current(post):
            self._serve_on(post, now_s)
            return
        busy = post.worker.requests > 0 and post.worker.state in _SERVING
        if busy and now_s - entry.since_s < DRAIN_MAX_S:
            return
        outcome = await self._carry_out(post.worker.group, decision)
        if self._ending.get(worker) is entry:
            del self._ending[worker]
        if not outcome.done:
            post.draining = False
        elif decision.kind is Kind.SLEEP:
            post.order(State.STOPPED, now_s)
        elif decision.kind is Kind.UPDATE:
            post.draining = False
            post.restart(State.UPDATING, now_s)
        self._fleet.settle(post, now_s)

    def _is_current(self, post: Post) -> bool:
        """Whether a worker runs what its group does, or counts as if it did."""
        groups = self._fleet.definition.groups
        version = next((one.version for one in groups if one.id == post.worker.group), None)
        return version is not None and post.worker.version >= version

    def _serve_on(self, post: Post, now_s: float) -> None:
        del self._ending[post.worker.id]
        post.draining = False
        self._fleet.settle(post, now_s)
        line = f"worker {post.worker.id} serves on: its update was cancelled"
        self._journal.write(Grain.DECISIONS, now_s, line)

    async def _carry_out(self, group: GroupId, decision: Decision) -> Outcome:
        endpoint = self._fleet.definition.id
        outcome = await self._market.carry_out(endpoint, group, decision, self.fence)
        now_s = self._clock.now_s()
        if self._is_news(group, decision, outcome, now_s):
            self.done.append(Done(at_s=now_s, decision=decision, outcome=outcome.text))
            about = f"worker {decision.worker}" if decision.worker else f"offer {decision.offer}"
            line = f"{decision.kind} {about}: {decision.reason} [{outcome.text}]"
            self._journal.write(Grain.DECISIONS, now_s, line)
        return outcome

    def _is_news(self, group: GroupId, decision: Decision, outcome: Outcome, now_s: float) -> bool:
        """Whether an outcome is not the same refusal of the same thing again; and note it."""
        if decision.worker is not None:
            what = (decision.kind, decision.worker)
            if not outcome.done:
                pauses = (WORKER_PAUSE_S, WORKER_PAUSE_MAX_S)
                return self._refusals.note(what, outcome.text, now_s, *pauses)
            self._refusals.is_over(what)
        elif outcome.done:
            self._refusals.is_over((Kind.RENT, group))
            self._told.is_over((Kind.RENT, group))
        elif outcome.of_account or outcome.of_price:
            return self._told.is_news((Kind.RENT, group), outcome.text)
        return True
