"""What is decided about a fleet is carried out with care."""

from typing import Any

import msgspec
import pytest

from mercato.market.ids import ContractId, MachineId, OfferId
from mercato.market.instance import State as Instance
from mercato.market.money import NanoUsdPerHour
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, EndpointState
from mercato.serverless.recruit import Candidate
from mercato.wire.fleet import Outcome
from tests.engine.scene import Scene


def wanted(kind: Kind, worker: int | None = None, offer: int | None = None) -> Decision:
    return Decision(
        kind=kind,
        reason="the test wants it",
        worker=None if worker is None else ContractId(worker),
        offer=None if offer is None else OfferId(offer),
    )


class Script:
    """A policy that wants, at its next turn, what it was told."""

    def __init__(self, scene: Scene) -> None:
        self.next: list[Decision] = []
        self.always: list[Decision] = []
        self.offers: list[int] = []
        self.estimates: set[float] = set()
        self.calls = 0
        scene.policy = self

    def __call__(self, *facts: Any) -> list[Decision]:
        self.calls += 1
        self.offers = [int(offer.offer) for offer in facts[4]]
        self.estimates = {offer.estimate for offer in facts[4]}
        now, self.next = self.next, []
        return now + self.always


def offer(scene: Scene, number: int) -> Candidate:
    return Candidate(
        offer=OfferId(number),
        group=scene.definition.groups[0].id,
        machine=MachineId(1_000 + number),
        kind="1x RTX 4090",
        gpu_price=NanoUsdPerHour(1),
        storage_price=NanoUsdPerHour(1),
        estimate=100.0,
    )


def asked_for(scene: Scene, kind: Kind) -> list[int]:
    return [
        int(decision.offer or decision.worker or 0)
        for _, decision, _, _ in scene.market.carried_out
        if decision.kind is kind
    ]


@pytest.mark.parametrize("kind", [Kind.SLEEP, Kind.UPDATE, Kind.DESTROY])
async def test_32_a_worker_first_finishes_what_it_has(kind: Kind) -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=2)
    script = Script(scene)
    client = scene.ask()
    script.next = [wanted(kind, 1)]
    await scene.pass_time(600.0)  # a stream of ten minutes
    assert asked_for(scene, kind) == []
    assert scene.states == {1: "stopping"}
    assert scene.ask().worker is None
    scene.finish(1, client.idx)
    await scene.pass_time(1.0)
    assert asked_for(scene, kind) == [1]


async def test_31_an_open_session_keeps_its_worker_awake() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=2)
    script = Script(scene)
    session = scene.ask(cost=10.0)
    for _ in range(30):
        scene.report(1, working_request_idxs=[session.idx], cur_load=10.0)
        await scene.pass_time(1.0)
    assert scene.post(1).worker.work == 10.0  # its cost is counted as long as it is open
    script.next = [wanted(Kind.SLEEP, 1)]
    await scene.pass_time(60.0)
    assert asked_for(scene, Kind.SLEEP) == []
    scene.finish(1, session.idx)
    await scene.pass_time(1.0)
    assert asked_for(scene, Kind.SLEEP) == [1]


async def test_a_worker_that_is_wanted_again_while_it_drains_goes_on() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=2)
    script = Script(scene)
    scene.ask()
    script.next = [wanted(Kind.SLEEP, 1)]
    await scene.pass_time(2.0)
    script.next = [wanted(Kind.WAKE, 1)]
    await scene.pass_time(1.0)
    assert scene.states == {1: "idle"}
    assert scene.market.carried_out == []
    assert scene.ask().worker == 1


async def test_a_worker_that_is_to_be_made_anew_is_so_however_much_is_asked() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=2)
    script = Script(scene)
    client = scene.ask()
    script.next = [wanted(Kind.UPDATE, 1)]
    script.always = [wanted(Kind.WAKE, 1)]
    await scene.pass_time(30.0)
    assert scene.states == {1: "stopping"}
    scene.finish(1, client.idx)
    script.always = []
    await scene.pass_time(1.0)
    assert asked_for(scene, Kind.UPDATE) == [1]
    assert asked_for(scene, Kind.WAKE) == []


async def test_33_an_updated_worker_is_routed_to_only_once_it_is_ready_again() -> None:
    scene = await Scene().open()
    await scene.staff(1, 2)
    script = Script(scene)
    script.next = [wanted(Kind.UPDATE, 1)]
    await scene.pass_time(1.0, quiet=[1])
    assert scene.states == {1: "update_starting", 2: "idle"}
    assert [scene.ask().worker for _ in range(3)] == [2, 2, None]
    scene.report(1, loadtime=0.0, max_perf=0.0)
    scene.report(1, max_perf=100.0)
    assert scene.states[1] == "idle"


async def test_34_a_suspended_endpoint_routes_on_and_decides_nothing() -> None:
    scene = await Scene(Endpoint(workers_min=0, state=EndpointState.SUSPENDED)).open()
    await scene.staff(1)
    script = Script(scene)
    script.always = [wanted(Kind.SLEEP, 1)]
    await scene.pass_time(5.0)
    assert script.calls == 0
    assert scene.market.carried_out == []
    assert scene.ask().worker == 1


async def test_34_a_stopped_endpoint_puts_all_to_sleep_within_a_minute() -> None:
    scene = await Scene(Endpoint(workers_min=0, state=EndpointState.STOPPED)).open()
    await scene.staff(1, 2)
    await scene.pass_time(60.0)
    assert sorted(asked_for(scene, Kind.SLEEP)) == [1, 2]
    assert scene.states == {1: "stopped", 2: "stopped"}


async def test_18_after_a_takeover_nothing_is_done_that_might_be_regretted() -> None:
    scene = await Scene(Endpoint(workers_min=2)).open()
    await scene.staff(1, 2, 3)
    scene.market.offers[scene.definition.groups[0].id] = [offer(scene, 7)]
    await scene.engine.keep()
    await scene.again()
    script = Script(scene)
    script.always = [wanted(Kind.SLEEP, 1), wanted(Kind.DESTROY, 2), wanted(Kind.RENT, offer=7)]
    await scene.pass_time(29.0)
    assert scene.market.carried_out == []
    await scene.pass_time(2.0)
    assert asked_for(scene, Kind.RENT) == [7]
    assert asked_for(scene, Kind.SLEEP) == []
    await scene.pass_time(30.0)
    assert set(asked_for(scene, Kind.SLEEP)) == {1}
    await scene.pass_time(535.0)
    assert asked_for(scene, Kind.DESTROY) == []
    await scene.pass_time(10.0)
    assert asked_for(scene, Kind.DESTROY) == [2]


async def test_18_below_its_minimum_an_endpoint_rents_also_after_a_takeover() -> None:
    scene = await Scene(Endpoint(workers_min=2)).open()
    await scene.staff(1)
    scene.market.offers[scene.definition.groups[0].id] = [offer(scene, 7)]
    await scene.again()
    script = Script(scene)
    script.next = [wanted(Kind.RENT, offer=7)]
    await scene.pass_time(1.0)
    assert asked_for(scene, Kind.RENT) == [7]


async def test_18_the_next_engine_routes_at_once_with_what_was_kept() -> None:
    scene = await Scene().open()
    await scene.staff(1, 2, slots=2)
    working = [scene.ask() for _ in range(3)]
    await scene.engine.keep()
    await scene.again()
    assert scene.states == {1: "idle", 2: "idle"}
    client = scene.ask()
    assert client.worker is None  # until the workers have told what they have
    for worker in (1, 2):
        mine = [one.idx for one in working if one.worker == worker]
        scene.report(worker, working_request_idxs=mine, cur_load=100.0 * len(mine))
    assert client.worker is not None


async def test_18_workers_that_do_not_speak_are_routed_to_after_two_seconds() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=2)
    await scene.engine.keep()
    await scene.again()
    client = scene.ask()
    await scene.pass_time(1.5, quiet=[1])
    assert client.answers == []
    await scene.pass_time(1.5, quiet=[1])
    assert client.worker == 1


async def test_20_without_offers_the_market_is_asked_seldom_and_an_offer_is_seen_soon() -> None:
    scene = await Scene().open()
    script = Script(scene)
    looks = 0
    candidates = scene.market.candidates

    async def counted(group: Any) -> Any:
        nonlocal looks
        looks += 1
        return await candidates(group)

    scene.market.candidates = counted  # type: ignore[method-assign]
    waiting = scene.ask()
    await scene.pass_time(60.0)
    assert looks <= 60 / 5
    assert waiting.answers == [None]
    scene.market.offers[scene.definition.groups[0].id] = [offer(scene, 7)]
    await scene.pass_time(10.5)
    assert script.offers == [7]


async def test_21_an_offer_that_fails_is_left_and_the_next_is_tried() -> None:
    scene = await Scene().open()
    group = scene.definition.groups[0].id
    scene.market.offers[group] = [offer(scene, number) for number in range(20)]
    script = Script(scene)
    script.next = [wanted(Kind.RENT, offer=number) for number in range(20)]
    await scene.pass_time(0.5)
    assert asked_for(scene, Kind.RENT) == list(range(6))  # this market rents nothing
    await scene.pass_time(1.0)
    assert script.offers == list(range(6, 20))
    await scene.pass_time(7_200.0)
    assert script.offers == list(range(20))


async def test_21_what_was_just_rented_is_not_tried_again() -> None:
    scene = await Scene(Endpoint(workers_min=0)).open()
    market, script = Letting(scene, 2), Script(scene)
    offers = scene.market.offers[scene.definition.groups[0].id]
    script.next = [wanted(Kind.RENT, offer=1)]
    await scene.pass_time(0.5)
    assert market.count == 1
    del offers[0]
    await scene.pass_time(0.5)
    assert script.offers == [2]


async def test_24_there_are_never_more_workers_than_allowed() -> None:
    scene = await Scene(Endpoint(workers_min=0, workers_max=3)).open()
    await scene.staff(1, 2, 3)
    scene.market.offers[scene.definition.groups[0].id] = [offer(scene, 7)]
    script = Script(scene)
    script.always = [wanted(Kind.RENT, offer=7)]
    await scene.pass_time(10.0)
    assert asked_for(scene, Kind.RENT) == []


class Letting:
    """Makes a scene's market rent what is asked for; the engine hears of it when it looks."""

    def __init__(self, scene: Scene, offers: int, **known: Any) -> None:
        self.scene = scene
        self.known = known
        self.count = 0
        scene.market.rent = self  # type: ignore[method-assign]
        group = scene.definition.groups[0].id
        scene.market.offers[group] = [offer(scene, number) for number in range(1, offers + 1)]

    def __call__(self, decision: Decision) -> Outcome:
        self.count += 1
        self.scene.market.add_worker(
            self.scene.definition, 100 + int(decision.offer or 0), "token", **self.known
        )
        return Outcome()


async def test_24_nor_when_the_engine_decides_before_it_hears_what_it_has_rented() -> None:
    scene = await Scene(Endpoint(workers_min=0, workers_max=3)).open()
    await scene.staff(1)
    market, script = Letting(scene, 40), Script(scene)
    for turn in range(10):
        script.next = [wanted(Kind.RENT, offer=4 * turn + n) for n in range(1, 5)]
        await scene.station.scaling.step(scene.desk.load)
    assert market.count == 2
    await scene.engine.refresh()
    await scene.station.scaling.step(scene.desk.load)
    scene.market.end_worker(1)
    await scene.engine.refresh()
    script.next = [wanted(Kind.RENT, offer=n) for n in (39, 40)]
    await scene.station.scaling.step(scene.desk.load)
    assert market.count == 3


async def test_36_a_few_workers_show_what_they_do_before_more_are_rented() -> None:
    scene = await Scene(Endpoint(workers_min=0)).open()
    market, script = Letting(scene, 40, state=Instance.LOADING, dlperf=50.0), Script(scene)
    script.always = [wanted(Kind.RENT, offer=n) for n in range(1, 41)]
    await scene.pass_time(60.0)
    assert market.count == scene.definition.groups[0].test_workers
    worker = next(iter(scene.fleet.posts))
    scene.market.change_worker(worker, state=Instance.RUNNING)
    scene.report(worker, max_perf=25_000.0)
    script.always = []
    await scene.pass_time(10.0)
    # What a score made elsewhere comes to here is known from now on, of offers and of workers.
    assert scene.fleet.units_per_score == 500.0
    assert {one.worker.estimate for one in scene.fleet.posts.values()} == {25_000.0}
    assert script.estimates == {50_000.0}
    await scene.engine.keep()
    await scene.again()
    assert scene.fleet.units_per_score == 500.0


async def test_36_an_owner_may_do_without_that() -> None:
    scene = await Scene(Endpoint(workers_min=0)).open()
    group = msgspec.structs.replace(scene.definition.groups[0], test_workers=0)
    definition = msgspec.structs.replace(scene.definition, groups=(group,))
    scene.market.endpoints[definition.id] = definition
    await scene.engine.refresh()
    market, script = Letting(scene, 40, state=Instance.LOADING), Script(scene)
    script.always = [wanted(Kind.RENT, offer=n) for n in range(1, 41)]
    await scene.pass_time(10.0)
    assert market.count == definition.parameters.workers_max


async def test_35_a_worker_that_never_loads_is_given_back_and_its_machine_left_alone() -> None:
    scene = await Scene().open()
    machine = 1_007
    await scene.hire(1, machine=MachineId(machine), state=Instance.LOADING)
    scene.market.offers[scene.definition.groups[0].id] = [offer(scene, 7), offer(scene, 8)]
    script = Script(scene)
    await scene.pass_time(899.0)
    assert asked_for(scene, Kind.DESTROY) == []
    await scene.pass_time(3.0)
    assert asked_for(scene, Kind.DESTROY) == [1]
    await scene.pass_time(6.0)
    assert script.offers == [8]


async def test_35_three_workers_that_fail_in_a_row_stop_a_group_from_renting_for_a_while() -> None:
    scene = await Scene().open()
    scene.market.offers[scene.definition.groups[0].id] = [offer(scene, 7)]
    script = Script(scene)
    for worker in (1, 2, 3):
        await scene.hire(worker, state=Instance.FAILED)
    await scene.pass_time(700.0)
    assert sorted(asked_for(scene, Kind.DESTROY)) == [1, 2, 3]
    began_s = scene.clock.time_s
    for worker in (4, 5, 6):
        await scene.hire(worker, state=Instance.FAILED)
        scene.post(worker).reboots = 2
    await scene.pass_time(7.0)
    assert script.offers == []
    await scene.pass_time(600.0)
    assert script.offers == [7]
    assert scene.clock.time_s - began_s < 620


async def test_every_decision_is_told_with_its_reason() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    script = Script(scene)
    script.next = [wanted(Kind.SLEEP, 1)]
    await scene.pass_time(2.0)
    (done,) = scene.station.scaling.done
    assert done.decision.reason == "the test wants it"
    assert done.outcome == "done"
    assert "sleep worker 1: the test wants it [done]" in scene.station.journal.read()["info1"]
