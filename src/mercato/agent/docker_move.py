"""A stopped container on other GPUs, with all of its files.

An engine ties a container to its devices for life, so a new one is made in its place from the old
one's files and description. The old one is removed when the new one is whole, and only then does
the new one get its name: being killed at any moment loses nothing, and `recover` goes on.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiodocker

from mercato.agent.image_names import MOVED


async def move(
    docker: aiodocker.Docker, name: str, gpus: str, devices: Sequence[dict[str, Any]]
) -> None:
    """Make the stopped container `name` anew with the label and the requests of other GPUs."""
    old = docker.containers.container(name)
    shown = await old.show()
    if shown["Config"]["Labels"].get("mercato.gpus") == gpus:
        return
    async with _missing_is_fine():
        await docker.containers.container(_coming(name)).delete(force=True)
    image = await old.commit(repository=MOVED, tag=name, pause=False)
    config = {
        **shown["Config"],
        "Image": image["Id"],
        "Labels": {**shown["Config"]["Labels"], "mercato.gpus": gpus},
        "HostConfig": {
            **shown["HostConfig"],
            "DeviceRequests": list(devices),
            # What the image itself keeps in volumes without a name comes along; asked for as a
            # mount, each would be made anew.
            "Mounts": [it for it in shown["HostConfig"].get("Mounts") or () if it.get("Source")],
            "VolumesFrom": [shown["Id"]],
        },
    }
    await docker.containers.create(config, name=_coming(name))
    await old.delete()
    await recover(docker, name)


async def recover(docker: aiodocker.Docker, name: str) -> None:
    """Finish a move that was cut off once the old container was gone; nothing when none was."""
    try:
        await docker.containers.container(_coming(name)).rename(name)
    except aiodocker.DockerError as error:
        if error.status not in {404, 409}:  # none there, or the old one is there still
            raise


async def forget(docker: aiodocker.Docker, name: str) -> None:
    """Remove what moves of a container left: a half-made one, and its image."""
    async with _missing_is_fine():
        await docker.containers.container(_coming(name)).delete(force=True, v=True)
    async with _missing_is_fine():
        await docker.images.delete(f"{MOVED}:{name}")


def _coming(name: str) -> str:
    return f"{name}-coming"


@contextlib.asynccontextmanager
async def _missing_is_fine() -> AsyncIterator[None]:
    try:
        yield
    except aiodocker.DockerError as error:
        if error.status != 404:
            raise
