"""The Docker Engine, through its API.

Containers are ours when they carry our owner's label; nobody else's are ever listed, let alone
touched. Several agents may share an engine: each has its own owner name.
"""

import asyncio
import contextlib
import datetime as dt
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiodocker
import aiohttp
from aiodocker.containers import DockerContainer

from mercato.agent import (
    docker_disk,
    docker_files,
    docker_move,
    docker_volumes,
    environment,
    isolation,
    notice,
)
from mercato.agent import ports as port_rules
from mercato.agent.docker_image import ensure_image
from mercato.agent.docker_network import InstanceNetwork
from mercato.agent.docker_session import DockerSession, hang_up_all
from mercato.agent.docker_usage import UsageReader
from mercato.agent.engine import (
    STOP_GRACE_S,
    Contained,
    EngineDown,
    Measured,
    PortTaken,
    StepFailed,
)
from mercato.agent.gpus import Gpus
from mercato.agent.image_names import full_name
from mercato.agent.memory import Memory
from mercato.agent.private_images import PrivateImages
from mercato.agent.volume_store import VolumeStore
from mercato.agent.way_home import WayHome
from mercato.wire.agent import DesiredInstance, DesiredVolume

LOOK_S: Final = 15.0
"""An engine that has not told in this time what is there counts as down."""

_PORT_TAKEN: Final = re.compile(
    r"(?:0\.0\.0\.0|::\]?):(\d+)\b.*(?:address already in use|port is already allocated)", re.DOTALL
)
"""How an engine refuses to start a container whose outside port is not to be had."""


class DockerEngine:
    """One Docker Engine, for one agent."""

    def __init__(  # noqa: PLR0913 - what the host's engine, network, GPUs and disk are to it
        self,
        owner: str,
        machine: int,
        gpu_uuids: Mapping[int, str],
        public_ip: str,
        volumes: Path,
        way_home: WayHome | None = None,
        *,
        no_gpus: str = "",
        memory: Memory | None = None,
    ) -> None:
        """Prepare; nothing is asked of the engine yet.

        `owner` names this agent among all that may share the engine. `gpu_uuids` maps a GPU's index
        to its UUID; empty when the GPUs are only declared. Volumes are kept under `volumes`.
        Instances reach a control plane on this host by `way_home`. `no_gpus`, where it is not
        empty, is why no container gets a real GPU. `memory` keeps which pulls of private images
        were begun; None where nothing outlives this process.
        """
        self._store = VolumeStore(volumes.resolve())
        self._network = InstanceNetwork(owner, way_home)
        self._owner = owner
        self._machine = machine
        self._gpus = Gpus(gpu_uuids, no_gpus)
        self._public_ip = public_ip
        self._private_images = PrivateImages(memory or Memory())
        self._docker: aiodocker.Docker | None = None
        self._usage = UsageReader()
        self._info: dict[str, Any] = {}
        self._preparing = asyncio.Lock()
        self._quota = False
        self._events: aiodocker.channel.ChannelSubscriber | None = None
        self._network_trouble = ""

    @property
    def trouble(self) -> str:
        """What is wrong with this engine for the host to put right; empty when nothing is."""
        return self._network_trouble or self._gpus.trouble

    async def look_at_gpus(self) -> None:
        """See which GPUs are there, so that trouble with them is told; each start looks again."""
        await self._gpus.look()

    async def contents(self) -> tuple[Contained, ...]:
        """Every container of this agent."""
        async with self._asking() as docker, asyncio.timeout(LOOK_S):
            listed = await self._ours(docker)
            found = await asyncio.gather(*(self._inspect(docker, entry.id) for entry in listed))
        return tuple(container for container in found if container is not None)

    async def measure(self, instance: int) -> Measured | None:
        """What a running container uses; None when it does not run."""
        async with self._asking() as docker:
            return await self._usage.read(docker, self._name(instance))

    async def make(
        self, desired: DesiredInstance, ports: Mapping[str, int], tell: Callable[[str], None]
    ) -> None:
        """Get the image, make the container and start it, in the place of an older one."""
        await self._gpus.need(desired.gpus)
        async with self._asking() as docker:
            await docker_move.recover(docker, self._name(desired.id))
            old = await self._inspect(docker, self._name(desired.id))
            anew = old is None or old.revision != desired.revision
            if anew:
                if old is not None:
                    await self._remove(docker, desired.id)
                asked = (desired.image, desired.login, tell, self._private_images)
                await ensure_image(docker, *asked, fresh=bool(old))
                tell("Creating the container")
                # Seeing to the firewall takes as long as making a container: both at once.
                await _all(self._see_to_network(docker), self._create(docker, desired, ports))
            else:
                await self._see_to_network(docker)
            tell("Starting the container")
            try:
                await self._start(docker, desired)
            except PortTaken as taken:
                if not anew:
                    raise StepFailed(str(taken)) from taken
                await self._remove(docker, desired.id)  # it never ran, and is tied to the port
                raise

    async def start(self, desired: DesiredInstance) -> None:
        """Start the container that is there, moved to other GPUs when it was on those before."""
        await self._gpus.need(desired.gpus)
        async with self._asking() as docker:
            await docker_move.recover(docker, self._name(desired.id))
            there = await self._inspect(docker, self._name(desired.id))
            if there is not None and there.gpus != desired.gpus:
                gpus = _joined(desired.gpus)
                requests = self._gpus.requests(desired.gpus, self._info)
                await docker_move.move(docker, self._name(desired.id), gpus, requests)
            await self._see_to_network(docker)
            await self._start(docker, desired)

    async def stop(self, instance: int, grace_s: float = STOP_GRACE_S) -> None:
        """Tell the container to stop, and kill it after `grace_s`, in whole seconds."""
        grace = max(1, int(grace_s))
        async with self._asking() as docker, _gone_is_fine():
            await docker.containers.container(self._name(instance)).stop(
                t=grace, timeout=grace + 30.0
            )

    async def warn(self, instance: int, text: str) -> None:
        """Write the file of notices in the container."""
        async with self._asking() as docker:
            container = docker.containers.container(self._name(instance))
            await docker_files.put_below_run(container, notice.PATH, text)

    async def remove(self, instance: int) -> None:
        """Remove the container and its disk; nothing when it is not there."""
        async with self._asking() as docker:
            await self._remove(docker, instance)

    async def logs(self, instance: int, tail: int) -> str:
        """The last lines that the container printed."""
        async with self._asking() as docker:
            container = docker.containers.container(self._name(instance))
            try:
                lines = await container.log(stdout=True, stderr=True, tail=tail)
            except aiodocker.DockerError as error:
                raise StepFailed(f"there are no logs: {error.message}") from error
        return "".join(lines)

    async def exec_start(
        self,
        instance: int,
        argv: Sequence[str],
        *,
        tty: bool = False,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> DockerSession:
        """Start a command in the container, as root. Refuses with StepFailed."""
        async with self._asking() as docker:
            try:
                command = await docker.containers.container(self._name(instance)).exec(
                    list(argv), stdin=True, tty=tty, user="0", environment=env, workdir=workdir
                )
                stream = command.start(detach=False)
                await stream.__aenter__()
            except aiodocker.DockerError as error:
                raise StepFailed(f"the command could not be started: {error.message}") from error
        session = DockerSession(command, stream, tty=tty)
        if size is not None:
            await session.resize(*size)
        return session

    async def end_sessions(self) -> None:
        """Hang up what an agent that was killed left running for its visitors."""
        async with self._asking() as docker, _gone_is_fine():
            for entry in await self._ours(docker):
                await hang_up_all(docker, await docker.containers.container(entry.id).show())

    async def pid(self, instance: int) -> int:
        """The host's process id of the container's first process; 0 when it does not run."""
        shown: dict[str, Any] = {}
        async with self._asking() as docker, _gone_is_fine():
            shown = await docker.containers.container(self._name(instance)).show()
        return int(shown["State"]["Pid"]) if shown else 0

    async def volumes(self) -> frozenset[int]:
        """Every volume of this agent that is whole."""
        return await self._store.look()

    async def make_volume(self, volume: DesiredVolume) -> None:
        """Make a volume, or copy the one of which it is a clone. Refuses with StepFailed."""
        await self._store.make(volume)

    async def remove_volume(self, volume: int) -> None:
        """Remove a volume; the engine refuses while a container has it."""
        async with self._asking() as docker:
            await docker_volumes.forget(docker, self._volume_name(volume))
        await self._store.remove(volume)

    async def release_volumes(self) -> None:
        """Have the engine know no volume of ours any more; their data stays in their store."""
        try:
            async with self._asking() as docker:
                await docker_volumes.forget_all(docker, self._owner)
        finally:
            await self._store.release()

    async def wait_for_change(self) -> None:
        """Return when the engine tells of an event in a container of ours."""
        async with self._asking() as docker:
            if self._events is None:
                filters = f'{{"type":["container"],"label":["mercato.owner={self._owner}"]}}'
                self._events = docker.events.subscribe(filters=filters)  # type: ignore[no-untyped-call]
            event = await self._events.get()
            while event is not None and str(event.get("Action", "")).startswith("exec_"):
                event = await self._events.get()
            if event is None:
                self._events, docker.events.task = None, None
                raise EngineDown("the Docker Engine closed its event stream")

    async def close(self) -> None:
        """Let go of the engine; its containers stay as they are."""
        await self._network.close()
        if self._docker is not None:
            await self._docker.events.stop()  # type: ignore[no-untyped-call]
            await self._docker.close()
            self._docker = None

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[aiodocker.Docker]:
        """The engine, ready; every way of not reaching it becomes EngineDown."""
        try:
            if self._docker is None:
                self._docker = _without_limit(aiodocker.Docker())
            async with asyncio.timeout(LOOK_S), self._preparing:
                if not self._info:
                    await self._prepare(self._docker)
            yield self._docker
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._info = {}
            said = str(error) or type(error).__name__
            raise EngineDown(f"the Docker Engine does not answer: {said}") from error
        except aiodocker.DockerError as error:
            if error.status == 900:  # aiodocker's own number for a connection that failed
                self._info = {}
                raise EngineDown(f"the Docker Engine does not answer: {error.message}") from error
            raise StepFailed(f"Docker refuses: {error.message}") from error

    async def _prepare(self, docker: aiodocker.Docker) -> None:
        info = dict(await docker.system.info())
        self._quota = docker_disk.may_bound(info)
        await self._see_to_network(docker)
        self._info = info

    async def _ours(self, docker: aiodocker.Docker) -> list[DockerContainer]:
        ours = {"label": [f"mercato.owner={self._owner}"]}
        return await docker.containers.list(all=True, filters=ours)

    def _name(self, instance: int) -> str:
        return f"mercato-{self._owner}-{instance}"

    def _volume_name(self, volume: int) -> str:
        return f"mercato-{self._owner}-volume-{volume}"

    async def _bring_volumes(self, docker: aiodocker.Docker, desired: DesiredInstance) -> None:
        """Have the engine know the volumes that a container will mount; again changes nothing."""
        for mount in desired.mounts:
            path = await self._store.ready(mount.volume)
            name = self._volume_name(mount.volume)
            await docker_volumes.introduce(docker, name, path, self._owner)

    async def _inspect(self, docker: aiodocker.Docker, name: str) -> Contained | None:
        try:
            shown = await docker.containers.container(name).show()
        except aiodocker.DockerError as error:
            if error.status == 404:
                return None
            raise
        if not shown["Config"]["Labels"].get("mercato.instance"):
            return None
        return contained(shown)

    async def _remove(self, docker: aiodocker.Docker, instance: int) -> None:
        self._usage.forget(self._name(instance))
        container = docker.containers.container(self._name(instance))
        async with _gone_is_fine():
            try:
                await container.delete(force=True, v=True, timeout=60.0)
            except aiodocker.DockerError as error:
                if error.status != 409:
                    raise
                # It is being removed already, and has its volumes until it is gone.
                await container.wait(condition="removed", timeout=60.0)
        await docker_move.forget(docker, self._name(instance))

    async def _see_to_network(self, docker: aiodocker.Docker) -> None:
        """Before each start: the network and its firewall may have been taken away meanwhile."""
        self._network_trouble = await self._network.prepare(docker)

    async def _start(self, docker: aiodocker.Docker, desired: DesiredInstance) -> None:
        name = self._name(desired.id)
        container = docker.containers.container(name)
        for mount in desired.mounts:
            await self._store.ready(mount.volume)
        try:
            if desired.ssh:
                path = environment.ONSTART_PATH
                await docker_files.put_script(container, path, desired.onstart)
            await self._network.start(docker, name)
        except aiodocker.DockerError as error:
            if taken := _PORT_TAKEN.search(error.message):
                raise PortTaken(int(taken[1])) from error
            raise StepFailed(f"the container could not be started: {error.message}") from error
        if desired.onstart and not desired.ssh:
            with contextlib.suppress(aiodocker.DockerError):  # the image may have no shell
                command = await container.exec(["/bin/sh", "-c", desired.onstart], user="0")
                await command.start(detach=True)

    async def _create(
        self, docker: aiodocker.Docker, desired: DesiredInstance, allocation: Mapping[str, int]
    ) -> None:
        try:
            await self._bring_volumes(docker, desired)
            try:
                await self._create_with(docker, desired, allocation)
            except aiodocker.DockerError as error:
                if not self._quota or not docker_disk.knows_no_quotas(error.message):
                    raise
                self._quota = False  # the file system could, but was mounted without quotas
                await self._create_with(docker, desired, allocation)
        except aiodocker.DockerError as error:
            raise StepFailed(docker_disk.explained(error.message)) from error

    async def _create_with(
        self, docker: aiodocker.Docker, desired: DesiredInstance, allocation: Mapping[str, int]
    ) -> None:
        config = self.container_config(desired, allocation)
        if self._quota:
            await docker_disk.bound(docker, config)
        await docker.containers.create(config, name=self._name(desired.id))

    def container_config(
        self, desired: DesiredInstance, allocation: Mapping[str, int]
    ) -> dict[str, Any]:
        """The whole of what the engine is told of a container."""
        published = {
            wish: outside
            for wish, outside in allocation.items()
            if not (desired.ssh and wish == port_rules.SSH)  # the agent itself answers there
        }
        variables = environment.environment(desired, allocation, self._public_ip)
        config: dict[str, Any] = {
            "Image": full_name(desired.image, desired.login),
            "Hostname": desired.hostname or f"C.{desired.id}",
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Labels": self._labels(desired),
            "ExposedPorts": {port_rules.inside(w, p): {} for w, p in published.items()},
            "Volumes": {},
            "HostConfig": isolation.host_config(
                desired,
                published,
                gpu_requests=self._gpus.requests(desired.gpus, self._info),
                disk_quota=self._quota,
                volume_name=self._volume_name,
                extra_hosts=self._network.names,
            ),
        }
        if desired.ssh:
            config |= {
                "Entrypoint": ["/bin/sh", "-c", environment.first_process(desired)],
                "Cmd": [],
            }
            config |= {"User": "0", "WorkingDir": "/", "StopSignal": "SIGTERM"}
            config["Healthcheck"] = {"Test": ["NONE"]}
            return config
        if desired.entrypoint is not None:
            config["Entrypoint"] = [desired.entrypoint]
        if desired.user is not None:
            config["User"] = desired.user
        if desired.args:
            config["Cmd"] = list(desired.args)
        return config

    def _labels(self, desired: DesiredInstance) -> dict[str, str]:
        return {
            "mercato.owner": self._owner,
            "mercato.machine": str(self._machine),
            "mercato.instance": str(desired.id),
            "mercato.revision": str(desired.revision),
            "mercato.boots": str(desired.boots),
            "mercato.ssh": str(int(desired.ssh)),
            "mercato.gpus": _joined(desired.gpus),
        }


def _joined(gpus: Sequence[int]) -> str:
    """GPUs as a label says them."""
    return ",".join(map(str, gpus))


async def _all(*work: Coroutine[None, None, None]) -> None:
    """Do several things at once, every one to its end; the first that failed is raised."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if outcome is not None:
            raise outcome


def _without_limit(docker: aiodocker.Docker) -> aiodocker.Docker:
    """The engine, with room for any number of sessions beside what else is asked of it.

    Each session holds a connection; of the usual hundred none would be left for the agent itself.
    """
    docker.connector._limit = 0  # noqa: SLF001 - aiodocker offers no other way
    return docker


@contextlib.asynccontextmanager
async def _gone_is_fine() -> AsyncIterator[None]:
    """Let a container that is not there, or was stopped already, be as good as done."""
    try:
        yield
    except aiodocker.DockerError as error:
        if error.status not in {304, 404, 409}:
            raise


def contained(shown: Mapping[str, Any]) -> Contained:
    """One container of ours from the engine's own description of it."""
    labels, state = shown["Config"]["Labels"], shown["State"]
    gpus = labels.get("mercato.gpus", "")
    trouble = str(state.get("Error", ""))
    return Contained(
        instance=int(labels["mercato.instance"]),
        revision=int(labels["mercato.revision"]),
        boots=int(labels["mercato.boots"]),
        running=bool(state["Running"]),
        ssh=labels.get("mercato.ssh") == "1",
        gpus=tuple(int(index) for index in gpus.split(",") if index),
        created_at_ms=_milliseconds(shown["Created"]) or 0,
        started_at_ms=_milliseconds(state["StartedAt"]),
        finished_at_ms=_milliseconds(state["FinishedAt"]),
        exit_code=None if state["Running"] else int(state["ExitCode"]),
        trouble="it was out of memory" if state.get("OOMKilled") else trouble,
    )


def _milliseconds(stamp: str) -> int | None:
    """The engine's time stamp in milliseconds; None for its word for never."""
    if stamp.startswith("0001-"):
        return None
    # Python reads at most six digits of a second; the engine writes nine.
    head, _, tail = stamp.rstrip("Z").partition(".")
    read = dt.datetime.fromisoformat(f"{head}.{tail[:6].ljust(6, '0')}+00:00")
    return round(read.timestamp() * 1_000)
