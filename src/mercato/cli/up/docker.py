"""A Docker Engine for the demonstration: found, or installed and started when root may."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

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
    answer = await _get(path, "/version")
    return None if answer is None else str(answer.get("Version", "?"))


async def _get(path: Path, route: str) -> dict[str, Any] | None:
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(path)), timeout=aiohttp.ClientTimeout(total=5)
            ) as http,
            http.get(f"http://docker{route}") as answer,
        ):
            return await answer.json() if answer.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None


@asynccontextmanager
async def docker(place: Place, say: Say) -> AsyncIterator[Path]:
    """Make sure that a Docker Engine answers, for as long as this is held; its socket.

    One that ran already is left as it was found. One that is started here keeps its images and
    containers in the data directory and is gone afterwards, with its rules and bridges.

    Raises:
        Trouble: when there is none and this user cannot start one; says what to do.
    """
    path = engine_socket()
    async with AsyncExitStack() as parts:
        with say.step("Docker Engine") as step:
            found = await version(path)
            if found is None:
                _may_start(path)
                if shutil.which("dockerd") is None:
                    await _install(step)
                    # Debian's package starts it itself where an init system runs.
                    found = await version(path)
            if found is None:
                await _start(place, path, say, parts)
                step.outcome = f"version {await version(path)}, started here"
            else:
                step.outcome = f"version {found} at {path}"
        yield path


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


def _may_start(path: Path) -> None:
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
