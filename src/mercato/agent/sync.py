"""A machine's day: look, tell, plan, do.

The host looks at its containers, tells the control plane everything it sees, is told everything
that should be, and does the difference. A lost connection changes nothing here.
"""

import asyncio
import contextlib
import errno
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from mercato import __version__
from mercato.agent.clock import Clock
from mercato.agent.engine import Contained, Engine, EngineDown, StepFailed, run_to_end
from mercato.agent.measuring import Measuring
from mercato.agent.memory import Memory
from mercato.agent.plan import Seen, plan
from mercato.agent.ports import SSH
from mercato.agent.standing import observed_instance
from mercato.agent.steps import Steps, instance_of
from mercato.agent.volumes import Volumes
from mercato.market.hardware import Hardware
from mercato.wire.agent import (
    SYNC_PERIOD_S,
    Answer,
    Ask,
    Desired,
    DesiredInstance,
    Logs,
    Observed,
    ObservedInstance,
)

_log = structlog.get_logger()

EXECUTE_BYTES_MAX: Final = 1_000_000
"""What a command prints beyond this is dropped."""

REFUSALS_MAX: Final = 3
"""So often an SSH port is tried before another is taken: somebody may know it, and a connection of
the machine's own may have it for a moment only."""

LOOKS_MAX: Final = 3
"""So often what is here is looked at for one report while steps end."""
CHANGES_GATHERED_S: Final = 0.05
"""Changes this close together are told in one report."""


class Door(Protocol):
    """The way in by SSH: one listening port per instance."""

    async def open(self, instance_id: int, port: int) -> None:
        """Listen on `port` for `instance_id`; the same call again changes nothing."""
        ...

    async def close(self, instance_id: int) -> None:
        """Stop listening; nothing when it is not open."""
        ...

    def set_keys(self, instance_id: int, keys: tuple[str, ...]) -> None:
        """Let these public keys in, and no other."""
        ...


class NoDoor:
    """No way in by SSH: the pretend engine has nowhere to go."""

    async def open(self, instance_id: int, port: int) -> None:
        """Do nothing."""

    async def close(self, instance_id: int) -> None:
        """Do nothing."""

    def set_keys(self, instance_id: int, keys: tuple[str, ...]) -> None:
        """Do nothing."""


class Host:
    """One machine under one agent."""

    def __init__(  # noqa: PLR0913 - the parts that a machine is made of
        self,
        *,
        machine: int,
        hardware: Hardware,
        engine: Engine,
        memory: Memory,
        door: Door,
        clock: Clock,
        boot: str,
        daemon_log: Callable[[int, int], str],
        port_is_free: Callable[[int], bool],
    ) -> None:
        """Put the parts together; nothing is looked at yet. `boot` names this run of the agent.

        `daemon_log` gives the last lines of the agent's own log about an instance: of which, and
        how many.
        """
        self.machine = machine
        self.hardware = hardware
        self.changed = asyncio.Event()
        """Set when there is something to tell."""
        self._engine = engine
        self._memory = memory
        self._door = door
        self._boot = boot
        self._daemon_log = daemon_log
        self._desired: dict[int, DesiredInstance] = {}
        self._desired_generation = 0
        self._told_what_should_be = False
        self._due = asyncio.Event()
        self._trouble = ""
        self._open_doors: set[int] = set()
        self._refusals: Counter[int] = Counter()
        """How often in a row the machine refused an instance's SSH port."""
        self._measuring = Measuring(engine, memory)
        self._volumes = Volumes(engine, self._something_changed)
        self._steps = Steps(
            engine,
            memory,
            clock,
            network=hardware.network,
            port_is_free=port_is_free,
            changed=self._something_changed,
        )

    def take(self, desired: Desired) -> None:
        """Be told everything that should be here. An older word than the last is ignored."""
        if desired.machine != self.machine or desired.generation < self._desired_generation:
            _log.warning("ignored what is not for this machine or is out of date")
            return
        self._desired = {wanted.id: wanted for wanted in desired.instances}
        self._desired_generation = desired.generation
        self._told_what_should_be = True
        self._volumes.take(desired.volumes)
        self._steps.give_up(self._desired)
        self._due.set()

    async def run(self) -> None:
        """Do what should be done, for ever: on being told, on a change, and now and then."""
        with contextlib.suppress(EngineDown, StepFailed):
            await self._engine.end_sessions()
        beside = [asyncio.create_task(self._watch()), asyncio.create_task(self._measure())]
        try:
            while True:
                # Not wait_for: in Python 3.11 it can swallow a cancellation.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SYNC_PERIOD_S):
                        await self._due.wait()
                self._due.clear()
                await self.act()
        finally:
            for task in beside:
                task.cancel()
            await self._steps.finish()
            await self._volumes.finish()
            for instance in tuple(self._open_doors):
                await self._close_door(instance)

    async def act(self) -> None:
        """Look, and begin to do the difference."""
        if not self._told_what_should_be:
            await self._look()
            return
        seen = await self._look()
        if seen.sees:
            self._volumes.begin()
        actions = (it for it in plan(self._desired, seen) if instance_of(it) not in seen.unsure)
        self._steps.begin(tuple(actions), seen.containers)
        await self._tend_doors(seen)

    async def observe(self) -> Observed:
        """Everything on the machine as it is now, written down before it is told."""
        seen = await self._look()
        return Observed(
            agent=__version__,
            boot=self._boot,
            generation=self._memory.next_generation(),
            desired_generation=seen.generation,
            sees=seen.sees,
            trouble=self._trouble,
            hardware=self.hardware,
            instances=self._instances(seen) if seen.sees else (),
            volumes=self._volumes.observed() if seen.sees else (),
        )

    async def answer(self, ask: Ask) -> Answer:
        """Do work that has an answer, within its deadline."""
        try:
            async with asyncio.timeout(ask.deadline_s):
                return await self._answer(ask)
        except TimeoutError:
            return Answer(id=ask.id, error=f"not done within {ask.deadline_s:g} s")
        except (EngineDown, StepFailed) as trouble:
            return Answer(id=ask.id, error=str(trouble))

    async def stop_all(self) -> None:
        """Remove every container of this agent, for a market that leaves nothing behind.

        What is in volumes is in the agent's own directory, and stays there.
        """
        with contextlib.suppress(EngineDown, StepFailed):
            containers = await self._engine.contents()
            await asyncio.gather(
                *(self._engine.remove(container.instance) for container in containers),
                return_exceptions=True,
            )
            await self._engine.release_volumes()

    async def _answer(self, ask: Ask) -> Answer:
        work = ask.work
        if isinstance(work, Logs):
            if work.daemon:
                return Answer(id=ask.id, output=self._daemon_log(work.instance, work.tail))
            return Answer(id=ask.id, output=await self._engine.logs(work.instance, work.tail))
        argv = ("/bin/sh", "-c", work.command)
        ran = await run_to_end(self._engine, work.instance, argv, EXECUTE_BYTES_MAX)
        return Answer(id=ask.id, output=ran.output, exit_code=ran.exit_code)

    async def _look(self) -> Seen:
        """What is here, all of one moment if there is such a moment.

        A look takes a while: when a step has ended meanwhile, or something else should be now, it
        may have seen what was before, and is taken again. Where steps end all the time the market
        hears all the same, and of what is unsure that it is still being done.
        """
        looks = 0
        while True:
            generation = self._desired_generation
            with self._steps.endings() as ended:
                seen = await self._look_once()
            looks += 1
            is_of_one_moment = not ended and generation == self._desired_generation
            if is_of_one_moment or looks == LOOKS_MAX:
                return msgspec.structs.replace(seen, generation=generation, unsure=ended)

    async def _look_once(self) -> Seen:
        try:
            contents = await self._engine.contents()
            await self._volumes.look()
        except (EngineDown, StepFailed) as down:
            if self._trouble != str(down):
                _log.warning("cannot see the containers", why=str(down))
            self._trouble = str(down)
            return Seen(sees=False)
        self._trouble = getattr(self._engine, "trouble", "")
        containers = {container.instance: container for container in contents}
        self._note_what_runs(containers)
        return Seen(
            sees=True,
            containers=containers,
            memory=dict(self._memory.instances),
            volumes=self._volumes.ready,
        )

    def _note_what_runs(self, containers: dict[int, Contained]) -> None:
        """What runs was not stopped, whatever was about to be done before a crash."""
        for instance, container in containers.items():
            memory = self._memory.of(instance)
            if container.running and memory.stopped and instance not in self._steps.busy:
                self._memory.change(instance, stopped=False)

    async def _measure(self) -> None:
        """Read what the containers use, about as often as it is told."""
        while True:
            await self._measuring.read((await self._look_once()).containers)
            await asyncio.sleep(SYNC_PERIOD_S)

    def _instances(self, seen: Seen) -> tuple[ObservedInstance, ...]:
        return tuple(
            observed_instance(
                instance,
                self._desired.get(instance),
                seen.containers.get(instance),
                self._memory.of(instance),
                progress=self._progress(instance, seen),
                usage=self._measuring.usage(seen.containers.get(instance)),
            )
            for instance in sorted(self._desired.keys() | seen.containers.keys())
        )

    def _progress(self, instance: int, seen: Seen) -> str | None:
        """What is being done to bring an instance up, or what it waits for."""
        wanted, said = self._desired.get(instance), self._steps.progress(instance)
        said = said or seen.unsure.get(instance)
        if wanted is None or not wanted.running or instance in seen.containers:
            return said
        return said or self._volumes.waiting_for(wanted)

    async def _tend_doors(self, seen: Seen) -> None:
        """Open the way into what runs and should; close every other."""
        if not seen.sees:
            return
        for instance in self._open_doors - self._desired.keys():
            await self._close_door(instance)
        for instance, wanted in self._desired.items():
            container = seen.containers.get(instance)
            port = self._memory.of(instance).ports.get(SSH)
            if wanted.ssh and container and container.running and port is not None:
                await self._open_door(wanted, port)
            elif instance in self._open_doors and instance not in self._steps.busy:
                await self._close_door(instance)

    async def _open_door(self, wanted: DesiredInstance, port: int) -> None:
        self._door.set_keys(wanted.id, wanted.ssh_keys)
        try:
            await self._door.open(wanted.id, port)
        except OSError as refused:
            _log.warning(
                "an SSH port cannot be opened", instance=wanted.id, port=port, why=str(refused)
            )
            self._refusals[wanted.id] += 1
            if refused.errno == errno.EADDRINUSE and self._refusals[wanted.id] >= REFUSALS_MAX:
                self._move_door(wanted)
            return
        self._refusals.pop(wanted.id, None)
        self._open_doors.add(wanted.id)

    def _move_door(self, wanted: DesiredInstance) -> None:
        """Let an instance be reached at another port, told with the next report."""
        try:
            port = self._steps.other_port(wanted, SSH)
        except StepFailed as none_left:
            _log.warning("an instance has no SSH port", instance=wanted.id, why=str(none_left))
            return
        del self._refusals[wanted.id]
        _log.warning("an instance has another SSH port", instance=wanted.id, port=port)
        self._something_changed()

    async def _close_door(self, instance: int) -> None:
        await self._door.close(instance)
        self._open_doors.discard(instance)

    async def _watch(self) -> None:
        """Notice changes in the containers as they happen, as far as the engine tells of them."""
        while True:
            try:
                await self._engine.wait_for_change()
            except (EngineDown, StepFailed):
                await asyncio.sleep(SYNC_PERIOD_S)
            await asyncio.sleep(CHANGES_GATHERED_S)
            self._something_changed()

    def _something_changed(self) -> None:
        self.changed.set()
        self._due.set()
