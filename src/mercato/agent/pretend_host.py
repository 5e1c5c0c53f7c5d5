"""A whole agent with a pretend machine under it, in virtual time: for the simulation.

The same plan, memory and reports as the real agent's, without tasks or waiting: a step is begun
when it is planned and is done when `advance` passes its time.
"""

from typing import Final

from mercato import __version__
from mercato.agent import notice
from mercato.agent import ports as port_rules
from mercato.agent.engine import EngineDown, StepFailed
from mercato.agent.memory import Failure, Memory
from mercato.agent.plan import (
    Action,
    Forget,
    Make,
    Remove,
    Restart,
    Seen,
    Settle,
    Stop,
    Warn,
    plan,
)
from mercato.agent.pretend import WELL, Behaviour, PretendMachine
from mercato.agent.standing import observed_instance
from mercato.agent.steps import BringsUp, instance_of
from mercato.market.hardware import Hardware
from mercato.wire.agent import Desired, DesiredInstance, Observed, ObservedVolume

_NEVER_TOLD: Final = 0


class PretendHost:
    """One simulated machine with its agent."""

    def __init__(self, machine: int, hardware: Hardware, behaviour: Behaviour = WELL) -> None:
        """Begin with an empty machine whose agent was told nothing yet."""
        self.machine = machine
        self.hardware = hardware
        self.containers = PretendMachine(behaviour)
        self._memory = Memory()
        self._runs = 0
        self._desired: dict[int, DesiredInstance] = {}
        self._volumes: frozenset[int] = frozenset()
        self._desired_generation = _NEVER_TOLD

    def take(self, desired: Desired, now_ms: int) -> None:
        """Be told everything that should be, and begin to do it."""
        if desired.machine != self.machine or desired.generation < self._desired_generation:
            return
        self._desired = {wanted.id: wanted for wanted in desired.instances}
        self._desired_generation = desired.generation
        self._volumes = frozenset(volume.id for volume in desired.volumes)
        self.advance(now_ms)

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due by now, then begin what is next."""
        self.containers.advance(now_ms)
        self._note_ends()
        if self._desired_generation == _NEVER_TOLD:
            return
        for action in plan(self._desired, self._seen()):
            try:
                self._begin(action, now_ms)
            except StepFailed as failure:
                assert isinstance(action, BringsUp)
                wanted = action.desired
                self._memory.change(
                    wanted.id,
                    failure=Failure(
                        revision=wanted.revision, boots=wanted.boots, message=str(failure)
                    ),
                    settled=False,
                    step="",
                )

    def observe(self, now_ms: int) -> Observed:
        """Everything on the machine as its agent sees it."""
        self.advance(now_ms)
        seen = self._seen()
        if seen.sees:
            self._measure(seen, now_ms)
        return Observed(
            agent=__version__,
            boot=f"run-{self._runs}",
            generation=self._memory.next_generation(),
            desired_generation=self._desired_generation,
            sees=seen.sees,
            trouble="" if seen.sees else "the pretend engine does not answer",
            hardware=self.hardware,
            instances=tuple(
                observed_instance(
                    instance,
                    self._desired.get(instance),
                    seen.containers.get(instance),
                    self._memory.of(instance),
                    progress=self._progress(instance, now_ms),
                )
                for instance in sorted(self._desired.keys() | seen.containers.keys())
            )
            if seen.sees
            else (),
            volumes=tuple(ObservedVolume(id=one, ready=True) for one in sorted(self._volumes))
            if seen.sees
            else (),
        )

    def kill_agent(self) -> None:
        """End the agent as kill -9 does and start it again: what runs on the machine goes on."""
        self._runs += 1
        self._desired = {}
        self._desired_generation = _NEVER_TOLD
        for instance in list(self.containers.truth()) + list(self._memory.instances):
            self.containers.give_up(instance)

    def next_due_ms(self) -> int | None:
        """When something happens by itself; None when nothing will."""
        return self.containers.next_due_ms()

    def _seen(self) -> Seen:
        try:
            contents = self.containers.contents()
        except EngineDown:
            return Seen(sees=False)
        return Seen(
            sees=True,
            containers={container.instance: container for container in contents},
            memory=dict(self._memory.instances),
            volumes=self._volumes,
        )

    def _note_ends(self) -> None:
        """Journal the steps that have been done."""
        truth = self.containers.truth()
        for instance, memory in list(self._memory.instances.items()):
            if not memory.step or self.containers.is_busy(instance):
                continue
            container = truth.get(instance)
            if memory.step != "stop" and container is not None and container.running:
                self._memory.change(instance, failure=None, settled=False, stopped=False, step="")
            elif memory.step == "stop":
                self._memory.change(instance, step="")

    def _begin(self, action: Action, now_ms: int) -> None:
        instance = instance_of(action)
        if isinstance(action, Remove):
            self.containers.remove(instance)
            self._memory.forget(instance)
        elif isinstance(action, Forget):
            self.containers.give_up(instance)
            self._memory.forget(instance)
        elif isinstance(action, Settle):
            self._memory.change(instance, settled=True)
        elif isinstance(action, BringsUp):
            self._bring_up(action, now_ms)
        elif isinstance(action, Warn):
            self._warn(action.desired)
        elif not self.containers.is_busy(instance):
            assert isinstance(action, Stop)
            self._memory.change(instance, stopped=True, step="stop", step_at_ms=now_ms)
            self.containers.stop(instance, now_ms)

    def _warn(self, wanted: DesiredInstance) -> None:
        self.containers.warn(wanted.id, notice.text(wanted))
        self._memory.change(wanted.id, notice_at_ms=notice.ends_at_ms(wanted))

    def _bring_up(self, action: BringsUp, now_ms: int) -> None:
        wanted = action.desired
        if self.containers.is_busy(wanted.id) or self._gpus_are_held(wanted):
            return
        self._memory.change(
            wanted.id,
            boots=wanted.boots,
            step=type(action).__name__.lower(),
            step_at_ms=now_ms,
        )
        if isinstance(action, Make):
            self._keep_ports(wanted)
            self.containers.make(wanted, now_ms)
            self._memory.change(wanted.id, notice_at_ms=0)
            return
        if isinstance(action, Restart):
            self._memory.change(wanted.id, stopped=True)
            self.containers.cut(wanted.id, now_ms)
        if self._memory.of(wanted.id).notice_at_ms != notice.ends_at_ms(wanted):
            self._warn(wanted)
        self.containers.start(wanted, now_ms)

    def _gpus_are_held(self, wanted: DesiredInstance) -> bool:
        needed = set(wanted.gpus)
        return any(
            other.running and other.instance != wanted.id and needed & set(other.gpus)
            for other in self.containers.truth().values()
        )

    def _keep_ports(self, wanted: DesiredInstance) -> None:
        network = self.hardware.network
        try:
            ports = port_rules.allocate(
                port_rules.wishes(wanted),
                self._memory.of(wanted.id).ports,
                set(self._memory.ports_of_others(wanted.id)),
                (network.port_first, network.port_last),
            )
        except port_rules.NoPortLeft as none_left:
            raise StepFailed(str(none_left)) from none_left
        self._memory.change(wanted.id, ports=ports)

    def _progress(self, instance: int, now_ms: int) -> str | None:
        step = self._memory.of(instance).step
        if step in {"", "stop"} or not self.containers.is_busy(instance):
            return None
        return self.containers.progress(instance, now_ms)

    def _measure(self, seen: Seen, now_ms: int) -> None:
        for instance, container in seen.containers.items():
            reading = self.containers.measure(instance, now_ms)
            if reading is not None:
                counters = self._memory.of(instance).counters.seen(container, reading)
                self._memory.change(instance, counters=counters)
