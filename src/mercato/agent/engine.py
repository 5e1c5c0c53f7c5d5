"""What a container engine must do for the agent: the port.

Two engines are shipped: `docker` drives a Docker Engine, `pretend` has no containers at all. An
engine keeps no memory of its own; what must outlive it stands in its containers' labels and in the
agent's journal.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from mercato.wire.agent import DesiredInstance, DesiredVolume, Usage

STOP_GRACE_S: Final = 10.0
"""How long a container may take to end before it is killed, when nothing else is said."""


class EngineDown(Exception):  # noqa: N818 - a state of the world, not a mistake of the caller
    """The engine cannot be asked. Its containers may well be running."""


class StepFailed(Exception):  # noqa: N818 - an answer for a person: the message says what failed
    """A step could not be done; the message is for the renter."""


class PortTaken(StepFailed):
    """Another program of the machine has a port that is to be an instance's."""

    def __init__(self, port: int) -> None:
        """Say which."""
        super().__init__(
            f"port {port} of its host is in use by another program there: recycle the instance for "
            "another port, or start it again later"
        )
        self.port = port


class Contained(msgspec.Struct, frozen=True, kw_only=True):
    """One container of ours, as the engine sees it."""

    instance: int
    revision: int
    boots: int
    """Of the boot for which the container was made; later boots stand in the journal."""
    running: bool
    ssh: bool = True
    """Whether the platform keeps it alive; such a container never ends by itself."""
    gpus: tuple[int, ...] = ()
    created_at_ms: int = 0
    started_at_ms: int | None = None
    """None when it was never started."""
    finished_at_ms: int | None = None
    exit_code: int | None = None
    trouble: str = ""
    """What the engine says went wrong with it, such as being out of memory."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one container uses, and its byte counters since its present run began."""

    usage: Usage = Usage()
    up_bytes: int = 0
    down_bytes: int = 0


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished command printed and how it ended."""

    output: str
    exit_code: int


class Session(Protocol):
    """A command that runs in a container, with its input and output open."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output as (1 for stdout or 2 for stderr, bytes); None at its end."""
        ...

    async def write(self, data: bytes) -> None:
        """Give the command input."""
        ...

    async def write_eof(self) -> None:
        """End the command's input; its output stays open."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Change the size of its terminal; nothing when it has none."""
        ...

    async def signal(self, number: int) -> None:
        """Send the command a signal; nothing when it has ended or cannot be reached."""
        ...

    async def exit_code(self) -> int:
        """How the command ended; asked after `read` answered None."""
        ...

    async def close(self) -> None:
        """Let go of the command; it gets a hang-up when it has a terminal."""
        ...


class Engine(Protocol):
    """Containers of one machine. Every method raises EngineDown when the engine cannot be asked."""

    async def contents(self) -> tuple[Contained, ...]:
        """Every container of ours, and none of anybody else's."""
        ...

    async def measure(self, instance: int) -> Measured | None:
        """What a running container uses; None when it is not there."""
        ...

    async def make(
        self, desired: DesiredInstance, ports: Mapping[str, int], tell: Callable[[str], None]
    ) -> None:
        """Get the image, make the container and start it; `tell` hears of the progress.

        Refuses with StepFailed; with PortTaken when nothing was made and other ports would do.
        Doing it again after a crash half way finishes the work.
        """
        ...

    async def start(self, desired: DesiredInstance) -> None:
        """Start the container that is there. Refuses with StepFailed."""
        ...

    async def stop(self, instance: int, grace_s: float = STOP_GRACE_S) -> None:
        """Tell the container's programs to end, and end it after `grace_s` at the latest.

        Nothing when it does not run.
        """
        ...

    async def warn(self, instance: int, text: str) -> None:
        """Write the file of notices in the container. Refuses with StepFailed."""
        ...

    async def remove(self, instance: int) -> None:
        """Remove the container and its disk; nothing when it is not there."""
        ...

    async def logs(self, instance: int, tail: int) -> str:
        """The last `tail` lines that the container printed."""
        ...

    async def exec_start(
        self,
        instance: int,
        argv: Sequence[str],
        *,
        tty: bool = False,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> Session:
        """Start a command in the container, as root. `size` is (columns, rows) of its terminal."""
        ...

    async def end_sessions(self) -> None:
        """Hang up every command that was started by an earlier run of the agent."""
        ...

    async def pid(self, instance: int) -> int:
        """The host's process id of the container's first process; 0 when it does not run."""
        ...

    async def volumes(self) -> frozenset[int]:
        """Every volume of ours that is here and whole."""
        ...

    async def make_volume(self, volume: DesiredVolume) -> None:
        """Make a volume, or copy the one of which it is a clone. Refuses with StepFailed."""
        ...

    async def remove_volume(self, volume: int) -> None:
        """Remove a volume; nothing when it is not there. Refuses with StepFailed."""
        ...

    async def release_volumes(self) -> None:
        """Have the engine know no volume of ours any more; their data stays."""
        ...

    async def wait_for_change(self) -> None:
        """Return when something may have changed in the containers."""
        ...

    async def close(self) -> None:
        """Let go of the engine; its containers stay as they are."""
        ...


async def run_to_end(engine: Engine, instance: int, argv: Sequence[str], bytes_max: int) -> Ran:
    """Run a command without input and return the first `bytes_max` bytes that it printed."""
    session = await engine.exec_start(instance, argv)
    try:
        await session.write_eof()
        printed = bytearray()
        while (piece := await session.read()) is not None:
            printed += piece[1][: bytes_max - len(printed)]
        return Ran(output=printed.decode(errors="replace"), exit_code=await session.exit_code())
    finally:
        await session.close()
