"""Doing a plan: long steps, each journaled before it begins, one at a time per instance.

A step that is cut off by a crash needs no undoing: the next plan sees how far it came.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import structlog

from mercato.agent import notice
from mercato.agent import ports as port_rules
from mercato.agent.clock import Clock
from mercato.agent.engine import Contained, Engine, EngineDown, PortTaken, StepFailed
from mercato.agent.memory import Failure, Memory
from mercato.agent.plan import Action, Forget, Make, Remove, Restart, Settle, Start, Stop, Warn
from mercato.market.hardware import Network
from mercato.wire.agent import DesiredInstance

_log = structlog.get_logger()

BringsUp = Make | Start | Restart
PORTS_TRIED_MAX: Final = 5
"""So often an instance is made while other programs have the ports that it was to have."""

_FIRST_WORDS: Final = {Make: "Preparing", Start: "Starting", Restart: "Rebooting"}


class Steps:
    """The steps that are under way on one machine."""

    def __init__(
        self,
        engine: Engine,
        memory: Memory,
        clock: Clock,
        *,
        network: Network,
        port_is_free: Callable[[int], bool],
        changed: Callable[[], None],
    ) -> None:
        """Nothing is under way yet. `changed` is called whenever there is something to tell."""
        self._engine = engine
        self._memory = memory
        self._clock = clock
        self._span = (network.port_first, network.port_last)
        self._port_is_free = port_is_free
        self._changed = changed
        self._tasks: dict[int, tuple[Action, asyncio.Task[bool]]] = {}
        self._progress: dict[int, str] = {}
        self._noting: list[dict[int, str | None]] = []
        self._taken: set[int] = set()
        """Ports that looked free and were not, until this agent ends."""

    def progress(self, instance: int) -> str | None:
        """What the step that brings an instance up says; None when there is no such step."""
        return self._progress.get(instance)

    @property
    def busy(self) -> Collection[int]:
        """The instances that have a step under way."""
        return self._tasks.keys()

    @contextlib.contextmanager
    def endings(self) -> Iterator[Mapping[int, str | None]]:
        """The instances whose steps end within this, and what `progress` said of each."""
        noted: dict[int, str | None] = {}
        self._noting.append(noted)
        try:
            yield noted
        finally:
            self._noting = [each for each in self._noting if each is not noted]

    def begin(self, actions: Sequence[Action], containers: Mapping[int, Contained]) -> None:
        """Begin every action whose instance has nothing under way.

        `containers` is what the plan saw; what needs GPUs waits for what frees them.
        """
        for action in actions:
            instance = instance_of(action)
            if isinstance(action, Settle):
                self._memory.change(instance, settled=True)
            elif isinstance(action, Forget):
                self._memory.forget(instance)
            elif instance not in self._tasks:
                self._begin(action, instance, containers)

    def give_up(self, desired: Mapping[int, DesiredInstance]) -> None:
        """Cancel what brings up an instance that is no longer wanted so."""
        for instance, (action, task) in self._tasks.items():
            if isinstance(action, BringsUp) and not _still_wanted(action, desired.get(instance)):
                task.cancel()

    async def finish(self) -> None:
        """Cancel everything and wait for it; what was half done is found by the next plan."""
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, action: Action, instance: int, containers: Mapping[int, Contained]) -> None:
        if isinstance(action, BringsUp):
            self._progress[instance] = _FIRST_WORDS[type(action)]
            freeing = self._freeing(action.desired, containers)
        else:
            freeing = []
        task = asyncio.create_task(self._guarded(action, freeing))
        self._tasks[instance] = (action, task)
        # Not in the task itself: one that is cancelled before it ran would stay for ever.
        task.add_done_callback(lambda ended: self._ended(instance, ended))

    def _ended(self, instance: int, task: asyncio.Task[bool]) -> None:
        del self._tasks[instance]
        said = self._progress.pop(instance, None)
        for noted in self._noting:
            noted[instance] = said
        # What came to nothing is tried again at the next look and not at once.
        if task.cancelled() or task.result():
            self._changed()

    def _freeing(
        self, desired: DesiredInstance, containers: Mapping[int, Contained]
    ) -> list[asyncio.Task[bool]]:
        """The steps under way that free GPUs which `desired` needs."""
        return [
            task
            for instance, (action, task) in self._tasks.items()
            if isinstance(action, Stop | Remove)
            and instance in containers
            and set(containers[instance].gpus) & set(desired.gpus)
        ]

    async def _guarded(self, action: Action, freeing: Sequence[asyncio.Task[bool]]) -> bool:
        """Do the work, and turn its failure into something told; whether anything is new now."""
        instance = instance_of(action)
        try:
            if isinstance(action, BringsUp):
                if not await self._bring_up(action, freeing):
                    return False
            elif isinstance(action, Stop):
                await self._stop(action)
            elif isinstance(action, Warn):
                await self._warn(action.desired)
            else:
                assert isinstance(action, Remove)
                await self._remove(instance)
        except StepFailed as failure:
            _log.warning("step failed", instance=instance, why=str(failure))
            if isinstance(action, BringsUp):
                self._memory.change(
                    instance,
                    failure=Failure(
                        revision=action.desired.revision,
                        boots=action.desired.boots,
                        message=str(failure),
                    ),
                    settled=False,
                    step="",
                )
                return True
        except EngineDown as down:
            _log.warning("step interrupted", instance=instance, why=str(down))
        except Exception:  # noqa: BLE001 - a fault of ours in one step must not end the others
            _log.exception("step broke; the next plan tries again", instance=instance)
        else:
            _log.info("step done", instance=instance, step=type(action).__name__.lower())
            return True
        return False

    async def _stop(self, action: Stop) -> None:
        instance, now_ms = action.instance, self._clock.now_ms()
        self._memory.change(instance, stopped=True, step="stop", step_at_ms=now_ms)
        await self._engine.stop(instance, action.grace_s)
        self._memory.change(instance, step="")

    async def _warn(self, desired: DesiredInstance) -> None:
        await self._engine.warn(desired.id, notice.text(desired))
        self._memory.change(desired.id, notice_at_ms=notice.ends_at_ms(desired))

    async def _remove(self, instance: int) -> None:
        self._memory.change(instance, step="remove", step_at_ms=self._clock.now_ms())
        await self._engine.remove(instance)
        self._memory.forget(instance)

    async def _bring_up(self, action: BringsUp, freeing: Sequence[asyncio.Task[bool]]) -> bool:
        """Whether it was brought up: another may hold its GPUs still."""
        desired = action.desired
        if freeing:
            self._tell(desired.id, "Waiting for its GPUs")
            await asyncio.wait(freeing)
        if await self._gpus_are_held(desired):
            return False  # the next plan tries again
        name = type(action).__name__.lower()
        self._memory.change(
            desired.id, boots=desired.boots, step=name, step_at_ms=self._clock.now_ms()
        )
        if isinstance(action, Make):
            await self._make(desired)
            self._memory.change(desired.id, notice_at_ms=0)
            if desired.notice is not None:
                await self._warn(desired)
        else:
            if isinstance(action, Restart):
                self._memory.change(desired.id, stopped=True)
                await self._engine.stop(desired.id)
            if self._memory.of(desired.id).notice_at_ms != notice.ends_at_ms(desired):
                await self._warn(desired)  # what runs next should not read of an old notice
            await self._engine.start(desired)
        self._memory.change(desired.id, failure=None, settled=False, stopped=False, step="")
        return True

    async def _gpus_are_held(self, desired: DesiredInstance) -> bool:
        """Whether another container still runs on GPUs that this one needs."""
        needed = set(desired.gpus)
        return any(
            other.running and other.instance != desired.id and needed & set(other.gpus)
            for other in await self._engine.contents()
        )

    async def _make(self, desired: DesiredInstance) -> None:
        """Make an instance, at other ports when programs of the machine have taken some."""
        for left in reversed(range(PORTS_TRIED_MAX)):
            ports = self._ports(desired)
            try:
                await self._engine.make(desired, ports, lambda said: self._tell(desired.id, said))
            except PortTaken as taken:
                _log.warning("a port is taken", instance=desired.id, port=taken.port)
                self._taken.add(taken.port)
                if left == 0:
                    raise
            else:
                return

    def other_port(self, desired: DesiredInstance, wish: str) -> int:
        """Another outside port for a wish, which another program has taken the one of.

        For what the agent itself listens on: what the engine publishes is fixed with a container,
        and so is what a container's environment says of its ports. Refuses with StepFailed.
        """
        self._taken.add(self._memory.of(desired.id).ports[wish])
        return self._ports(desired)[wish]

    def _ports(self, desired: DesiredInstance) -> dict[str, int]:
        """The instance's outside ports, kept from now on."""
        had = self._memory.of(desired.id).ports
        try:
            ports = port_rules.allocate(
                port_rules.wishes(desired),
                {wish: port for wish, port in had.items() if port not in self._taken},
                {*self._memory.ports_of_others(desired.id), *self._taken},
                self._span,
                self._port_is_free,
            )
        except port_rules.NoPortLeft as none_left:
            raise StepFailed(str(none_left)) from none_left
        self._memory.change(desired.id, ports=ports)
        return ports

    def _tell(self, instance: int, said: str) -> None:
        if instance in self._progress and self._progress[instance] != said:
            self._progress[instance] = said
            self._changed()


def instance_of(action: Action) -> int:
    """The instance that an action is about."""
    return action.desired.id if isinstance(action, BringsUp | Warn) else action.instance


def _still_wanted(action: BringsUp, wanted: DesiredInstance | None) -> bool:
    return wanted is not None and wanted.running and wanted.revision == action.desired.revision
