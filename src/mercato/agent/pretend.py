"""An engine without containers: shipped code, for `--pretend`, tests and the simulation.

`PretendMachine` is told the time and never waits, so a simulation can drive a year of it in
seconds. On request it is slow, deaf, full, or lies.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mercato.agent.engine import Contained, EngineDown, Measured, StepFailed
from mercato.wire.agent import DesiredInstance, Usage


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How a pretend engine behaves."""

    pull_ms: int = 400
    """How long getting an image takes that is not here yet."""
    start_ms: int = 100
    stop_ms: int = 100
    deaf: bool = False
    """It cannot be asked; what runs on it goes on running."""
    full: bool = False
    """Its disk is full: nothing can be made."""
    lies: bool = False
    """It says that what runs has ended."""
    exit_after_ms: int | None = None
    """Containers that are not kept alive end by themselves after so long."""
    exit_code: int = 0
    up_bytes_per_s: int = 1_000
    down_bytes_per_s: int = 2_000


WELL: Final = Behaviour()

_MISSING_WORD: Final = "missing"
"""An image with this word in its name cannot be found."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Work that will be done at a known time."""

    done_at_ms: int
    pulled_at_ms: int
    runs: bool
    """Whether a container runs at the end."""
    desired: DesiredInstance | None = None


class PretendMachine:
    """Containers of the mind. Every method takes the time and none waits."""

    def __init__(self, behaviour: Behaviour = WELL) -> None:
        """Begin with no container and no image."""
        self.behaviour = behaviour
        self._containers: dict[int, Contained] = {}
        self._pending: dict[int, Pending] = {}
        self._images: set[str] = set()
        self.notices: dict[int, str] = {}
        """What the file of notices says in each container that has one."""

    def advance(self, now_ms: int) -> bool:
        """Let everything happen that is due by now; whether anything did."""
        happened = False
        for instance, pending in sorted(self._pending.items()):
            if pending.done_at_ms <= now_ms:
                del self._pending[instance]
                self._finish(instance, pending)
                happened = True
        lifetime = self.behaviour.exit_after_ms
        if lifetime is not None:
            happened = self._end_old(lifetime, now_ms) or happened
        return happened

    def contents(self) -> tuple[Contained, ...]:
        """What is told of the containers. Refuses with EngineDown when deaf."""
        self._hear()
        if self.behaviour.lies:
            return tuple(
                msgspec.structs.replace(container, running=False, exit_code=1)
                for container in self._containers.values()
            )
        return tuple(self._containers.values())

    def truth(self) -> Mapping[int, Contained]:
        """What is really there, whatever is told."""
        return self._containers

    def is_busy(self, instance: int) -> bool:
        """Whether work on an instance is under way."""
        return instance in self._pending

    def next_due_ms(self) -> int | None:
        """When the next work is done; None when there is none."""
        return min((pending.done_at_ms for pending in self._pending.values()), default=None)

    def progress(self, instance: int, now_ms: int) -> str:
        """What the work on an instance says."""
        pending = self._pending.get(instance)
        if pending is None or pending.desired is None:
            return ""
        left = pending.pulled_at_ms - now_ms
        if left <= 0:
            return "Starting the container"
        share = 1.0 - left / max(1, self.behaviour.pull_ms)
        return f"Pulling: layer {int(share * 5)}/5 {max(0.0, share):.0%}"

    def make(self, desired: DesiredInstance, now_ms: int) -> int:
        """Begin to make and start a container; when it will be done. Refuses with StepFailed."""
        self._hear()
        if self.behaviour.full:
            raise StepFailed("the host's disk is full")
        if _MISSING_WORD in desired.image:
            raise StepFailed(f"image {desired.image} was not found; check its name and tag")
        old = self._containers.get(desired.id)
        if old is not None and old.revision != desired.revision:
            del self._containers[desired.id]
            self.notices.pop(desired.id, None)
        pull_ms = 0 if desired.image in self._images else self.behaviour.pull_ms
        return self._begin(desired, now_ms, now_ms + pull_ms)

    def start(self, desired: DesiredInstance, now_ms: int) -> int:
        """Begin to start a container; when it will run. Refuses with StepFailed."""
        self._hear()
        if desired.id not in self._containers:
            raise StepFailed("there is no such container")
        return self._begin(desired, now_ms, now_ms)

    def stop(self, instance: int, now_ms: int) -> int:
        """Begin to stop a container; when it will have stopped."""
        self._hear()
        container = self._containers.get(instance)
        if container is None or not container.running:
            return now_ms
        done = now_ms + self.behaviour.stop_ms
        self._pending[instance] = Pending(done_at_ms=done, pulled_at_ms=now_ms, runs=False)
        return done

    def cut(self, instance: int, now_ms: int) -> None:
        """End a container at once, as the first half of a reboot."""
        self._hear()
        if self._containers[instance].running:
            self._end(instance, now_ms, 137)

    def warn(self, instance: int, text: str) -> None:
        """Write the file of notices. Refuses with StepFailed."""
        self._hear()
        if instance not in self._containers:
            raise StepFailed("there is no such container")
        self.notices[instance] = text

    def remove(self, instance: int) -> None:
        """Remove a container at once."""
        self._hear()
        self.notices.pop(instance, None)
        self._pending.pop(instance, None)
        self._containers.pop(instance, None)

    def give_up(self, instance: int) -> None:
        """Drop the work on an instance that is under way."""
        self._pending.pop(instance, None)

    def measure(self, instance: int, now_ms: int) -> Measured | None:
        """What a running container uses; None when it does not run."""
        self._hear()
        container = self._containers.get(instance)
        if container is None or not container.running or container.started_at_ms is None:
            return None
        seconds = max(0, now_ms - container.started_at_ms) // 1_000
        return Measured(
            usage=Usage(cpu_percent=5.0, ram_gb=0.1, disk_gb=0.1, gpu_percent=50.0),
            up_bytes=seconds * self.behaviour.up_bytes_per_s,
            down_bytes=seconds * self.behaviour.down_bytes_per_s,
        )

    def power_cut(self, now_ms: int) -> None:
        """End everything that runs, as when the host loses power."""
        self._pending.clear()
        for instance, container in self._containers.items():
            if container.running:
                self._end(instance, now_ms, 137)

    def _hear(self) -> None:
        if self.behaviour.deaf:
            raise EngineDown("the pretend engine does not answer")

    def _begin(self, desired: DesiredInstance, now_ms: int, pulled_at_ms: int) -> int:
        assert pulled_at_ms >= now_ms
        done = pulled_at_ms + self.behaviour.start_ms
        self._pending[desired.id] = Pending(
            done_at_ms=done, pulled_at_ms=pulled_at_ms, runs=True, desired=desired
        )
        return done

    def _finish(self, instance: int, pending: Pending) -> None:
        if not pending.runs:
            self._end(instance, pending.done_at_ms, 137)
            return
        desired = pending.desired
        assert desired is not None
        self._images.add(desired.image)
        old = self._containers.get(instance)
        self._containers[instance] = Contained(
            instance=instance,
            revision=desired.revision,
            boots=old.boots if old is not None else desired.boots,
            running=True,
            ssh=desired.ssh,
            gpus=desired.gpus,
            created_at_ms=old.created_at_ms if old is not None else pending.done_at_ms,
            started_at_ms=pending.done_at_ms,
        )

    def _end_old(self, lifetime_ms: int, now_ms: int) -> bool:
        ended = [
            (instance, container.started_at_ms + lifetime_ms)
            for instance, container in self._containers.items()
            if container.running
            and not container.ssh
            and container.started_at_ms is not None
            and container.started_at_ms + lifetime_ms <= now_ms
        ]
        for instance, ended_at_ms in ended:
            self._end(instance, ended_at_ms, self.behaviour.exit_code)
        return bool(ended)

    def _end(self, instance: int, ended_at_ms: int, exit_code: int) -> None:
        self._containers[instance] = msgspec.structs.replace(
            self._containers[instance],
            running=False,
            finished_at_ms=ended_at_ms,
            exit_code=exit_code,
        )
