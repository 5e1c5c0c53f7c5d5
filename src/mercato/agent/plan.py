"""What to do: the difference between what should be and what is. Pure.

The law: when every action of a plan has been done, the next plan is empty.
"""

from collections.abc import Mapping

import msgspec

from mercato.agent import notice
from mercato.agent.engine import Contained
from mercato.agent.memory import InstanceMemory
from mercato.wire.agent import DesiredInstance


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is on the machine: its containers, and what the agent remembers of each instance."""

    sees: bool
    """False when the engine cannot be asked; nothing else then means anything."""
    containers: Mapping[int, Contained] = {}
    memory: Mapping[int, InstanceMemory] = {}
    volumes: frozenset[int] = frozenset()
    """Those that can be mounted."""
    generation: int = 0
    """What should be, as it was known when this was seen."""
    unsure: Mapping[int, str | None] = {}
    """The instances whose steps ended while this was seen, so that it may be of before or after,
    and what was told of these steps."""


class Stop(msgspec.Struct, frozen=True):
    """Stop a container that should not run."""

    instance: int
    grace_s: float = 10.0
    """How long its programs have to end themselves."""


class Remove(msgspec.Struct, frozen=True):
    """Remove a container that should not exist."""

    instance: int


class Settle(msgspec.Struct, frozen=True):
    """Note that an end or a failure was taken account of: being wanted again means a new try."""

    instance: int


class Make(msgspec.Struct, frozen=True):
    """Make a container and start it, in the place of one of an older revision."""

    desired: DesiredInstance


class Start(msgspec.Struct, frozen=True):
    """Start a container that is there."""

    desired: DesiredInstance


class Restart(msgspec.Struct, frozen=True):
    """Stop a container and start it again."""

    desired: DesiredInstance


class Warn(msgspec.Struct, frozen=True):
    """Tell a container's programs that its GPUs go to somebody else, or stay after all."""

    desired: DesiredInstance


class Forget(msgspec.Struct, frozen=True):
    """Drop what is remembered of an instance that is gone."""

    instance: int


Action = Stop | Remove | Settle | Make | Start | Restart | Warn | Forget

_ORDER = (Stop, Remove, Settle, Forget, Warn, Restart, Start, Make)
"""Actions that free GPUs come before those that need them."""


def plan(desired: Mapping[int, DesiredInstance], seen: Seen) -> list[Action]:
    """The actions that turn what is into what should be, those that free GPUs first.

    `seen.containers` holds ours only, so a stranger's container cannot be named here.
    """
    if not seen.sees:
        return []
    actions: list[Action] = [
        Remove(instance) for instance in seen.containers if instance not in desired
    ]
    actions += [
        Forget(instance)
        for instance in seen.memory
        if instance not in desired and instance not in seen.containers
    ]
    for instance, wanted in desired.items():
        memory = seen.memory.get(instance, InstanceMemory())
        action = _for_one(wanted, seen.containers.get(instance), memory)
        if isinstance(action, Make) and not _mountable(wanted, seen):
            continue
        if action is not None:
            actions.append(action)
    return sorted(actions, key=lambda action: _ORDER.index(type(action)))


def _mountable(wanted: DesiredInstance, seen: Seen) -> bool:
    """Whether every volume is there that an instance mounts; it is made when they are."""
    return {mount.volume for mount in wanted.mounts} <= seen.volumes


def _for_one(
    wanted: DesiredInstance, container: Contained | None, memory: InstanceMemory
) -> Action | None:
    if not wanted.running:
        return _for_idle(wanted, container, memory)
    if memory.failure is not None and memory.failure.concerns(wanted) and not memory.settled:
        # What runs is older than what failed; it gives its GPUs up before the failure is told.
        return Stop(container.instance) if container is not None and container.running else None
    if container is None or container.revision != wanted.revision:
        return Make(wanted)
    old_boot = _needs_boot(wanted, container, memory)
    if container.running:
        if old_boot:
            return Restart(wanted)
        return Warn(wanted) if memory.notice_at_ms != notice.ends_at_ms(wanted) else None
    may_start = memory.settled or memory.stopped or old_boot or container.started_at_ms is None
    return Start(wanted) if may_start or interrupted(container) else None


def _for_idle(
    wanted: DesiredInstance, container: Contained | None, memory: InstanceMemory
) -> Action | None:
    if container is not None and container.running:
        return Stop(container.instance, wanted.grace_s)
    if memory.settled or (memory.stopped and memory.failure is None):
        return None
    if container is not None:
        return Settle(container.instance)
    return Settle(memory.instance) if memory.failure is not None else None


def _needs_boot(wanted: DesiredInstance, container: Contained, memory: InstanceMemory) -> bool:
    """Whether a reboot is due, or was begun and cut off before it happened."""
    began = container.started_at_ms or 0
    cut_off = memory.step == "restart" and began < memory.step_at_ms
    return cut_off or boots_of(container, memory) != wanted.boots


def boots_of(container: Contained, memory: InstanceMemory) -> int:
    """Which boot the container is in."""
    return max(container.boots, memory.boots)


_LIVED_MS = 10_000
"""A kept-alive container that ended sooner than this has something wrong with it."""


def interrupted(container: Contained) -> bool:
    """Whether a container ended that cannot end by itself: its host or its engine was restarted."""
    if not container.ssh or container.running:
        return False
    began, ended = container.started_at_ms, container.finished_at_ms
    return began is not None and ended is not None and ended - began >= _LIVED_MS
