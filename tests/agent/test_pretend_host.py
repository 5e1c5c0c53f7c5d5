"""The pretend machine and its agent, in virtual time."""

import time

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from mercato.agent.pretend import Behaviour
from mercato.agent.pretend_host import PretendHost
from mercato.market.instance import Actual
from mercato.wire.agent import DesiredInstance, ObservedInstance
from tests.agent.builders import MACHINE, PORT_FIRST, desired, hardware, wanted

LATER = 60_000


def host(behaviour: Behaviour | None = None) -> PretendHost:
    return PretendHost(MACHINE, hardware(), behaviour or Behaviour())


def told(it: PretendHost, now_ms: int) -> dict[int, ObservedInstance]:
    return {each.id: each for each in it.observe(now_ms).instances}


def test_a_machine_does_what_it_is_told() -> None:
    it = host()
    it.take(desired(wanted(1)), 0)
    loading = told(it, 100)[1]
    assert (loading.actual, loading.message) == (Actual.LOADING, "Pulling: layer 1/5 25%")
    running = told(it, 1_000)[1]
    assert running.actual is Actual.RUNNING
    assert running.started_at_ms == 500
    assert running.ports == {"22/tcp": PORT_FIRST}
    it.take(desired(wanted(1, running=False), generation=2), 2_000)
    assert told(it, 3_000)[1].actual is Actual.STOPPED
    it.take(desired(wanted(1), generation=3), 4_000)
    assert told(it, 5_000)[1].ports == {"22/tcp": PORT_FIRST}
    it.take(desired(generation=4), 6_000)
    assert told(it, 6_001) == {}


def test_a_reboot_is_a_new_run_and_a_recycle_a_new_container() -> None:
    it = host()
    it.take(desired(wanted(1)), 0)
    before = told(it, 1_000)[1]
    it.take(desired(wanted(1, boots=1), generation=2), 2_000)
    rebooted = told(it, 3_000)[1]
    assert (rebooted.boots, rebooted.actual) == (1, Actual.RUNNING)
    assert (rebooted.started_at_ms or 0) > (before.started_at_ms or 0)
    assert rebooted.up_bytes >= before.up_bytes
    it.take(desired(wanted(1, boots=1, revision=2), generation=3), 4_000)
    assert told(it, 5_000)[1].revision == 2


def test_gpus_are_never_held_by_two() -> None:
    it = host(Behaviour(stop_ms=5_000))
    it.take(desired(wanted(1)), 0)
    it.advance(1_000)
    it.take(desired(wanted(1, running=False), wanted(2), generation=2), 2_000)
    assert told(it, 3_000)[2].actual is Actual.ABSENT
    assert told(it, 7_500)[1].actual is Actual.STOPPED
    assert told(it, 9_000)[2].actual is Actual.RUNNING


def test_a_deaf_engine_is_not_an_empty_one() -> None:
    it = host()
    it.take(desired(wanted(1)), 0)
    it.advance(1_000)
    it.containers.behaviour = Behaviour(deaf=True)
    report = it.observe(2_000)
    assert not report.sees
    assert report.trouble
    assert it.containers.truth()[1].running


def test_a_full_disk_and_a_missing_image_are_explained_and_not_tried_for_ever() -> None:
    it = host(Behaviour(full=True))
    it.take(desired(wanted(1), wanted(2, image="missing:latest", gpus=(1,))), 0)
    assert told(it, 100)[1].actual is Actual.FAILED
    assert told(it, 100)[1].message == "the host's disk is full"
    it.containers.behaviour = Behaviour()
    assert told(it, LATER)[1].actual is Actual.FAILED
    it.take(desired(wanted(1, running=False), generation=2), LATER + 1)
    it.take(desired(wanted(1), generation=3), LATER + 2)
    assert told(it, 2 * LATER)[1].actual is Actual.RUNNING


def test_what_runs_is_stopped_before_it_is_told_that_what_should_cannot_be_made() -> None:
    it = host(Behaviour(stop_ms=5_000))
    it.take(desired(wanted(1)), 0)
    it.advance(1_000)
    it.take(desired(wanted(1, revision=2, image="missing:latest"), generation=2), 2_000)
    still = told(it, 3_000)[1]
    assert (still.actual, still.revision) == (Actual.RUNNING, 1)
    it.advance(8_000)
    failed = told(it, 8_000)[1]
    assert (failed.actual, failed.revision) == (Actual.FAILED, 2)
    it.take(desired(wanted(1, revision=2, running=False), generation=3), 9_000)
    it.take(desired(wanted(1, revision=3), generation=4), 10_000)
    assert told(it, LATER)[1].actual is Actual.RUNNING


def test_a_main_process_that_ends_is_told_with_its_exit_code() -> None:
    it = host(Behaviour(exit_after_ms=5_000, exit_code=3))
    it.take(desired(wanted(1, ssh=False)), 0)
    ended = told(it, LATER)[1]
    assert (ended.actual, ended.exit_code) == (Actual.EXITED, 3)


def test_a_lie_is_told_and_the_truth_goes_on() -> None:
    it = host(Behaviour(lies=True))
    it.take(desired(wanted(1, ssh=False)), 0)
    assert told(it, LATER)[1].actual is Actual.EXITED
    assert it.containers.truth()[1].running


def test_what_runs_outlives_its_agent() -> None:
    it = host()
    it.take(desired(wanted(1)), 0)
    before = told(it, 1_000)[1]
    it.kill_agent()
    after = told(it, 2_000)[1]
    assert after.started_at_ms == before.started_at_ms
    assert after.ports == before.ports
    assert it.observe(2_001).desired_generation == 0


def test_a_power_cut_ends_everything_and_the_agent_brings_it_back() -> None:
    it = host()
    it.take(desired(wanted(1)), 0)
    first = told(it, LATER)[1]
    it.containers.power_cut(LATER + 1)
    it.advance(LATER + 2)
    again = told(it, LATER + 10_000)[1]
    assert again.actual is Actual.RUNNING
    assert (again.started_at_ms or 0) > (first.started_at_ms or 0)
    assert again.up_bytes >= first.up_bytes


@st.composite
def days(draw: st.DrawFn) -> list[tuple[DesiredInstance, ...]]:
    """What a machine is told over a day: boots and revisions rise, GPUs are not shared."""
    versions = {number: [1, 0] for number in range(1, 5)}
    told_things = []
    for _ in range(draw(st.integers(1, 6))):
        instances = []
        for number, version in versions.items():
            version[0] += draw(st.integers(0, 1))
            version[1] += draw(st.integers(0, 1))
            if draw(st.booleans()):
                instances.append(
                    wanted(
                        number,
                        running=draw(st.booleans()),
                        revision=version[0],
                        boots=version[1],
                        gpus=(number - 1,),
                    )
                )
        told_things.append(tuple(instances))
    return told_things


@settings(max_examples=60)
@given(days(), st.lists(st.sampled_from(["", "kill", "deaf", "cut"]), min_size=6, max_size=6))
def test_whatever_happens_the_last_word_comes_true(
    words: list[tuple[DesiredInstance, ...]], mishaps: list[str]
) -> None:
    it = host()
    now_ms = 0
    generation = 0
    for word, mishap in zip(words, mishaps, strict=False):
        generation += 1
        now_ms += 300
        it.take(desired(*word, generation=generation), now_ms)
        if mishap == "kill":
            it.kill_agent()
        elif mishap == "cut":
            it.containers.power_cut(now_ms)
        it.containers.behaviour = Behaviour(deaf=mishap == "deaf")
        now_ms += 250
        report = it.observe(now_ms)
        assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
    it.containers.behaviour = Behaviour()
    it.take(desired(*words[min(len(words), len(mishaps)) - 1], generation=generation + 1), now_ms)
    for _ in range(20):
        now_ms += 1_000
        it.advance(now_ms)
    last = {each.id: each for each in words[min(len(words), len(mishaps)) - 1]}
    truth = it.containers.truth()
    assert truth.keys() <= last.keys()
    for number, each in last.items():
        container = truth.get(number)
        runs = container is not None and container.running
        assert runs == each.running or _ended_young(it, number)


def _ended_young(it: PretendHost, number: int) -> bool:
    """A container that lost its power before it had lived waits to be told, by design."""
    container = it.containers.truth().get(number)
    return (
        container is not None
        and container.finished_at_ms is not None
        and (container.finished_at_ms - (container.started_at_ms or 0)) < 10_000
    )


def test_a_step_takes_well_under_a_millisecond() -> None:
    it = host()
    it.take(desired(*(wanted(number, gpus=(number - 1,)) for number in range(1, 5))), 0)
    began = time.perf_counter()
    for step in range(1_000):
        it.observe(step * 5_000)
    assert (time.perf_counter() - began) / 1_000 < 0.001
