"""Files that the agent puts into containers, running or not, whatever their images have."""

import io
import tarfile

import aiodocker
from aiodocker.containers import DockerContainer


async def put_script(container: DockerContainer, path: str, text: str) -> None:
    """Write a script that only root may read, into a directory that is there."""
    await _put(container, "/", path.lstrip("/"), text, 0o700)


async def put_below_run(container: DockerContainer, path: str, text: str) -> None:
    """Write a file below `/run` that everybody may read, and the directories that lack."""
    try:
        # Below what `/run` is in this image, which may be a link.
        await _put(container, "/run", path.removeprefix("/run/"), text, 0o644)
    except aiodocker.DockerError as error:
        if error.status != 404:
            raise
        await _put(container, "/", path.lstrip("/"), text, 0o644)


async def _put(container: DockerContainer, below: str, path: str, text: str, mode: int) -> None:
    buffer, contents = io.BytesIO(), text.encode()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(contents), mode
        archive.addfile(entry, io.BytesIO(contents))
    await container.put_archive(below, buffer.getvalue())  # type: ignore[no-untyped-call]
