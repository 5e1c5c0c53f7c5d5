"""The host: look, tell, plan, do, with the pretend engine on the real clock."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from mercato.agent.clock import SystemClock
from mercato.agent.daemon_log import DaemonLog
from mercato.agent.engine import Contained, StepFailed
from mercato.agent.memory import Memory
from mercato.agent.pretend import Behaviour
from mercato.agent.pretend_engine import PretendEngine
from mercato.agent.sync import LOOKS_MAX, Host
from mercato.market.instance import Actual
from mercato.wire.agent import Ask, DesiredInstance, Execute, Logs, Observed, ObservedInstance
from tests.agent.builders import MACHINE, OUTBID, desired, hardware, wanted

QUICK = Behaviour(pull_ms=30, start_ms=10, stop_ms=10)


class RecordingDoor:
    """A door that notes what is open."""

    def __init__(self) -> None:
        self.opened: dict[int, int] = {}
        self.keys: dict[int, tuple[str, ...]] = {}

    async def open(self, instance_id: int, port: int) -> None:
        self.opened[instance_id] = port

    async def close(self, instance_id: int) -> None:
        self.opened.pop(instance_id, None)

    def set_keys(self, instance_id: int, keys: tuple[str, ...]) -> None:
        self.keys[instance_id] = keys


@contextlib.asynccontextmanager
async def living(
    engine: PretendEngine,
    memory: Memory,
    door: RecordingDoor | None = None,
    daemon_log: Callable[[int, int], str] = lambda instance, tail: f"{tail} lines of {instance}",
) -> AsyncIterator[Host]:
    host = Host(
        machine=MACHINE,
        hardware=hardware(),
        engine=engine,
        memory=memory,
        door=door or RecordingDoor(),
        clock=SystemClock(),
        boot="one",
        daemon_log=daemon_log,
        port_is_free=lambda _port: True,
    )
    task = asyncio.create_task(host.run())
    try:
        yield host
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(
    host: Host, number: int, true: Callable[[ObservedInstance | None], bool]
) -> ObservedInstance | None:
    async with asyncio.timeout(20.0):
        while True:
            report = await host.observe()
            found = next((each for each in report.instances if each.id == number), None)
            if true(found):
                return found
            host.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await host.changed.wait()


async def true_soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not condition():  # noqa: ASYNC110 - the door has no event of its own
            await asyncio.sleep(0.01)


def runs(found: ObservedInstance | None) -> bool:
    return found is not None and found.actual is Actual.RUNNING


async def test_an_instances_life() -> None:
    door = RecordingDoor()
    async with living(PretendEngine(SystemClock(), QUICK), Memory(), door) as host:
        host.take(desired(wanted(1)))
        running = await until(host, 1, runs)
        assert running is not None
        await true_soon(lambda: door.opened == {1: running.ports["22/tcp"]})
        host.take(desired(wanted(1, running=False), generation=2))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.STOPPED)
        host.take(desired(generation=3))
        await until(host, 1, lambda it: it is None)
        await true_soon(lambda: not door.opened)


async def test_an_agent_that_comes_back_touches_nothing(tmp_path: Path) -> None:
    engine = PretendEngine(SystemClock(), QUICK)
    memory = Memory(tmp_path / "agent.sqlite")
    async with living(engine, memory) as host:
        host.take(desired(wanted(1)))
        before = await until(host, 1, runs)
        last = await host.observe()
    memory.close()
    async with living(engine, Memory(tmp_path / "agent.sqlite")) as host:
        first = await host.observe()
        assert first.desired_generation == 0
        assert first.generation > last.generation
        assert runs(first.instances[0])
        host.take(desired(wanted(1), generation=9))
        await host.act()
        after = await until(host, 1, runs)
        assert before is not None
        assert after is not None
        assert (after.started_at_ms, after.ports) == (before.started_at_ms, before.ports)


async def test_what_is_no_longer_wanted_is_given_up_half_way() -> None:
    slow = Behaviour(pull_ms=60_000)
    async with living(PretendEngine(SystemClock(), slow), Memory()) as host:
        host.take(desired(wanted(1)))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.LOADING)
        host.take(desired(generation=2))
        await until(host, 1, lambda it: it is None)


async def test_a_word_for_another_machine_or_out_of_date_is_ignored() -> None:
    async with living(PretendEngine(SystemClock(), QUICK), Memory()) as host:
        host.take(desired(wanted(1), generation=5))
        host.take(desired(generation=4))
        assert (await host.observe()).desired_generation == 5
        await until(host, 1, runs)


async def test_a_deaf_engine_is_told_as_trouble_and_does_not_end_the_agent() -> None:
    engine = PretendEngine(SystemClock(), QUICK)
    async with living(engine, Memory()) as host:
        host.take(desired(wanted(1)))
        await until(host, 1, runs)
        engine.machine.behaviour = Behaviour(deaf=True)
        blind = await host.observe()
        assert not blind.sees
        assert "does not answer" in blind.trouble
        answer = await host.answer(Ask(id=1, deadline_s=1.0, work=Logs(instance=1)))
        assert answer.error is None  # the pretend log needs no engine
        engine.machine.behaviour = QUICK
        assert runs((await host.observe()).instances[0])


async def test_asks_are_answered() -> None:
    async with living(PretendEngine(SystemClock(), QUICK), Memory()) as host:
        host.take(desired(wanted(1)))
        await until(host, 1, runs)
        ran = await host.answer(Ask(id=4, deadline_s=1.0, work=Execute(instance=1, command="ls")))
        assert (ran.id, ran.output, ran.error) == (4, "/bin/sh -c ls\n", None)
        absent = await host.answer(
            Ask(id=5, deadline_s=1.0, work=Execute(instance=2, command="ls"))
        )
        assert absent.error == "the instance does not run"
        log = await host.answer(
            Ask(id=6, deadline_s=1.0, work=Logs(instance=0, tail=3, daemon=True))
        )
        assert log.output == "3 lines of 0"


class RefusingEngine(PretendEngine):
    """It has no other image than `base`."""

    async def make(
        self, desired: DesiredInstance, ports: Mapping[str, int], tell: Callable[[str], None]
    ) -> None:
        if desired.image != "base":
            raise StepFailed(f"there is no image {desired.image}")
        await super().make(desired, ports, tell)


class StuckEngine(PretendEngine):
    """It can neither remove nor warn, and says so at once."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), QUICK)
        self.refused = 0

    async def remove(self, instance: int) -> None:
        self._refuse(f"the files of {instance} are busy")

    async def warn(self, instance: int, text: str) -> None:
        self._refuse(f"there is no place for {text!r} in {instance}")

    def _refuse(self, why: str) -> None:
        self.refused += 1
        raise StepFailed(why)


@pytest.mark.parametrize("step", ["remove", "warn"])
async def test_what_fails_at_once_is_not_tried_at_once_again(step: str) -> None:
    engine = StuckEngine()
    async with living(engine, Memory()) as host:
        host.take(desired(wanted(1)))
        await until(host, 1, runs)
        host.changed.clear()
        warned = (wanted(1, notice=OUTBID),) if step == "warn" else ()
        host.take(desired(*warned, generation=2))
        await true_soon(lambda: engine.refused == 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(host.changed.wait(), 0.5)
        assert engine.refused == 1
        host.take(desired(*warned, generation=3))
        await true_soon(lambda: engine.refused == 2)


async def test_a_renter_reads_of_no_other_instance_in_the_agents_log() -> None:
    log = DaemonLog()
    refusing = RefusingEngine(SystemClock(), QUICK)
    async with living(refusing, Memory(), daemon_log=log.tail) as host:
        host.take(
            desired(
                wanted(1, image="of-one"),
                wanted(12, gpus=(1,), image="instance=1"),
                wanted(3, gpus=(2,)),
            )
        )
        for number in (1, 12):
            await until(host, number, lambda it: it is not None and it.actual is Actual.FAILED)
        told = {
            number: await host.answer(
                Ask(id=1, deadline_s=1.0, work=Logs(instance=number, daemon=True))
            )
            for number in (1, 12, 2)
        }
        await true_soon(lambda: "step=make" in log.tail(3, 1))
    assert [line.count("of-one") for line in told[1].output.splitlines()] == [1]
    assert [line.count("image instance=1") for line in told[12].output.splitlines()] == [1]
    assert told[2].output == ""


class HeldLook(PretendEngine):
    """What one look sees is told long after it saw it."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), QUICK)
        self.saw, self.go_on = asyncio.Event(), asyncio.Event()
        self._held: asyncio.Task[Observed] | None = None

    async def look(self, host: Host) -> asyncio.Task[Observed]:
        """A report that is being made: it has seen, and waits until it may `go_on`."""
        self._held = asyncio.create_task(host.observe())
        await self.saw.wait()
        return self._held

    async def contents(self) -> tuple[Contained, ...]:
        found = await super().contents()
        if asyncio.current_task() is self._held and not self.saw.is_set():
            self.saw.set()
            await self.go_on.wait()
        return found

    async def remove(self, instance: int) -> None:
        del instance
        await asyncio.Event().wait()  # it takes longer than the test

    def runs(self, number: int) -> bool:
        there = self.machine.truth()
        return number in there and there[number].running


async def test_what_started_during_a_look_is_not_reported_as_ended() -> None:
    engine = HeldLook()
    async with living(engine, Memory()) as host:
        host.take(desired(wanted(1, ssh=False)))
        await until(host, 1, runs)
        host.take(desired(wanted(1, ssh=False, running=False), generation=2))
        await until(host, 1, lambda one: one is not None and one.actual is Actual.STOPPED)
        report = await engine.look(host)
        host.take(desired(wanted(1, ssh=False, boots=1), generation=3))
        async with asyncio.timeout(10):
            while not engine.runs(1) or host._steps.busy:  # noqa: ASYNC110 - another task's doing
                await asyncio.sleep(0.01)
        engine.go_on.set()
        (one,) = (await report).instances
        assert one.actual is Actual.RUNNING, one


async def test_no_report_says_that_what_came_during_its_look_is_gone() -> None:
    engine = HeldLook()
    async with living(engine, Memory()) as host:
        looking = await engine.look(host)
        host.take(desired(wanted(1)))
        async with asyncio.timeout(10):
            while not engine.runs(1):  # noqa: ASYNC110 - another task's doing
                await asyncio.sleep(0.01)
        host.take(desired(generation=2))
        engine.go_on.set()
        report = await looking
        assert engine.runs(1)
        assert report.desired_generation < 2 or report.instances, report


class ManyStarts(PretendEngine):
    """Containers are made one after the other, and no look ends before another is made."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), QUICK)
        self.made = asyncio.Condition()
        self.looks: Counter[object] = Counter()

    async def make(
        self, desired: DesiredInstance, ports: Mapping[str, int], tell: Callable[[str], None]
    ) -> None:
        await asyncio.sleep(0.02 * desired.id)
        await super().make(desired, ports, tell)
        async with self.made:
            self.made.notify_all()

    async def contents(self) -> tuple[Contained, ...]:
        self.looks[asyncio.current_task()] += 1
        found = await super().contents()
        async with self.made:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self.made.wait()
        await asyncio.sleep(0.01)  # its step ends too
        return found


async def test_a_report_comes_though_steps_end_all_the_time() -> None:
    engine = ManyStarts()
    async with living(engine, Memory()) as host:
        host.take(desired(*(wanted(n, gpus=(), ssh=False) for n in range(1, 61))))
        reporting = asyncio.create_task(host.observe())
        report = await reporting
        assert engine.looks[reporting] <= LOOKS_MAX
        told = {one.actual for one in report.instances}
        assert told <= {Actual.ABSENT, Actual.LOADING, Actual.RUNNING}, told


async def test_stop_all_leaves_nothing() -> None:
    engine = PretendEngine(SystemClock(), QUICK)
    async with living(engine, Memory()) as host:
        host.take(desired(wanted(1), wanted(2, gpus=(1,))))
        await until(host, 1, runs)
        await until(host, 2, runs)
    await host.stop_all()
    assert not engine.machine.truth()
