"""The laws of the plan."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mercato.agent.engine import Contained
from mercato.agent.memory import Failure, InstanceMemory
from mercato.agent.notice import ends_at_ms
from mercato.agent.plan import (
    Action,
    Forget,
    Make,
    Remove,
    Restart,
    Seen,
    Settle,
    Start,
    Stop,
    Warn,
    plan,
)
from mercato.wire.agent import DesiredInstance
from tests.agent.builders import OUTBID, wanted

numbers = st.integers(1, 6)
small = st.integers(0, 2)


@st.composite
def desires(draw: st.DrawFn) -> dict[int, DesiredInstance]:
    return {
        number: wanted(
            number,
            running=draw(st.booleans()),
            revision=draw(small),
            boots=draw(small),
            ssh=draw(st.booleans()),
            gpus=draw(st.sampled_from([(0,), (1,), (0, 1), ()])),
            notice=draw(st.sampled_from([None, None, OUTBID])),
        )
        for number in draw(st.sets(numbers))
    }


@st.composite
def seens(draw: st.DrawFn) -> Seen:
    containers = {}
    for number in draw(st.sets(numbers)):
        running = draw(st.booleans())
        started = 1_000 if running else draw(st.sampled_from([None, 1_000]))
        containers[number] = Contained(
            instance=number,
            revision=draw(small),
            boots=draw(small),
            running=running,
            ssh=draw(st.booleans()),
            started_at_ms=started,
            finished_at_ms=None if running or not started else draw(st.sampled_from([2, 90_000])),
        )
    memory = {
        number: InstanceMemory(
            instance=number,
            boots=draw(small),
            stopped=draw(st.booleans()),
            settled=draw(st.booleans()),
            step=draw(st.sampled_from(["", "make", "restart", "stop"])),
            step_at_ms=draw(st.sampled_from([0, 500, 2_000])),
            notice_at_ms=draw(st.sampled_from([0, 5, OUTBID.yields_at_ms])),
            failure=draw(
                st.none()
                | st.builds(Failure, revision=small, boots=small, message=st.just("broken"))
            ),
        )
        for number in draw(st.sets(numbers))
    }
    return Seen(sees=draw(st.booleans()), containers=containers, memory=memory)


def done(actions: list[Action], seen: Seen) -> Seen:
    """A model engine on which every action succeeds, and the journal that goes with it."""
    containers, memory = dict(seen.containers), dict(seen.memory)
    for action in actions:
        match action:
            case Stop(instance):
                containers[instance] = msgspec.structs.replace(
                    containers[instance], running=False, finished_at_ms=99_000
                )
                memory[instance] = _changed(memory, instance, stopped=True, step="")
            case Remove(instance):
                del containers[instance]
                memory.pop(instance, None)
            case Forget(instance):
                del memory[instance]
            case Warn(it):
                memory[it.id] = _changed(memory, it.id, notice_at_ms=ends_at_ms(it))
            case Settle(instance):
                memory[instance] = _changed(memory, instance, settled=True)
            case Make(it) | Start(it) | Restart(it):
                old = containers.get(it.id)
                containers[it.id] = Contained(
                    instance=it.id,
                    revision=it.revision if isinstance(action, Make) or not old else old.revision,
                    boots=it.boots if isinstance(action, Make) or not old else old.boots,
                    running=True,
                    ssh=it.ssh,
                    started_at_ms=100_000,
                )
                memory[it.id] = _changed(
                    memory,
                    it.id,
                    boots=it.boots,
                    notice_at_ms=ends_at_ms(it),
                    failure=None,
                    stopped=False,
                    settled=False,
                    step="",
                )
    return Seen(sees=seen.sees, containers=containers, memory=memory)


def _changed(memory: dict[int, InstanceMemory], instance: int, **changes: object) -> InstanceMemory:
    return msgspec.structs.replace(
        memory.get(instance, InstanceMemory(instance=instance)), **changes
    )


def rising(desired: dict[int, DesiredInstance], seen: Seen) -> dict[int, DesiredInstance]:
    """Boots and revisions only rise: what is wanted is never older than what is there."""
    risen = {}
    for number, it in desired.items():
        container = seen.containers.get(number)
        memory = seen.memory.get(number, InstanceMemory())
        at_least = max(memory.boots, container.boots if container else 0)
        risen[number] = msgspec.structs.replace(it, boots=max(it.boots, at_least))
    return risen


@given(desires(), seens())
def test_after_doing_the_plan_the_plan_is_empty(
    desired: dict[int, DesiredInstance], seen: Seen
) -> None:
    desired = rising(desired, seen)
    after = done(plan(desired, seen), seen)
    assert plan(desired, after) == []


@given(desires(), seens())
def test_who_cannot_see_plans_nothing(desired: dict[int, DesiredInstance], seen: Seen) -> None:
    blind = msgspec.structs.replace(seen, sees=False)
    assert plan(desired, blind) == []


@given(desires(), seens())
def test_what_frees_gpus_comes_first(desired: dict[int, DesiredInstance], seen: Seen) -> None:
    takes = [isinstance(action, Make | Start | Restart) for action in plan(desired, seen)]
    assert takes == sorted(takes)


@given(desires(), seens())
def test_what_is_not_wanted_is_removed_and_nothing_else_is(
    desired: dict[int, DesiredInstance], seen: Seen
) -> None:
    seen = msgspec.structs.replace(seen, sees=True)
    removed = {it.instance for it in plan(desired, seen) if isinstance(it, Remove)}
    assert removed == seen.containers.keys() - desired.keys()


@given(desires())
def test_a_running_container_as_wanted_is_left_alone(desired: dict[int, DesiredInstance]) -> None:
    at_peace = {
        number: Contained(
            instance=number, revision=it.revision, boots=it.boots, running=True, started_at_ms=1
        )
        for number, it in desired.items()
        if it.running and it.notice is None
    }
    assert plan({n: desired[n] for n in at_peace}, Seen(sees=True, containers=at_peace)) == []


def test_programs_are_warned_once_and_told_when_it_is_taken_back() -> None:
    runs = Contained(instance=1, revision=1, boots=0, running=True, started_at_ms=1)
    told = InstanceMemory(instance=1, notice_at_ms=OUTBID.yields_at_ms)
    fresh = Seen(sees=True, containers={1: runs})
    after = Seen(sees=True, containers={1: runs}, memory={1: told})
    assert plan({1: wanted(1, notice=OUTBID)}, fresh) == [Warn(wanted(1, notice=OUTBID))]
    assert plan({1: wanted(1, notice=OUTBID)}, after) == []
    assert plan({1: wanted(1)}, after) == [Warn(wanted(1))]
    stops = wanted(1, running=False, notice=OUTBID, grace_s=2.5)
    assert plan({1: stops}, after) == [Stop(1, 2.5)]


def test_what_ended_by_itself_waits_to_be_told() -> None:
    ended = Contained(
        instance=1,
        revision=1,
        boots=0,
        running=False,
        ssh=False,
        started_at_ms=1_000,
        finished_at_ms=99_000,
        exit_code=0,
    )
    seen = Seen(sees=True, containers={1: ended})
    assert plan({1: wanted(1, ssh=False)}, seen) == []
    assert plan({1: wanted(1, ssh=False, running=False)}, seen) == [Settle(1)]
    settled = Seen(
        sees=True, containers={1: ended}, memory={1: InstanceMemory(instance=1, settled=True)}
    )
    assert plan({1: wanted(1, ssh=False)}, settled) == [Start(wanted(1, ssh=False))]


def test_a_kept_alive_container_that_ended_was_interrupted_and_starts_again() -> None:
    cut = Contained(
        instance=1,
        revision=1,
        boots=0,
        running=False,
        ssh=True,
        started_at_ms=1_000,
        finished_at_ms=99_000,
        exit_code=137,
    )
    assert plan({1: wanted(1)}, Seen(sees=True, containers={1: cut})) == [Start(wanted(1))]
