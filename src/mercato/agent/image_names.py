"""What images are called: as renters ask for them, and as the engine knows them."""

from typing import Final

import aiodocker

from mercato.agent.engine import StepFailed
from mercato.wire.agent import RegistryLogin

MARKS: Final = "mercato-private"
"""The repository of the marks on images that came by a login."""

MOVED: Final = "mercato-moved"
"""The repository of the images that hold moved containers' files."""

_HUBS: Final = ("docker.io/", "index.docker.io/")


def full_name(image: str, login: RegistryLogin | None) -> str:
    """The image's name as the engine knows it: with a login, that login's registry is in it.

    Refuses with StepFailed when it is one of the names that agents keep for themselves.
    """
    first, slash, _ = image.partition("/")
    names_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    name = image
    if login is not None and not names_registry:
        registry = login.registry or "docker.io"
        path = image if slash or registry != "docker.io" else f"library/{image}"
        name = f"{registry}/{path}"
    if _familiar(name).partition("@")[0].partition(":")[0] in {MARKS, MOVED}:
        raise StepFailed(
            f"image {image} cannot be rented: the machine keeps {MARKS} and {MOVED} for itself"
        )
    return name


async def identity(docker: aiodocker.Docker, name: str) -> str | None:
    """The id of the image that has a name and is here, None when none has it.

    The engine also finds images by their ids, and by the beginnings of these, which says nothing
    about who may have them.
    """
    try:
        shown = await docker.images.inspect(name)
    except aiodocker.DockerError as error:
        if error.status == 404:
            return None
        raise
    names = (*(shown.get("RepoTags") or ()), *(shown.get("RepoDigests") or ()))
    return str(shown["Id"]) if _familiar(name) in map(_familiar, names) else None


def _familiar(name: str) -> str:
    """A name without what goes without saying: Docker's own registry, and the tag `latest`."""
    path, _, digest = name.partition("@")
    for hub in _HUBS:
        if path.startswith(hub):
            path = path.removeprefix(hub).removeprefix("library/")
    # Podman's name for what was built here.
    path = path.removeprefix("localhost/").removeprefix("library/")
    before, slash, last = path.rpartition("/")
    repository, _, tag = last.partition(":")
    if digest:
        return f"{before}{slash}{repository}@{digest}"
    return f"{before}{slash}{repository}:{tag or 'latest'}"
