"""The agent as a program: join a market, then run for ever.

python -m mercato.agent.main join URL TOKEN --data DIR
python -m mercato.agent.main run --data DIR
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import random
import secrets
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import asyncssh
import msgspec
import structlog

from mercato.agent import client
from mercato.agent.client import AgentTrouble, OffMarket
from mercato.agent.clock import SystemClock
from mercato.agent.daemon_log import DaemonLog
from mercato.agent.docker import DockerEngine
from mercato.agent.door.server import SshDoor
from mercato.agent.engine import Engine
from mercato.agent.facts.gpu import read_unreadable
from mercato.agent.facts.machine import read_hardware
from mercato.agent.facts.net import port_is_free, read_network
from mercato.agent.facts.toolkit import read_toolkit
from mercato.agent.hardware_file import BadHardwareFile, read_hardware_file
from mercato.agent.memory import Memory
from mercato.agent.pretend_engine import PretendEngine
from mercato.agent.sync import Door, Host, NoDoor
from mercato.agent.toolkit import refusal
from mercato.agent.way_home import WayHome
from mercato.market.hardware import Gpu, GpuModel, Hardware

_log = structlog.get_logger()

PORT_FIRST: Final = 40_000
PORT_LAST: Final = 40_199
GPUS_LOOKED_AT_S: Final = 60.0

_IDENTITY: Final = "machine.json"
_MEMORY: Final = "agent.sqlite"
_LOCK: Final = "agent.lock"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this machine is, kept in its data directory, readable by its owner only."""

    url: str
    machine: int
    machine_key: str
    owner: str
    """Marks this agent's containers among all on the engine."""
    pretend: bool = False
    hardware_file: str | None = None
    public_ip: str | None = None
    port_first: int = PORT_FIRST
    port_last: int = PORT_LAST
    disk_gb: float
    """The disk offered since it joined: what instances fill is no longer free, but is theirs."""
    gpu_model: GpuModel | None = None
    gpus: tuple[Gpu, ...] = ()
    """The GPUs with which it joined, whatever the driver shows later and however it numbers them;
    none when they are pretended or declared, or were never all read since this is kept."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine presents itself, chosen when it joins."""

    pretend: bool = False
    """No Docker Engine: containers are pretended."""
    hardware_file: Path | None = None
    public_ip: str | None = None
    """The address by which renters reach it; found out when None."""
    port_first: int = PORT_FIRST
    port_last: int = PORT_LAST


async def join(url: str, token: str, data: Path, setup: Setup) -> int:
    """Make this machine known to a market and keep its key in `data`; its machine id.

    Refuses with AgentTrouble: wrong token, unreachable market, joined before, GPUs through a
    toolkit that lets containers out.
    """
    _claim(data)
    hardware = await asyncio.to_thread(_hardware, setup)
    if not setup.pretend and (why := await asyncio.to_thread(_no_gpus, hardware)):
        raise AgentTrouble(why)
    if setup.hardware_file is None and (lost := await asyncio.to_thread(read_unreadable)):
        raise AgentTrouble(
            f"GPU {', '.join(map(str, lost))} of this machine cannot be read by its driver: put it "
            "right, or take it out, and join then"
        )
    joined = await client.join(url, token, hardware)
    identity = Identity(
        url=url,
        machine=joined.machine,
        machine_key=joined.machine_key,
        owner=secrets.token_hex(4),
        pretend=setup.pretend,
        hardware_file=str(setup.hardware_file.resolve()) if setup.hardware_file else None,
        public_ip=setup.public_ip,
        port_first=setup.port_first,
        port_last=setup.port_last,
        disk_gb=hardware.disk.size_gb,
    )
    _keep(data, _with_gpus(identity, hardware))
    return joined.machine


def _claim(data: Path) -> None:
    """Make the data directory; refuses when it is another machine's."""
    if (data / _IDENTITY).exists():
        raise AgentTrouble(f"{data} already belongs to a machine; choose another directory")
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise AgentTrouble(f"{data} cannot be made: {error.strerror}") from error


def joined_machine(data: Path) -> int | None:
    """The machine id that `data` holds; None when no machine has joined from there."""
    return _identity(data).machine if (data / _IDENTITY).exists() else None


async def run(
    data: Path,
    *,
    url: str | None = None,
    stop_all: bool = False,
    ready: Callable[[], None] | None = None,
) -> None:
    """Be this machine's agent until cancelled. Containers outlive it unless `stop_all`.

    When the machine was taken off the market, its own job is all that can be left: it is removed.
    `url` replaces the market's address given at joining. Refuses with AgentTrouble; for GPUs whose
    toolkit lets containers out only when no instance is here, which would be left alone.
    """
    identity = _identity(data)
    lock = _lock(data)
    memory = _memory(data)
    log = DaemonLog()
    hardware = await asyncio.to_thread(_hardware_since_joining, identity)
    await asyncio.to_thread(_learn_gpus, data, identity, hardware)
    no_gpus = "" if identity.pretend else await asyncio.to_thread(_no_gpus, hardware)
    if no_gpus and not memory.instances:
        raise AgentTrouble(no_gpus)
    engine, make_door = await _engine(
        identity, hardware, data, url or identity.url, no_gpus, memory
    )
    host = Host(
        machine=identity.machine,
        hardware=hardware,
        engine=engine,
        memory=memory,
        door=make_door(data),
        clock=SystemClock(),
        boot=secrets.token_hex(8),
        daemon_log=log.tail,
        port_is_free=port_is_free,
    )
    work = [
        asyncio.create_task(host.run()),
        asyncio.create_task(
            client.stay_connected(
                url or identity.url, identity.machine_key, host, random.SystemRandom()
            )
        ),
    ]
    if isinstance(engine, DockerEngine):
        work.append(asyncio.create_task(_watch_gpus(engine)))
    if ready is not None:
        ready()
    try:
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*done)
    except OffMarket:
        stop_all = True
        raise
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        if stop_all:
            await host.stop_all()
        await engine.close()
        memory.close()
        os.close(lock)


async def _engine(
    identity: Identity,
    hardware: Hardware,
    data: Path,
    control_url: str,
    no_gpus: str,
    memory: Memory,
) -> tuple[Engine, Callable[[Path], Door]]:
    """The engine of this machine, and what makes the way into its containers."""
    if identity.pretend:
        return PretendEngine(SystemClock()), lambda _data: NoDoor()
    uuids = {} if hardware.simulated else {gpu.index: gpu.uuid for gpu in hardware.gpus}
    engine = DockerEngine(
        identity.owner,
        identity.machine,
        uuids,
        hardware.network.public_ip,
        volumes=data / "volumes",
        way_home=WayHome(control_url),
        no_gpus=no_gpus,
        memory=memory,
    )
    await engine.look_at_gpus()
    return engine, lambda data: _door(data, engine)


async def _watch_gpus(engine: DockerEngine) -> None:
    """Have the host told of a GPU that is lost, and of one that is back, though nothing starts."""
    while True:
        await asyncio.sleep(GPUS_LOOKED_AT_S)
        await engine.look_at_gpus()


def _no_gpus(hardware: Hardware) -> str:
    """Why this machine's GPUs may not be given to containers; empty when they may."""
    return "" if hardware.simulated else refusal(read_toolkit())


def _door(data: Path, engine: Engine) -> Door:
    """The SSH server; refuses when its key cannot be used."""
    try:
        return SshDoor(data, engine)
    except (OSError, asyncssh.KeyImportError) as error:
        raise AgentTrouble(f"the SSH key in {data} cannot be used: {error}") from error


def _hardware(setup: Setup) -> Hardware:
    if setup.hardware_file is None:
        return read_hardware(setup.port_first, setup.port_last, setup.public_ip)
    reached = read_network(setup.port_first, setup.port_last, setup.public_ip)
    try:
        return read_hardware_file(setup.hardware_file, reached)
    except BadHardwareFile as bad:
        raise AgentTrouble(str(bad)) from bad


def _hardware_since_joining(identity: Identity) -> Hardware:
    hardware = _hardware(_setup(identity))
    if identity.hardware_file is not None:
        return hardware  # what the file says now
    disk = msgspec.structs.replace(hardware.disk, size_gb=identity.disk_gb)
    hardware = msgspec.structs.replace(hardware, disk=disk)
    if identity.gpu_model is None:
        return hardware
    same = not hardware.simulated and hardware.gpu_model.name == identity.gpu_model.name
    return msgspec.structs.replace(
        hardware,
        gpu_model=hardware.gpu_model if same else identity.gpu_model,  # its driver may be newer
        gpus=identity.gpus,
        simulated=False,
        dlperf=0.0,
    )


def _with_gpus(identity: Identity, hardware: Hardware) -> Identity:
    if hardware.simulated:
        return identity
    return msgspec.structs.replace(identity, gpu_model=hardware.gpu_model, gpus=hardware.gpus)


def _learn_gpus(data: Path, identity: Identity, hardware: Hardware) -> None:
    """Keep the GPUs of a machine that joined before they were kept, once all can be read."""
    learnt = _with_gpus(identity, hardware)
    if identity.gpu_model is None and learnt != identity and not read_unreadable():
        _keep(data, learnt)
        _log.warning(
            "kept the GPUs that are here now as this machine's; if one is missing, stop the agent, "
            f"take `gpus` and `gpu_model` out of {data / _IDENTITY}, and put it right first",
            gpus=" ".join(f"{gpu.index}={gpu.uuid}" for gpu in learnt.gpus),
        )


def _setup(identity: Identity) -> Setup:
    return Setup(
        pretend=identity.pretend,
        hardware_file=Path(identity.hardware_file) if identity.hardware_file else None,
        public_ip=identity.public_ip,
        port_first=identity.port_first,
        port_last=identity.port_last,
    )


def _identity(data: Path) -> Identity:
    path = data / _IDENTITY
    try:
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        raise AgentTrouble(f"no machine has joined from {data}; run `agent join` first") from None
    except (OSError, msgspec.DecodeError) as error:
        raise AgentTrouble(f"{path} cannot be read: {error}") from error


def _keep(data: Path, identity: Identity) -> None:
    _write_private(data / _IDENTITY, msgspec.json.encode(identity))


def _lock(data: Path) -> int:
    """Hold the data directory for as long as this process lives; refuses when another holds it."""
    held = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise AgentTrouble(f"another agent already runs from {data}") from None
    return held


def _memory(data: Path) -> Memory:
    """The agent's memory; refuses when its file cannot be used."""
    path = data / _MEMORY
    try:
        return Memory(path)
    except sqlite3.Error as error:
        raise AgentTrouble(f"{path} cannot be used: {error}") from error


def _write_private(path: Path, contents: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; its exit status. Trouble is one line on standard error."""
    given = _parser().parse_args(arguments)
    try:
        if given.verb == "join":
            setup = Setup(
                pretend=given.pretend,
                hardware_file=given.hardware,
                public_ip=given.public_ip,
                port_first=given.port_first,
                port_last=given.port_last,
            )
            machine = asyncio.run(join(given.url, given.token, given.data, setup))
            sys.stdout.write(f"joined as machine {machine}\n")
        else:
            asyncio.run(_until_told_to_end(run(given.data, url=given.url, stop_all=given.stop_all)))
    except AgentTrouble as trouble:
        sys.stderr.write(f"mercato agent: {trouble}\n")
        return 1
    return 0


async def _until_told_to_end(work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mercato agent")
    verbs = parser.add_subparsers(dest="verb", required=True)
    joining = verbs.add_parser("join", help="make this machine known to a market")
    joining.add_argument("url")
    joining.add_argument("token")
    joining.add_argument("--pretend", action="store_true", help="no Docker: pretend containers")
    joining.add_argument("--hardware", type=Path, help="a TOML file that declares the machine")
    joining.add_argument("--public-ip", help="the address by which renters reach this machine")
    joining.add_argument("--port-first", type=int, default=PORT_FIRST)
    joining.add_argument("--port-last", type=int, default=PORT_LAST)
    running = verbs.add_parser("run", help="be this machine's agent")
    running.add_argument("--url", help="the market's address, when it has moved")
    running.add_argument("--stop-all", action="store_true", help="remove all containers at the end")
    for verb in (joining, running):
        verb.add_argument("--data", type=Path, default=Path("/var/lib/mercato-agent"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
