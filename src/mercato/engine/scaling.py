"""Scaling one endpoint: once a second its policy decides, and what it decides is carried out.

A worker that is to sleep, be updated or given back first finishes what it has. After this engine
has taken an endpoint over, it holds back what it might regret until it has heard the workers.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mercato.engine.care import Case, Remedy, look_after
from mercato.engine.clock import Clock
from mercato.engine.fleet import Fleet
from mercato.engine.journal import Grain, Journal
from mercato.engine.market import DONE, Market
from mercato.engine.post import Post
from mercato.market.ids import ContractId, MachineId, OfferId
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, EndpointState, GroupId
from mercato.serverless.load import Load
from mercato.serverless.recruit import Candidate
from mercato.serverless.scale import Memory, decide, renew
from mercato.serverless.worker import State, Worker

NO_SLEEP_S: Final = 60.0
NO_DESTROY_S: Final = 600.0
NO_RENT_S: Final = 30.0
"""Above the endpoint's minimum; all three after a takeover."""
DRAIN_MAX_S: Final = 3_600.0
"""A request may keep a worker from its end for this long."""
LOOK_S: Final = 5.0
LOOK_MAX_S: Final = 10.0
"""How often the market is asked for offers; more seldom while there are none."""
RENTS_MAX: Final = 6
"""Tries in one second."""
UNSEEN_S: Final = 30.0
"""A worker that was rented this long ago and is not told of is gone already."""
OFFER_COOLS_S: Final = 7_200.0
MACHINE_COOLS_S: Final = 86_400.0
FAILED_RECRUITS: Final = 3
"""Workers of a group that fail one after another without any that got ready."""
RECRUITS_WINDOW_S: Final = 600.0
DECISIONS_KEPT: Final = 500

_GENTLE: Final = frozenset({Kind.SLEEP, Kind.UPDATE, Kind.DESTROY})
_SERVING: Final = frozenset({State.READY, State.DRAINING})


Decide = Callable[
    [float, Endpoint, Load, Sequence[Worker], Sequence[Candidate], Memory], list[Decision]
]
"""What says how large a fleet should be; `serverless.scale.decide` is the one."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and what came of it, for whoever asks why."""

    at_s: float
    decision: Decision
    outcome: str


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
        self._ending: dict[ContractId, tuple[Decision, float]] = {}
        self._looks: dict[GroupId, tuple[float, float, list[Candidate]]] = {}
        self._cool_offers: dict[OfferId, float] = {}
        self._cool_machines: dict[MachineId, float] = {}
        self._failed: dict[GroupId, deque[float]] = {}
        self._known: set[ContractId] = set()
        self._unseen: deque[float] = deque()
        """When those were rented of which the market has not told yet."""

    async def step(self, load: Load) -> None:
        """Decide and do, once. Raises OSError when the market cannot be reached."""
        now_s = self._clock.now_s()
        parameters = self._fleet.definition.parameters
        self._see_rented(now_s)
        await self._care(now_s)
        if parameters.state is EndpointState.ACTIVE:
            offers = await self._offers(now_s)
            workers = [post.worker for post in self._fleet.posts.values()]
            wanted = self._decide(now_s, parameters, load, workers, offers, self.memory)
            wanted += renew(self._fleet.definition.groups, workers)
            await self._begin(wanted, offers, now_s)
        elif parameters.state is EndpointState.STOPPED:
            for post in self._fleet.posts.values():
                if post.worker.state in {State.READY, State.STARTING, State.LOADING}:
                    reason = "its endpoint is stopped"
                    self._end(Decision(kind=Kind.SLEEP, worker=post.worker.id, reason=reason))
        await self._finish_ending(now_s)

    # What the policy wants.

    async def _begin(self, wanted: list[Decision], offers: list[Candidate], now_s: float) -> None:
        rents = 0
        for decision in wanted:
            if self._held_back(decision, now_s):
                continue
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
        if count >= definition.parameters.workers_max:
            return True
        few = max((group.test_workers for group in definition.groups), default=0)
        if few and not self._fleet.units_per_score and not self._fleet.measured:
            # Nobody knows yet how many it takes: a few workers are to show it first.
            return count >= few
        return age_s < NO_RENT_S and count >= max(1, definition.parameters.workers_min)

    async def _rent(self, decision: Decision, offers: list[Candidate], now_s: float) -> None:
        offer = next((offer for offer in offers if offer.offer == decision.offer), None)
        if offer is None:
            return
        outcome = await self._carry_out(offer.group, decision)
        if outcome == DONE:
            self._unseen.append(now_s)
            # It is on offer no longer, and perhaps no other part of its machine is.
            self._looks.pop(offer.group, None)
        else:
            self._cool_offers[offer.offer] = now_s + OFFER_COOLS_S

    async def _wake(self, decision: Decision) -> None:
        assert decision.worker is not None
        post = self._fleet.posts.get(decision.worker)
        if post is None:
            return
        ending = self._ending.get(decision.worker)
        if ending is not None and ending[0].kind is Kind.UPDATE:
            return  # it comes back by itself; woken as it was, it would never be made anew
        began = self._ending.pop(decision.worker, None)
        post.draining, post.ordered = False, None
        self._fleet.settle(post, self._clock.now_s())
        if began is None or post.worker.state is not State.READY:
            await self._carry_out(post.worker.group, decision)

    async def _offers(self, now_s: float) -> list[Candidate]:
        """What could be rented; each group's are looked for seldom while there are none."""
        found: list[Candidate] = []
        for group in self._fleet.definition.groups:
            next_s, wait_s, known = self._looks.get(group.id, (0.0, LOOK_S, []))
            if now_s >= next_s:
                known = (
                    []
                    if self._backs_off(group.id, now_s)
                    else list(await self._market.candidates(group.id))
                )
                wait_s = LOOK_S if known else min(2 * wait_s, LOOK_MAX_S)
                self._looks[group.id] = (now_s + wait_s, wait_s, known)
            found += known
        return [self._in_units(offer) for offer in found if not self._is_cooling(offer, now_s)]

    def _in_units(self, offer: Candidate) -> Candidate:
        """An offer's score as what workers here have made of such scores."""
        per_score = self._fleet.units_per_score or 1.0
        return msgspec.structs.replace(offer, estimate=offer.estimate * per_score)

    def _is_cooling(self, offer: Candidate, now_s: float) -> bool:
        return (
            self._cool_offers.get(offer.offer, 0.0) > now_s
            or self._cool_machines.get(offer.machine, 0.0) > now_s
        )

    def _backs_off(self, group: GroupId, now_s: float) -> bool:
        """Whether a group's workers keep failing, so that more of them would only cost money."""
        failed = self._failed.get(group)
        return (
            failed is not None
            and len(failed) == FAILED_RECRUITS
            and now_s - failed[0] < RECRUITS_WINDOW_S
        )

    # What a worker's own state asks for.

    async def _care(self, now_s: float) -> None:
        for post in tuple(self._fleet.posts.values()):
            if post.worker.state is State.READY:
                self._failed.pop(post.worker.group, None)
            case = look_after(post, now_s)
            if case is None or post.worker.id in self._ending:
                continue
            if case.remedy is Remedy.REBOOT:
                await self._reboot(post, case.reason, now_s)
            else:
                self._replace(post, case, now_s)

    async def _reboot(self, post: Post, reason: str, now_s: float) -> None:
        self._fleet.lose(post.worker.id, now_s)
        post.reboots += 1
        post.forget_run()
        post.order(State.REBOOTING, now_s)
        self._fleet.settle(post, now_s)
        outcome = await self._market.reboot(post.worker.id, self.fence)
        post.refused = "" if outcome == DONE else outcome
        line = f"worker {post.worker.id} is restarted: {reason} [{outcome}]"
        self._journal.write(Grain.EVENTS, now_s, line)

    def _replace(self, post: Post, case: Case, now_s: float) -> None:
        worker = post.worker
        if not case.by_market:
            self._cool_machines[worker.machine] = now_s + MACHINE_COOLS_S
            failed = self._failed.setdefault(worker.group, deque(maxlen=FAILED_RECRUITS))
            failed.append(now_s)
        self._end(Decision(kind=Kind.DESTROY, worker=worker.id, reason=case.reason))

    # How a worker's service ends.

    def _end(self, decision: Decision) -> None:
        """Give a worker nothing more; what was decided is done once it has nothing left."""
        assert decision.kind in _GENTLE, decision
        assert decision.worker is not None, decision
        post = self._fleet.posts.get(decision.worker)
        if post is None or decision.worker in self._ending:
            return
        self._ending[decision.worker] = (decision, self._clock.now_s())
        post.draining = post.worker.state in _SERVING
        self._fleet.settle(post, self._clock.now_s())

    async def _finish_ending(self, now_s: float) -> None:
        for worker, (decision, since_s) in tuple(self._ending.items()):
            post = self._fleet.posts.get(worker)
            if post is None:
                del self._ending[worker]
                continue
            busy = post.worker.requests > 0 and post.worker.state in _SERVING
            if busy and now_s - since_s < DRAIN_MAX_S:
                continue
            del self._ending[worker]
            outcome = await self._carry_out(post.worker.group, decision)
            if outcome != DONE:
                post.draining = False
            elif decision.kind is Kind.SLEEP:
                post.order(State.STOPPED, now_s)
            elif decision.kind is Kind.UPDATE:
                post.draining = False
                post.forget_run()
                post.order(State.UPDATING, now_s)
            self._fleet.settle(post, now_s)

    async def _carry_out(self, group: GroupId, decision: Decision) -> str:
        endpoint = self._fleet.definition.id
        outcome = await self._market.carry_out(endpoint, group, decision, self.fence)
        now_s = self._clock.now_s()
        self.done.append(Done(at_s=now_s, decision=decision, outcome=outcome))
        about = f"worker {decision.worker}" if decision.worker else f"offer {decision.offer}"
        line = f"{decision.kind} {about}: {decision.reason} [{outcome}]"
        self._journal.write(Grain.DECISIONS, now_s, line)
        return outcome
