"""What the Docker Engine is told of volumes: a name for a directory of ours, and no more."""

from pathlib import Path

import aiodocker
from aiodocker.volumes import DockerVolume


async def introduce(docker: aiodocker.Docker, name: str, path: Path, owner: str) -> None:
    """Have the engine know the directory `path` as the volume `name`; again changes nothing."""
    await docker.volumes.create(  # type: ignore[no-untyped-call]
        {
            "Name": name,
            "Driver": "local",
            "DriverOpts": {"type": "none", "o": "bind", "device": str(path)},
            "Labels": {"mercato.owner": owner},
        }
    )


async def forget(docker: aiodocker.Docker, name: str) -> None:
    """Have the engine know a volume no more; its directory stays. Refused while it is mounted."""
    try:
        await DockerVolume(docker, name).delete()  # type: ignore[no-untyped-call]
    except aiodocker.DockerError as error:
        if error.status != 404:
            raise


async def forget_all(docker: aiodocker.Docker, owner: str) -> None:
    """The same for every volume of one agent."""
    mine = {"label": [f"mercato.owner={owner}"]}
    known = await docker.volumes.list(filters=mine)  # type: ignore[no-untyped-call]
    for volume in known["Volumes"] or ():
        await forget(docker, volume["Name"])
