"""The small image that the demonstration rents: a shell, Python and rsync, no SSH server.

Built once for each engine from the packages of this machine's own distribution, which needs root;
where that cannot be done, an official image of the same kind is pulled.
"""

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from mercato.cli.errors import Trouble
from mercato.cli.up.docker import Engine
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say

PRETEND: Final = "mercato/base"
"""What is rented where containers are pretended; nothing is pulled."""

IMAGE: Final = "mercato/base:1"
"""What is rented otherwise; the number rises when its recipe changes."""

PULLED: Final = "python:3.12-bookworm"
PACKAGES: Final = ("bash", "ca-certificates", "curl", "procps", "python3", "python3-venv", "rsync")
MIRRORS: Final = {
    "debian": "http://deb.debian.org/debian",
    "ubuntu": "http://archive.ubuntu.com/ubuntu",
}

_Show = Callable[[str], None]


async def base_image(engine: Engine | None, place: Place, say: Say) -> str:
    """Make sure that the engine has the base image; its name.

    Raises:
        Trouble: when it can neither be built nor pulled.
    """
    if engine is None:
        return PRETEND
    log = place.logs / "base-image.log"
    with say.step("base image") as step, log.open("ab") as file:
        work = _Work(file, step.show, {**os.environ, "DOCKER_HOST": f"unix://{engine.socket}"})
        if await work.run("docker", "image", "inspect", IMAGE):
            step.outcome = f"{IMAGE} was there"
            return IMAGE
        mirror = _mirror()
        if mirror is not None and await _built(work, *mirror):
            step.outcome = f"{IMAGE} built from packages of {mirror[1]}"
        elif await work.run("docker", "pull", PULLED):
            await work.run("docker", "tag", PULLED, IMAGE)
            step.outcome = f"{IMAGE}, which is {PULLED}"
        else:
            raise Trouble(
                f"the base image can neither be built nor pulled: {work.said} (all of it: {log}); "
                "as root with debootstrap installed it is built, with a network it is pulled"
            )
    return IMAGE


def _mirror() -> tuple[str, str] | None:
    """Release and mirror of this machine's distribution; None where an image cannot be built."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        return None
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return None
    mirror, name = MIRRORS.get(release.get("ID", "")), release.get("VERSION_CODENAME")
    return (name, mirror) if mirror and name else None


async def _built(work: "_Work", release: str, mirror: str) -> bool:
    """Build the image in a directory of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mercato-base-") as scratch:
        tree, archive = Path(scratch) / "tree", Path(scratch) / "tree.tar"
        packages = f"--include={','.join(PACKAGES)}"
        return (
            await work.run(
                "debootstrap", "--variant=minbase", packages, release, str(tree), mirror
            )
            and await work.run(
                "tar", "-C", str(tree), "--exclude=./var/cache/apt/archives/*.deb",
                "--exclude=./dev/*", "--exclude=./proc/*", "-cf", str(archive), ".",
            )
            and await work.run(
                "docker", "import", "-c", "CMD /bin/bash", "-c", "ENV LANG=C.UTF-8",
                str(archive), IMAGE,
            )
        )  # fmt: skip


class _Work:
    """Runs programs, showing and keeping what they print."""

    def __init__(self, log: IO[bytes], show: _Show, env: Mapping[str, str]) -> None:
        self.said = ""
        self._log = log
        self._show = show
        self._env = env

    async def run(self, *command: str) -> bool:
        """Run a program to its end, or end it when nobody waits any more; whether it succeeded."""
        try:
            return await self._run(command) == 0
        except FileNotFoundError:
            self.said = f"{command[0]} is not installed"
            return False

    async def _run(self, command: Sequence[str]) -> int:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._env,
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                self._log.write(line)
                self.said = line.decode(errors="replace").strip() or self.said
                self._show(self.said[:100])
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
