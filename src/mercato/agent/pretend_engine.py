"""The pretend machine as an engine of a running agent, on the real clock."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mercato.agent.clock import Clock
from mercato.agent.engine import STOP_GRACE_S, Contained, Measured, StepFailed
from mercato.agent.pretend import WELL, Behaviour, PretendMachine
from mercato.wire.agent import DesiredInstance, DesiredVolume

_TELL_EVERY_S: Final = 0.2
_LOOK_EVERY_S: Final = 0.5


class PretendSession:
    """A command that was only pretended: it prints itself."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Have one line of output."""
        self._left: list[bytes] = [(" ".join(argv) + "\n").encode()]

    async def read(self) -> tuple[int, bytes] | None:
        """The one line, then the end."""
        return (1, self._left.pop()) if self._left else None

    async def write(self, data: bytes) -> None:
        """Take no notice."""

    async def write_eof(self) -> None:
        """Take no notice."""

    async def resize(self, columns: int, rows: int) -> None:
        """Take no notice."""

    async def signal(self, number: int) -> None:
        """Take no notice."""

    async def exit_code(self) -> int:
        """It always succeeds."""
        return 0

    async def close(self) -> None:
        """Have nothing to let go of."""


class PretendEngine:
    """The port of engine.py over a pretend machine."""

    def __init__(self, clock: Clock, behaviour: Behaviour = WELL) -> None:
        """Begin with an empty machine."""
        self.machine = PretendMachine(behaviour)
        self._clock = clock
        self._volumes: set[int] = set()

    async def contents(self) -> tuple[Contained, ...]:
        """Every container."""
        self._advance()
        return self.machine.contents()

    async def measure(self, instance: int) -> Measured | None:
        """What a running container uses."""
        return self.machine.measure(instance, self._clock.now_ms())

    async def make(
        self, desired: DesiredInstance, ports: Mapping[str, int], tell: Callable[[str], None]
    ) -> None:
        """Pretend to get the image and make the container. Refuses with StepFailed."""
        assert all(0 < port < 65_536 for port in ports.values())
        self.machine.make(desired, self._clock.now_ms())
        await self._done(desired.id, tell)

    async def start(self, desired: DesiredInstance) -> None:
        """Pretend to start the container."""
        self.machine.start(desired, self._clock.now_ms())
        await self._done(desired.id)

    async def stop(self, instance: int, grace_s: float = STOP_GRACE_S) -> None:  # noqa: ARG002 - it ends at once
        """Pretend to stop the container."""
        self.machine.stop(instance, self._clock.now_ms())
        await self._done(instance)

    async def warn(self, instance: int, text: str) -> None:
        """Pretend to write the file of notices."""
        self.machine.warn(instance, text)

    async def remove(self, instance: int) -> None:
        """Pretend to remove the container."""
        self.machine.remove(instance)

    async def logs(self, instance: int, tail: int) -> str:
        """One line, whatever happened."""
        return f"pretend container of instance {instance}\n" if tail > 0 else ""

    async def exec_start(
        self,
        instance: int,
        argv: Sequence[str],
        *,
        tty: bool = False,  # noqa: ARG002 - there is no terminal
        env: Mapping[str, str] | None = None,  # noqa: ARG002 - nothing reads it
        workdir: str | None = None,  # noqa: ARG002 - there is no directory
        size: tuple[int, int] | None = None,  # noqa: ARG002 - there is no terminal
    ) -> PretendSession:
        """Pretend to run a command. Refuses with StepFailed when nothing runs there."""
        container = self.machine.truth().get(instance)
        if container is None or not container.running:
            raise StepFailed("the instance does not run")
        return PretendSession(argv)

    async def end_sessions(self) -> None:
        """Have nothing to end."""

    async def pid(self, instance: int) -> int:  # noqa: ARG002 - there is no process
        """0: there is no process."""
        return 0

    async def volumes(self) -> frozenset[int]:
        """Every pretend volume."""
        return frozenset(self._volumes)

    async def make_volume(self, volume: DesiredVolume) -> None:
        """Pretend to make a volume."""
        self._volumes.add(volume.id)

    async def remove_volume(self, volume: int) -> None:
        """Pretend to remove a volume."""
        self._volumes.discard(volume)

    async def release_volumes(self) -> None:
        """Have nothing to let go of."""

    async def wait_for_change(self) -> None:
        """Return when something happened in the pretend machine."""
        while not self._advance():  # noqa: ASYNC110 - what it waits for is the clock
            await asyncio.sleep(_LOOK_EVERY_S)

    async def close(self) -> None:
        """Have nothing to let go of."""

    async def _done(self, instance: int, tell: Callable[[str], None] | None = None) -> None:
        """Wait until the work on an instance is done; drop it when cancelled."""
        try:
            while self.machine.is_busy(instance):
                now_ms = self._clock.now_ms()
                due_ms = self.machine.next_due_ms()
                if tell is not None:
                    tell(self.machine.progress(instance, now_ms))
                left_s = 0.0 if due_ms is None else max(0, due_ms - now_ms) / 1_000
                await asyncio.sleep(min(_TELL_EVERY_S, left_s))
                self._advance()
        except asyncio.CancelledError:
            self.machine.give_up(instance)
            raise

    def _advance(self) -> bool:
        return self.machine.advance(self._clock.now_ms())
