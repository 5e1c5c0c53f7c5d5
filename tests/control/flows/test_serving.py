"""What a worker costs its owner, second by second, in the eyes of the engine and of the market."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import pytest

from mercato.control.api.fleet import _fleet
from mercato.control.db import Database
from mercato.control.flows import renting, serving, templating
from mercato.control.flows.metering import DISK, GPU
from mercato.control.flows.renting import Minted
from mercato.control.store import api_keys, endpoints, limits, segments, worker_groups
from mercato.control.store.worker_groups import StoredGroup
from mercato.engine.fleet import Fleet
from mercato.market import errors
from mercato.market.ids import ApiKeyId, ContractId, OfferId
from mercato.market.instance import Actual, Reason, State
from mercato.market.limits import Action, Limit, Period, Scope
from mercato.market.money import NanoUsd, NanoUsdPerHour, nano
from mercato.serverless.endpoint import Endpoint, EndpointState
from mercato.wire.worker import Status
from tests.control.flows.wishes import group_wish
from tests.control.market import T0, Agent, Market, open_market, request

MODEL_LOADS_S: Final = 20
PULLS_S: Final = 7
TRANSITIONS: Final = 6
"""Of a life that is woken once."""


def group_of(market: Market, parameters: Endpoint, scopes: Mapping[Scope, int] = {}) -> StoredGroup:
    """The only group of an endpoint."""
    endpoint = market.db.run_now(
        serving.create_endpoint,
        market.renter,
        "llm",
        parameters,
        "key",
        T0,
        market.house,
        scopes=scopes,
    )
    body = {"name": "llm", "private": True, "image": "debian"}
    template = market.db.run_now(templating.create, market.renter, body, T0)
    group = group_wish(market.renter, endpoint.id, template.id, template_hash=template.hash_id)
    return market.db.run_now(serving.create_group, group)


def _key(market: Market) -> ApiKeyId:
    """Another key of the renter's."""
    secret = market.mint().instance_key
    return market.db.run_now(
        api_keys.create,
        account=market.renter,
        kind="account",
        name="",
        secret=secret,
        now_ms=T0,
    )


def test_workers_count_for_the_limits_of_who_made_the_endpoint(db: Database) -> None:
    market = open_market(db)
    key = _key(market)
    made_by = {Scope.KEY: int(key), Scope.MEMBER: int(market.host)}
    life = Life(market, made_by)
    scopes = db.run_now(limits.scopes_of, life.worker)
    assert made_by.items() <= scopes.items()
    assert set(scopes) == {Scope.INSTANCE, Scope.ENDPOINT, *made_by}


def stated(market: Market, state: EndpointState) -> None:
    """Give the market's only endpoint a state."""
    [one] = market.db.run_now(endpoints.everything)
    after = msgspec.structs.replace(one.parameters, state=state)
    market.db.run_now(serving.change_endpoint, market.renter, one.id, one.name, after, T0)


@pytest.mark.parametrize("state", [EndpointState.SUSPENDED, EndpointState.STOPPED])
def test_no_worker_is_rented_or_woken_for_an_endpoint_that_is_not_active(
    db: Database, state: EndpointState
) -> None:
    market = open_market(db)
    life = Life(market)
    life.pass_time(5)
    db.run_now(serving.put_to_sleep, life.worker, life.now_s * 1_000)
    life.pass_time(5)
    stated(market, state)
    [group] = db.run_now(worker_groups.everything)
    wanted = serving.Recruit(
        group=group.id,
        offer=market.offer(life.agent, 1),
        request=request(),
        token="another token",
        reason="a test",
    )
    with pytest.raises(errors.Conflict, match=f"is {state.value}"):
        db.run_now(serving.recruit, wanted, market.mint(), life.now_s * 1_000, market.house)
    with pytest.raises(errors.Conflict, match=f"is {state.value}"):
        db.run_now(serving.wake, life.worker, life.now_s * 1_000, market.house)
    stated(market, EndpointState.ACTIVE)
    db.run_now(serving.wake, life.worker, life.now_s * 1_000, market.house)
    market.audit()


def test_the_most_workers_win_over_the_least(db: Database) -> None:
    market = open_market(db)
    group_of(market, Endpoint(workers_max=2, workers_min=5))
    [made] = db.run_now(endpoints.everything)
    assert (made.parameters.workers_max, made.parameters.workers_min) == (2, 2)


def test_workers_must_count_for_every_limit_that_stops_a_caller(db: Database) -> None:
    market = open_market(db)
    key, member = int(_key(market)), int(market.host)
    group_of(market, Endpoint(), {Scope.KEY: key, Scope.MEMBER: member})
    [made] = db.run_now(endpoints.everything)

    def set_limit(scope: Scope, number: int, action: Action) -> None:
        limit = Limit(
            id=0,
            account_id=market.renter,
            scope=scope,
            scope_id=number,
            period=Period.DAY,
            amount=NanoUsd(nano(1)),
            action=action,
            set_at_ms=T0,
        )
        db.run_now(limits.create, limit)

    second = int(_key(market))
    for scope, number in ((Scope.KEY, key), (Scope.MEMBER, member)):
        set_limit(scope, number, Action.STOP)
    set_limit(Scope.KEY, second, Action.NOTIFY)
    for scopes in ({}, {Scope.KEY: key}, {Scope.KEY: second, Scope.MEMBER: member}):
        db.run_now(serving.answers_for, scopes, made)
    set_limit(Scope.KEY, second, Action.STOP)
    other = int(market.account("other"))
    set_limit(Scope.MEMBER, other, Action.STOP)
    for stranger in (
        {Scope.KEY: second, Scope.MEMBER: member},
        {Scope.KEY: 99, Scope.MEMBER: other},
    ):
        with pytest.raises(errors.NotPermitted, match="spending limit"):
            db.run_now(serving.answers_for, stranger, made)


class Life:
    """One worker's life on a machine, told to the engine every second."""

    def __init__(self, market: Market, scopes: Mapping[Scope, int] = {}) -> None:
        self.market = market
        self.agent: Agent = market.machine(4)
        made = group_of(market, Endpoint(), scopes)
        wanted = serving.Recruit(
            group=made.id,
            offer=market.offer(self.agent, 2),
            request=request(),
            token="token",
            reason="a test",
        )
        signed = market.db.run_now(serving.recruit, wanted, market.mint(), T0, market.house)
        self.worker: ContractId = signed.contract.id
        [definition] = market.db.run_now(_fleet).endpoints
        self.engine = Fleet(definition)
        self.now_s = T0 // 1_000
        self.thinks = {GPU: 0, DISK: 0}
        self.pulling_s = 0
        self.up_s = 0

    def pass_time(self, seconds: int) -> None:
        """The agent does what it should and reports, the engine looks, and counts what it sees."""
        for _ in range(seconds):
            self.now_s += 1
            self.agent.report(self.now_s * 1_000)
            self.agent.obey(self.now_s * 1_000)
            self._pull()
            self.agent.report(self.now_s * 1_000)
            self.engine.take_facts(self.market.db.run_now(_fleet).workers, float(self.now_s))
            self._speak()
            post = self.engine.posts.get(self.worker)
            if post is not None:
                self.thinks[GPU] += post.worker.state.bills_gpu
                self.thinks[DISK] += post.worker.state.bills_storage

    def _pull(self) -> None:
        """The first start takes its image's time."""
        here = self.agent.actual.get(self.worker)
        if here is not None and self.pulling_s < PULLS_S:
            self.pulling_s += 1
            self.agent.actual[self.worker] = msgspec.structs.replace(
                here, actual=Actual.LOADING, started_at_ms=None
            )

    def _speak(self) -> None:
        here = self.agent.actual.get(self.worker)
        runs = here is not None and here.actual is Actual.RUNNING
        self.up_s = self.up_s + 1 if runs else 0
        if runs:
            loaded = self.up_s > MODEL_LOADS_S
            post = self.engine.posts[self.worker]
            said = Status(
                id=self.worker,
                loadtime=float(loaded),
                max_perf=100.0 * loaded,
                url="http://127.0.0.1:1",
            )
            post.take(said, float(self.now_s))
            self.engine.settle(post, float(self.now_s))

    def billed(self, kind: str) -> float:
        """Seconds that the market's meters ran."""
        meters = self.market.db.run_now(
            segments.between, self.market.renter, T0, self.now_s * 1_000
        )
        assert all(one.to_ms is not None for one in meters)
        ran_ms = [(one.to_ms or 0) - one.from_ms for one in meters if one.kind == kind]
        return sum(ran_ms) / 1_000


def test_38_the_market_bills_the_seconds_that_the_engine_thinks_it_bills(db: Database) -> None:
    market = open_market(db)
    life = Life(market)
    life.pass_time(50)
    assert [post.worker.state.label for post in life.engine.posts.values()] == ["idle"]
    db.run_now(serving.put_to_sleep, life.worker, life.now_s * 1_000)
    assert market.instance(life.worker).reason is Reason.ENDPOINT
    life.pass_time(15)
    db.run_now(serving.wake, life.worker, life.now_s * 1_000, market.house)
    life.pass_time(35)
    db.run_now(serving.release, life.worker, life.now_s * 1_000)
    life.pass_time(3)
    assert life.thinks[GPU] > 70
    for kind in (GPU, DISK):
        assert abs(life.billed(kind) - life.thinks[kind]) <= TRANSITIONS, kind
    market.audit()


def test_a_worker_whose_container_ended_by_itself_is_started_again(db: Database) -> None:
    market = open_market(db)
    life = Life(market)
    life.pass_time(50)
    ended = msgspec.structs.replace(life.agent.actual[life.worker], actual=Actual.EXITED)
    life.agent.actual[life.worker] = ended
    life.agent.report(life.now_s * 1_000)
    assert market.instance(life.worker).reason is Reason.EXITED
    db.run_now(serving.reboot, life.worker, life.now_s * 1_000, market.house)
    assert market.instance(life.worker).reason is Reason.ENDPOINT
    life.pass_time(50)
    assert market.instance(life.worker).actual is Actual.RUNNING
    assert [post.worker.state.label for post in life.engine.posts.values()] == ["idle"]
    market.audit()


def test_the_engine_knows_who_was_outbid_while_the_notice_lasts(db: Database) -> None:
    market = open_market(db)
    agent = market.machine(1)
    wanted = serving.Recruit(
        group=group_of(market, Endpoint()).id,
        offer=market.offer(agent, 1),
        request=request(bid=NanoUsdPerHour(nano("0.30"))),
        token="token",
        reason="a test",
    )
    market.db.run_now(serving.recruit, wanted, market.mint(), T0, market.house)
    agent.settle(T0)

    def facts() -> list[tuple[State, bool]]:
        return [(one.state, one.leaves) for one in market.db.run_now(_fleet).workers]

    assert facts() == [(State.RUNNING, False)]
    other = market.rent(market.offer(agent, 1), T0 + 1_000).contract
    assert facts() == [(State.RUNNING, True)]
    market.db.run_now(renting.destroy, market.renter, other.id, T0 + 2_000)
    assert facts() == [(State.RUNNING, False)]


def test_many_who_recruit_at_once_find_no_more_workers_than_the_endpoint_may_have(
    db: Database,
) -> None:
    market = open_market(db)
    group = group_of(market, Endpoint(workers_max=2, workers_min=0))
    offers = [market.offer(market.machine(1), 1) for _ in range(8)]

    def recruit(offer: OfferId) -> ContractId | None:
        wanted = serving.Recruit(
            group=group.id, offer=offer, request=request(), token=f"for {offer}", reason="a test"
        )
        minted = Minted(instance_key=f"key {offer}", jupyter_token=f"token {offer}")
        try:
            signed = db.run_now(serving.recruit, wanted, minted, T0, market.house)
        except errors.Conflict as full:
            assert "may have 2" in str(full)  # noqa: PT017 - every one of them
            return None
        return signed.contract.id

    with ThreadPoolExecutor(len(offers)) as pool:
        outcomes = list(pool.map(recruit, offers))
    found = [worker for worker in outcomes if worker is not None]
    assert len(found) == 2
    # Who was told to end makes room at once.
    db.run_now(serving.release, found[0], T0)
    assert recruit(offers[outcomes.index(None)]) is not None
    market.audit()
