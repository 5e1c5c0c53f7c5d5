"""A Docker Engine for the demonstration: found, or installed and started when root may."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from mercato.agent import docker_network, isolation
from mercato.cli.errors import Trouble
from mercato.cli.up.children import Child
from mercato.cli.up.firewall import Firewall
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say, Step

SOCKET: Final = Path("/var/run/docker.sock")

STARTS_S: Final = 60.0
STOPS_S: Final = 60.0
"""It stops every container before itself."""
INSTALL: Final = ("docker.io", "iptables")


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker Engine that answers."""

    socket: Path
    ours: bool
    """Whether it was started here, and ends with us."""


def engine_socket() -> Path:
    """The Docker Engine's socket: `DOCKER_HOST`'s, or the usual one.

    Raises:
        Trouble: when `DOCKER_HOST` is not a Unix socket.
    """
    host = os.environ.get("DOCKER_HOST")
    if not host:
        return SOCKET
    if not host.startswith("unix://"):
        raise Trouble(
            f"DOCKER_HOST is {host}: the agent speaks to an engine on its own machine; "
            "unset it, or give a unix:// address"
        )
    return Path(host.removeprefix("unix://"))


async def version(path: Path) -> str | None:
    """The version of the engine that answers at `path`, None when none does."""
    try:
        async with _http(path) as http, http.get("http://docker/version") as answer:
            if answer.status != 200:
                return None
            return str((await answer.json()).get("Version", "?"))
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None


async def _ask(path: Path, method: str, route: str) -> int:
    """The status with which the engine answers; 0 when it does not."""
    try:
        async with _http(path) as http, http.request(method, f"http://docker{route}") as answer:
            return answer.status
    except (aiohttp.ClientError, OSError, TimeoutError):
        return 0


def _http(path: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(str(path)), timeout=aiohttp.ClientTimeout(total=10)
    )


@asynccontextmanager
async def docker(place: Place, say: Say) -> AsyncIterator["Engine"]:
    """Make sure that a Docker Engine answers, for as long as this is held.

    One that ran already is left as it was found, but for its images. One that is started here keeps
    its images and containers in the data directory, so that the next start goes on with them, and
    is gone afterwards with its rules and bridges.

    Raises:
        Trouble: when there is none and this user cannot start one; says what to do.
    """
    path = engine_socket()
    async with AsyncExitStack() as parts:
        with say.step("Docker Engine") as step:
            found = await version(path)
            if found is None:
                may_start(path)
                if shutil.which("dockerd") is None:
                    await _install(step)
                    # Debian's package starts it itself where an init system runs.
                    found = await version(path)
            if found is None:
                await _start(place, path, say, parts)
                engine = Engine(path, ours=True)
                step.outcome = f"version {await version(path)}, started here"
            else:
                engine = Engine(path, ours=False)
                parts.push_async_callback(_leave_nothing, path)
                parts.enter_context(docker_network.in_use())
                step.outcome = f"version {found} at {path}"
        yield engine


async def _leave_nothing(path: Path) -> None:
    """Take away the instances' network and its rules, unless another market still uses them."""
    with docker_network.used_by_nobody() as nobody:
        if nobody and await _ask(path, "DELETE", f"/networks/{isolation.NETWORK}") in {204, 404}:
            await isolation.lower_firewall()


async def _start(place: Place, path: Path, say: Say, parts: AsyncExitStack) -> None:
    firewall = await Firewall.remember()
    parts.push_async_callback(firewall.restore)
    name = f"/run/mercato-docker-{os.getpid()}"
    command = [
        *("dockerd", "--host", f"unix://{path}", "--data-root", str(place.root / "docker")),
        *("--exec-root", name, "--pidfile", f"{name}.pid"),
    ]
    daemon = Child("Docker Engine", command, place.logs / "docker.log", say)
    parts.callback(shutil.rmtree, name, ignore_errors=True)
    parts.push_async_callback(daemon.stop, deadline_s=STOPS_S)
    await daemon.start(lambda: _answers(path), deadline_s=STARTS_S)


def may_start(path: Path) -> None:
    """Make sure that this user may start a Docker Engine.

    Raises:
        Trouble: when only root could; says what to do.
    """
    if os.geteuid() == 0:
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise Trouble(
            f"you may not use the Docker Engine at {path}: run `sudo usermod -aG docker $USER`, "
            "log in again, and repeat; or use --engine pretend, which needs no Docker"
        )
    start = (
        "start it with `sudo systemctl start docker`"
        if shutil.which("dockerd")
        else f"install it with `sudo apt-get install -y {' '.join(INSTALL)}`"
    )
    raise Trouble(
        f"no Docker Engine answers at {path} and only root can start one: {start} and run "
        "`sudo usermod -aG docker $USER`; or use --engine pretend, which needs no Docker"
    )


async def _install(step: Step) -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise Trouble(
            "there is no Docker Engine, and no apt-get to install it with: install Docker by hand "
            "(https://docs.docker.com/engine/install/), or use --engine pretend"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    said = ""
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *INSTALL]):
        process = await asyncio.create_subprocess_exec(
            apt,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            said = line.decode(errors="replace").strip() or said
            step.show(f"installing docker.io: {said[:100]}")
        if await process.wait() != 0:
            raise Trouble(f"apt-get {arguments[0]} failed: {said}; or use --engine pretend")


async def _answers(path: Path) -> bool:
    return await version(path) is not None
