"""What goes wrong between engine and market strands no worker and stops nothing else."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from mercato.engine.care import BOOT_MAX_S, LOADING_MAX_S
from mercato.engine.standalone import StandaloneMarket
from mercato.market.instance import State as Instance
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, EndpointState, Group, GroupId
from mercato.serverless.recruit import Candidate
from mercato.serverless.scale import decide
from mercato.serverless.worker import State
from mercato.wire.fleet import Outcome
from tests.engine.scene import Scene
from tests.engine.test_scaling import Script, asked_for, offer, wanted

BROKE = Outcome(text="You have no credit left.", of_account=True)


def fails_once(scene: Scene) -> None:
    """The market cannot be reached when the first decision is to be carried out."""
    carry_out = scene.market.carry_out
    failed = False

    async def once(*asked: Any) -> Outcome:
        nonlocal failed
        if not failed:
            failed = True
            raise ConnectionError("away for a moment")
        return await carry_out(*asked)

    scene.market.carry_out = once  # type: ignore[assignment, method-assign]


def refuses(scene: Scene, *kinds: Kind, outcome: Outcome = BROKE) -> None:
    """The market does not do what is of these kinds."""
    do = StandaloneMarket._do

    def not_these(decision: Decision) -> Outcome:
        return outcome if decision.kind in kinds else do(scene.market, decision)

    scene.market._do = not_these  # type: ignore[method-assign]


def events(scene: Scene) -> str:
    return scene.station.journal.read()["info0"]


# The end of a worker's service.


@pytest.mark.parametrize("kind", [Kind.SLEEP, Kind.UPDATE, Kind.DESTROY])
async def test_what_the_market_did_not_hear_is_told_again(kind: Kind) -> None:
    scene = await Scene().open()
    await scene.staff(1)
    Script(scene).next = [wanted(kind, 1)]
    fails_once(scene)
    await scene.pass_time(0.5, quiet=[1])
    assert asked_for(scene, kind) == []
    await scene.pass_time(2.0, quiet=[1])
    assert asked_for(scene, kind) == [1]
    assert "stopping" not in scene.states.values()


async def test_a_worker_whose_update_is_cancelled_while_it_drains_serves_on() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    scene.ask()
    group = scene.definition.groups[0].id
    await scene.market.renew(1, group, cancel=False)
    await scene.pass_time(2.0)
    assert scene.states == {1: "stopping"}
    await scene.market.renew(1, group, cancel=True)
    await scene.pass_time(2.0)
    assert scene.states == {1: "idle"}
    assert scene.market.carried_out == []
    assert "its update was cancelled" in scene.station.journal.read()["info1"]


async def test_34_a_stopped_endpoint_also_ends_who_was_left_draining() -> None:
    scene = await Scene(Endpoint(workers_min=0, state=EndpointState.STOPPED)).open()
    await scene.hire(1)
    scene.post(1).draining = True
    scene.report(1)
    assert scene.states == {1: "stopping"}
    await scene.pass_time(2.0)
    assert asked_for(scene, Kind.SLEEP) == [1]
    await scene.pass_time(5.0)
    assert asked_for(scene, Kind.SLEEP) == [1]


async def test_a_worker_that_is_gone_when_its_probe_ends_gets_nothing() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    post = scene.post(1)
    scene.market.end_worker(1)
    await scene.engine.refresh()
    scene.fleet.settle(post, scene.clock.now_s())
    assert scene.ask().worker is None


# Workers that do not come up.


@pytest.mark.parametrize("speaks", [False, True])
async def test_35_a_woken_worker_that_never_loads_is_restarted_twice_and_given_back(
    speaks: bool,  # noqa: FBT001 - a case
) -> None:
    scene = await Scene().open()
    await scene.staff(1)
    script = Script(scene)
    script.next = [wanted(Kind.SLEEP, 1)]
    await scene.pass_time(3.0)
    script.next = [wanted(Kind.WAKE, 1)]
    await scene.pass_time(3.0)
    assert scene.states == {1: "starting"}
    restarts: list[int] = []
    for minute in range(1, 17):
        if speaks:
            scene.report(1, loadtime=0.0, max_perf=0.0)
        await scene.pass_time(60.0)
        restarts += [minute] * (len(scene.market.rebooted) - len(restarts))
        if asked_for(scene, Kind.DESTROY):
            break
    first, second = restarts
    assert 5 <= first <= 6
    # The second has as much time as the first.
    assert 5 <= second - first <= 6
    assert 5 <= minute - second <= 6


async def test_35_a_worker_that_never_loads_its_newer_version_is_restarted() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    Script(scene).next = [wanted(Kind.UPDATE, 1)]
    await scene.pass_time(2.0, quiet=[1])
    assert scene.states == {1: "update_starting"}
    # It fetches image and model anew, which may take as long as the first time.
    await scene.pass_time(BOOT_MAX_S + 2.0, quiet=[1])
    assert scene.market.rebooted == []
    await scene.pass_time(LOADING_MAX_S - BOOT_MAX_S, quiet=[1])
    assert scene.market.rebooted == [1]


async def test_35_who_takes_long_to_load_may_take_twice_as_long_to_start() -> None:
    scene = await Scene().open()
    await scene.hire(1)
    scene.report(1, loadtime=400.0)
    script = Script(scene)
    script.next = [wanted(Kind.SLEEP, 1)]
    await scene.pass_time(3.0)
    script.next = [wanted(Kind.WAKE, 1)]
    await scene.pass_time(700.0, quiet=[1])
    assert scene.market.rebooted == []
    await scene.pass_time(120.0, quiet=[1])
    assert scene.market.rebooted == [1]


async def test_33_a_version_that_does_not_load_takes_one_worker_and_no_other() -> None:
    scene = await Scene().open()
    await scene.staff(1, 2, 3)
    Script(scene)
    group = scene.definition.groups[0].id
    await scene.market.renew(1, group, cancel=False)
    await scene.pass_time(3.0)
    (first,) = asked_for(scene, Kind.UPDATE)
    assert first is not None
    for _ in range(60):
        await scene.pass_time(60.0, quiet=[int(first)])
    assert asked_for(scene, Kind.UPDATE) == [first]
    assert asked_for(scene, Kind.DESTROY) == [first]
    assert f"group {group}: nobody else who serves is made anew" in events(scene)
    assert list(scene.states.values()) == ["idle", "idle"]
    await scene.pass_time(3_000.0)
    assert len(asked_for(scene, Kind.UPDATE)) == 2


@pytest.mark.parametrize("kind", [Kind.UPDATE, Kind.SLEEP])
async def test_34_who_begins_anew_sleeps_when_its_endpoint_is_stopped(kind: Kind) -> None:
    scene = await Scene().open()
    await scene.staff(1, 2)
    scene.ask()
    Script(scene).next = [wanted(kind, 1), wanted(kind, 2)]
    await scene.pass_time(2.0, quiet=[1, 2])
    stopped = msgspec.structs.replace(
        scene.definition,
        parameters=msgspec.structs.replace(
            scene.definition.parameters, state=EndpointState.STOPPED
        ),
    )
    scene.market.endpoints[stopped.id] = stopped
    await scene.engine.refresh()
    await scene.pass_time(30.0, quiet=[1, 2])
    assert 2 in asked_for(scene, Kind.SLEEP)
    assert scene.market.rebooted == []


async def test_35_who_never_loaded_before_a_takeover_still_loads_after_it() -> None:
    scene = await Scene().open()
    await scene.hire(1)
    scene.report(1, loadtime=0.0, max_perf=0.0)
    await scene.engine.keep()
    await scene.again()
    assert scene.states == {1: "loading"}
    Script(scene)
    for _ in range(16):
        scene.report(1, loadtime=0.0, max_perf=0.0)
        await scene.pass_time(60.0)
    assert asked_for(scene, Kind.DESTROY) == [1]
    assert scene.market.rebooted == []


# One part's trouble is not the others'.


async def test_a_policy_that_fails_keeps_nobody_from_its_end_and_is_told_once() -> None:
    scene = await Scene().open()
    await scene.staff(1, 2)
    script = Script(scene)
    scene.ask()
    script.next = [wanted(Kind.SLEEP, 1)]
    await scene.pass_time(1.0)
    busy = scene.states[1] == "stopping" and scene.post(1).worker.requests == 1
    for idx in tuple(scene.fleet.ledger.at(scene.post(1).worker.id)):
        scene.finish(1, int(idx))

    def broken(*_: Any) -> list[Decision]:
        raise OverflowError("cannot convert float infinity to integer")

    scene.policy = broken
    scene.report(2, error_msg="CUDA error")
    await scene.pass_time(5.0)
    assert busy
    assert asked_for(scene, Kind.SLEEP) == [1]
    assert scene.market.rebooted == [2]
    assert events(scene).count("the policy failed: OverflowError: cannot convert") == 1


@pytest.mark.parametrize("error", [ValueError("a bad query"), ConnectionError("too slow")])
async def test_a_group_whose_offers_cannot_be_looked_for_keeps_no_other_from_renting(
    error: Exception,
) -> None:
    scene = await Scene().open()
    bad = scene.definition.groups[0]
    good = msgspec.structs.replace(bad, id=GroupId(77))
    two = msgspec.structs.replace(scene.definition, groups=(bad, good))
    scene.market.endpoints[two.id] = two
    await scene.engine.refresh()
    await scene.staff(1)
    other = msgspec.structs.replace(offer(scene, 7), group=good.id)

    async def candidates(group: GroupId) -> Sequence[Candidate]:
        if group == bad.id:
            raise error
        return [other]

    scene.market.candidates = candidates  # type: ignore[method-assign]
    script = Script(scene)
    script.next = [wanted(Kind.SLEEP, 1)]
    await scene.pass_time(30.0)
    assert script.offers == [7]
    assert asked_for(scene, Kind.SLEEP) == [1]
    assert events(scene).count(f"the search for offers of group {bad.id} failed") == 1


async def test_one_decision_that_fails_is_not_the_end_of_those_after_it() -> None:
    scene = await Scene().open()
    await scene.staff(1, 2)
    carry_out = scene.market.carry_out

    async def not_of_the_first(*asked: Any) -> Outcome:
        if asked[2].worker == 1:
            raise RuntimeError("a row that nobody foresaw")
        return await carry_out(*asked)

    scene.market.carry_out = not_of_the_first  # type: ignore[assignment, method-assign]
    Script(scene).next = [wanted(Kind.SLEEP, 1), wanted(Kind.SLEEP, 2)]
    await scene.pass_time(5.0)
    assert asked_for(scene, Kind.SLEEP) == [2]
    assert events(scene).count("a row that nobody foresaw") == 1


# What the market refuses.


async def test_21_an_account_without_credit_cools_no_offer() -> None:
    scene = await Scene(Endpoint(workers_min=1)).open()
    scene.market.offers[scene.definition.groups[0].id] = [offer(scene, n) for n in range(20)]
    refuses(scene, Kind.RENT)
    scene.policy = decide
    await scene.pass_time(120.0)
    assert 2 <= len(asked_for(scene, Kind.RENT)) <= 4
    told = scene.station.journal.read()["info1"]
    assert told.count("no credit left") == 1
    assert len(scene.station.scaling.done) == 1
    scene.market.carried_out.clear()
    refuses(scene)
    scene.market.rent = lambda decision: Outcome()  # type: ignore[method-assign]  # noqa: ARG005 - lets whatever it is
    await scene.pass_time(65.0)
    outcomes = [outcome for _, _, _, outcome in scene.market.carried_out]
    assert outcomes[:1] == ["done"]


@pytest.mark.parametrize("kind", [Kind.WAKE, Kind.SLEEP, Kind.DESTROY, Kind.UPDATE])
async def test_what_is_refused_is_tried_more_and_more_seldom_and_told_once(kind: Kind) -> None:
    scene = await Scene().open()
    await scene.staff(1)
    script = Script(scene)
    if kind is Kind.WAKE:
        script.next = [wanted(Kind.SLEEP, 1)]
        await scene.pass_time(3.0)
    refuses(scene, kind, outcome=Outcome(text="not now"))
    script.always = [wanted(kind, 1)]
    await scene.pass_time(120.0)
    assert 6 <= len(asked_for(scene, kind)) <= 9
    assert scene.station.journal.read()["info1"].count("not now") == 1
    assert [one.outcome for one in scene.station.scaling.done].count("not now") == 1
    refuses(scene)
    await scene.pass_time(61.0)
    outcomes = [
        outcome for _, decision, _, outcome in scene.market.carried_out if decision.kind is kind
    ]
    assert "done" in outcomes


async def test_24_that_nothing_is_rented_as_there_are_enough_is_told_once() -> None:
    scene = await Scene(Endpoint(workers_min=0, workers_max=1)).open()
    await scene.staff(1)
    scene.market.offers[scene.definition.groups[0].id] = [offer(scene, 7)]
    Script(scene).always = [wanted(Kind.RENT, offer=7)]
    await scene.pass_time(10.0)
    told = scene.station.journal.read()["info1"]
    assert told.count("no worker is rented: there are 1, and max_workers is 1") == 1


async def test_that_nothing_on_sale_fits_a_group_is_told_once() -> None:
    scene = await Scene(Endpoint(workers_min=0)).open()
    group = scene.definition.groups[0].id
    for offers in ([], [offer(scene, 7)], []):
        scene.market.offers[group] = offers
        await scene.pass_time(60.0)
    told = scene.station.journal.read()["info1"]
    assert told.count(f"group {group}: nothing that is on sale now fits") == 2


# What was known of those that are gone.


async def test_21_who_cannot_pay_the_best_offer_rents_the_cheapest() -> None:
    scene = await Scene(Endpoint(workers_min=1)).open()
    group = scene.definition.groups[0].id
    dear = msgspec.structs.replace(offer(scene, 7), gpu_price=10**9, estimate=10_000.0)
    cheap = msgspec.structs.replace(offer(scene, 8), gpu_price=10**8, estimate=100.0)
    scene.market.offers[group] = [dear, cheap]
    scene.market.rent = (  # type: ignore[method-assign]
        lambda decision: (
            Outcome()
            if decision.offer == 8
            else Outcome(text="You have no credit left.", of_price=True)
        )
    )
    Script(scene).always = [wanted(Kind.RENT, offer=7), wanted(Kind.RENT, offer=8)]
    await scene.pass_time(5.0)
    assert asked_for(scene, Kind.RENT)[:1] == [7]
    assert 8 in asked_for(scene, Kind.RENT)
    assert asked_for(scene, Kind.RENT).count(7) == 1


async def test_nothing_is_kept_of_workers_offers_and_groups_that_are_gone() -> None:
    scene = await Scene().open()
    group = scene.definition.groups[0].id
    scene.market.offers[group] = [offer(scene, n) for n in range(6)]
    script = Script(scene)
    script.next = [wanted(Kind.RENT, offer=n) for n in range(6)]  # this market rents nothing
    for worker in range(1, 9):
        await scene.hire(worker, state=Instance.FAILED)
        scene.station._probed[scene.post(worker).worker.id] = 1.0
        await scene.pass_time(0.5)
        scene.market.end_worker(worker)
        await scene.engine.refresh()
    scaling = scene.station.scaling
    assert len(scaling._sale._cool_offers) == 6
    assert (scene.station._states, scene.station._probed) == ({}, {})
    other = msgspec.structs.replace(scene.definition, groups=(Group(id=GroupId(99)),))
    scene.market.endpoints[other.id] = other
    scene.clock.time_s += 90_000.0
    await scene.pass_time(2.0)
    assert (scaling._sale._cool_offers, scaling._sale._cool_machines) == ({}, {})
    assert set(scaling._sale._looks) == {GroupId(99)}


async def test_the_state_of_a_worker_that_is_made_anew_is_not_its_old_runs() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    scene.report(1, boot="a", sequence=1)
    Script(scene).next = [wanted(Kind.UPDATE, 1)]
    await scene.pass_time(1.0, quiet=[1])
    scene.report(1, boot="a", sequence=2)
    assert scene.post(1).worker.state is State.UPDATING
    assert scene.ask().worker is None
