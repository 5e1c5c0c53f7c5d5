"""Control plane and agent: the whole of a machine, each way, over one WebSocket.

The agent opens `GET /agent/v1/connect` with its machine key and sends `Observed`: everything it
sees. Each is answered with `Desired`: everything that should be. A `Poke` carries no data; it asks
for an `Observed` now. Work that has an answer (logs, a command) is an `Ask` with an id and a
deadline, answered by an `Answer`. Frames are JSON text, told apart by their `type`.
"""

from typing import Final

import msgspec

from mercato.market.hardware import Hardware
from mercato.market.instance import Actual

PROTOCOL: Final = 1
"""Raised when a frame changes so that an older peer would misread it."""

SYNC_PERIOD_S: Final = 5.0
"""An agent speaks at least this often."""

FRAME_BYTES_MAX: Final = 4 * 1_024 * 1_024
"""No frame of an agent is longer: the line is closed on a longer one. What it sees of 64 instances
needs a hundredth of it; of an answer that would be longer the beginning is left out."""


class RegistryLogin(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials for a private image."""

    registry: str
    user: str
    password: str


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A port of the container that should be reachable from outside."""

    container: int
    """A container port; 70000 and above asks for any port that is the same inside and outside."""
    protocol: str = "tcp"


class Jupyter(msgspec.Struct, frozen=True, kw_only=True):
    """A JupyterLab to be started inside."""

    token: str
    directory: str = "/"
    lab: bool = True


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A volume at a path of a container."""

    volume: int
    path: str


class DesiredVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume as it should be; its id is of the same number space as the instances'."""

    id: int
    size_mb: int
    clone_of: int | None = None
    """The volume of this machine whose contents it begins with."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Word that an instance will lose its GPUs; its programs find it in `/run/mercato/notice.json`.

    It may be taken back: the instance keeps its GPUs after all.
    """

    yields_at_ms: int
    """By when it will have been stopped."""
    reason: str
    """`outbid` or `on_demand`."""
    message: str


class DesiredInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it should be."""

    id: int
    revision: int
    """Rises when the container must be made anew (recycle, update)."""
    boots: int
    """Rises when the container must be restarted (reboot)."""
    running: bool
    image: str
    login: RegistryLogin | None = None
    ssh: bool = True
    """True: the platform keeps the container alive and gives a shell; the image's own entrypoint
    is replaced. False: the image's own entrypoint or `entrypoint` runs with `args`."""
    jupyter: Jupyter | None = None
    entrypoint: str | None = None
    user: str | None = None
    """Who runs the image's own entrypoint; None for whom the image says."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    ports: tuple[Port, ...] = ()
    hostname: str | None = None
    onstart: str = ""
    """Shell script run on every start."""
    ssh_keys: tuple[str, ...] = ()
    gpus: tuple[int, ...] = ()
    cpus: float
    ram_mb: int
    shm_mb: int
    pids_max: int = 4_096
    disk_mb: int
    notice: Notice | None = None
    grace_s: float = 10.0
    """How long its programs have to end themselves once it is to stop."""
    mounts: tuple[Mount, ...] = ()


class Desired(msgspec.Struct, frozen=True, kw_only=True, tag="desired"):
    """Everything that should be on one machine. What is not named here should not exist."""

    machine: int
    generation: int
    instances: tuple[DesiredInstance, ...]
    volumes: tuple[DesiredVolume, ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance uses; None or -1 where it cannot be known."""

    cpu_percent: float | None = None
    ram_gb: float | None = None
    ram_gb_max: float | None = None
    disk_gb: float = -1.0
    gpu_percent: float | None = None
    gpu_temp_c: float | None = None
    vram_gb: float | None = None


class ObservedInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it is."""

    id: int
    revision: int
    boots: int
    actual: Actual
    message: str = ""
    """Progress or trouble, for a person."""
    started_at_ms: int | None = None
    """When the present run of the container began, by the host's clock; the same value in two
    reports proves that it ran in between."""
    exit_code: int | None = None
    ports: dict[str, int] = {}
    """`22/tcp` → the outside port that reaches it."""
    usage: Usage = Usage()
    up_bytes: int = 0
    """Sent since the contract began; never falls."""
    down_bytes: int = 0


class ObservedVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume as it is."""

    id: int
    ready: bool
    message: str = ""
    """Progress or trouble, for a person."""
    used_mb: int | None = None
    """None where it cannot be known."""


class Observed(msgspec.Struct, frozen=True, kw_only=True, tag="observed"):
    """Everything on one machine, as its agent sees it."""

    protocol: int = PROTOCOL
    agent: str
    """The agent's version."""
    boot: str
    """Names this run of the agent."""
    generation: int
    """Rises with every report of this machine, over restarts too."""
    desired_generation: int
    """Of the last `Desired` that the agent took; 0 before the first."""
    sees: bool
    """False when the agent cannot see its containers (the engine is down): `instances` then means
    nothing, and absence from it least of all."""
    trouble: str = ""
    """What is wrong with the machine, for its host; empty when nothing is."""
    hardware: Hardware
    instances: tuple[ObservedInstance, ...] = ()
    volumes: tuple[ObservedVolume, ...] = ()


class Poke(msgspec.Struct, frozen=True, tag="poke"):
    """Please report now."""


class Logs(msgspec.Struct, frozen=True, kw_only=True, tag="logs"):
    """The last lines of an instance's output, or of the agent's own log."""

    instance: int
    tail: int = 1_000
    daemon: bool = False


class Execute(msgspec.Struct, frozen=True, kw_only=True, tag="execute"):
    """Run a shell command in an instance and return what it printed."""

    instance: int
    command: str


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag="ask"):
    """Work with an answer."""

    id: int
    deadline_s: float
    work: Logs | Execute


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """What an `Ask` came to: `output`, or `error` when it failed."""

    id: int
    output: str = ""
    exit_code: int = 0
    error: str | None = None


FromAgent = Observed | Answer
ToAgent = Desired | Poke | Ask


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `POST /agent/v1/join`, authorised by a join token as Bearer."""

    protocol: int = PROTOCOL
    agent: str
    hardware: Hardware


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: who the machine is from now on. The key is shown this once."""

    machine: int
    machine_key: str
