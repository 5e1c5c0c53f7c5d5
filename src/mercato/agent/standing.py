"""What is told of an instance: its actual state in the trade's words. Pure."""

from mercato.agent.engine import Contained
from mercato.agent.memory import InstanceMemory
from mercato.agent.plan import boots_of, interrupted
from mercato.agent.ports import reachable
from mercato.market.instance import Actual
from mercato.wire.agent import DesiredInstance, ObservedInstance, Usage


def standing(
    instance: int,
    wanted: DesiredInstance | None,
    container: Contained | None,
    memory: InstanceMemory,
    progress: str | None,
) -> tuple[Actual, str]:
    """The actual state of an instance and a message about it.

    `progress` is what a step that brings it up says at present; None when there is no such step.
    """
    if progress is not None:
        return Actual.LOADING, progress
    if container is not None and container.running:
        image = wanted.image if wanted is not None else f"instance {instance}"
        return Actual.RUNNING, f"success, running {image}{'/ssh' if container.ssh else ''}"
    if memory.failure is not None and (wanted is None or memory.failure.concerns(wanted)):
        return Actual.FAILED, memory.failure.message
    if container is None:
        return Actual.ABSENT, ""
    return _at_rest(wanted, container, memory)


def _at_rest(
    wanted: DesiredInstance | None, container: Contained, memory: InstanceMemory
) -> tuple[Actual, str]:
    if memory.stopped or (container.started_at_ms is None and not _runs(wanted)):
        return Actual.STOPPED, "stopped"
    if _runs(wanted) and (container.started_at_ms is None or interrupted(container)):
        return Actual.LOADING, "Starting again after its host was interrupted"
    because = f": {container.trouble}" if container.trouble else ""
    return Actual.EXITED, f"ended by itself with exit code {container.exit_code}{because}"


def _runs(wanted: DesiredInstance | None) -> bool:
    return wanted is not None and wanted.running


def observed_instance(
    instance: int,
    wanted: DesiredInstance | None,
    container: Contained | None,
    memory: InstanceMemory,
    *,
    progress: str | None = None,
    usage: Usage | None = None,
) -> ObservedInstance:
    """One instance as it is reported."""
    actual, message = standing(instance, wanted, container, memory, progress)
    runs = actual is Actual.RUNNING
    revision, boots = _versions(wanted, container, memory)
    return ObservedInstance(
        id=instance,
        revision=revision,
        boots=boots,
        actual=actual,
        message=message,
        started_at_ms=container.started_at_ms if runs and container else None,
        exit_code=container.exit_code if container and actual is Actual.EXITED else None,
        ports=reachable(memory.ports) if runs else {},
        usage=usage or Usage(),
        up_bytes=memory.counters.up,
        down_bytes=memory.counters.down,
    )


def _versions(
    wanted: DesiredInstance | None, container: Contained | None, memory: InstanceMemory
) -> tuple[int, int]:
    """The revision and boot that the state told is about."""
    runs = container is not None and container.running
    if memory.failure is not None and not runs:
        return memory.failure.revision, memory.failure.boots
    if container is not None:
        return container.revision, boots_of(container, memory)
    return (wanted.revision, wanted.boots) if wanted is not None else (0, memory.boots)
