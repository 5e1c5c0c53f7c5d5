"""Getting an image: from the machine itself, or from a registry with its progress told."""

from collections.abc import Callable
from typing import Any, Final

import aiodocker

from mercato.agent.engine import StepFailed
from mercato.agent.image_names import full_name, identity
from mercato.agent.private_images import PrivateImages
from mercato.wire.agent import RegistryLogin

_DONE: Final = {"Pull complete", "Already exists"}


class PullProgress:
    """Where a pull stands, from the engine's messages to one line for a person."""

    def __init__(self, image: str) -> None:
        """Begin with nothing known of `image`."""
        self._image = image
        self._layers: dict[str, tuple[float, bool]] = {}

    def heard(self, message: dict[str, Any]) -> str:
        """The line after one more message of the engine."""
        layer, status = message.get("id"), str(message.get("status", ""))
        if layer and not status.startswith("Pulling from"):
            self._layers[layer] = self._layer(layer, status, message.get("progressDetail") or {})
        if not self._layers:
            return f"Pulling: {self._image}"
        done = sum(finished for _, finished in self._layers.values())
        share = sum(share for share, _ in self._layers.values()) / len(self._layers)
        return f"Pulling: layer {done}/{len(self._layers)} {share:.0%}"

    def _layer(self, layer: str, status: str, detail: dict[str, Any]) -> tuple[float, bool]:
        if status in _DONE:
            return 1.0, True
        share, _ = self._layers.get(layer, (0.0, False))
        if status == "Downloading" and detail.get("total"):
            return max(share, 0.8 * float(detail["current"]) / float(detail["total"])), False
        if status == "Extracting" and detail.get("total"):
            return max(share, 0.8 + 0.2 * float(detail["current"]) / float(detail["total"])), False
        return share, False


async def ensure_image(
    docker: aiodocker.Docker,
    image: str,
    login: RegistryLogin | None,
    tell: Callable[[str], None],
    private_images: PrivateImages,
    *,
    fresh: bool = False,
) -> None:
    """Make sure the image is on this machine. Refuses with StepFailed.

    What is here is used as it is; `fresh` asks the registry for a newer one first and is content
    with what is here when there is none to be had. What came by somebody's login is marked, and
    given to those alone whom its registry lets have it.
    """
    name = full_name(image, login)
    here = await identity(docker, name)
    await private_images.mark(docker)
    private = here is not None and await private_images.has(docker, here)
    if here is not None and login is None and not fresh and not private:
        return
    try:
        if login is None:
            await _pull(docker, name, image, None, tell)
            return
        async with private_images.coming(docker, name):
            await _pull(docker, name, image, login, tell)
    except aiodocker.DockerError as error:
        if here is None or private:
            raise StepFailed(_explained(image, error.message)) from error


async def _pull(
    docker: aiodocker.Docker,
    name: str,
    image: str,
    login: RegistryLogin | None,
    tell: Callable[[str], None],
) -> None:
    progress = PullProgress(image)
    tell(progress.heard({}))
    # An error in the middle of the stream is raised by aiodocker as one at its beginning is.
    async for message in docker.images.pull(name, auth=_auth(login), stream=True, timeout=None):
        tell(progress.heard(message))


def _auth(login: RegistryLogin | None) -> dict[str, str] | None:
    if login is None:
        return None
    return {"username": login.user, "password": login.password}


def _explained(image: str, complaint: str) -> str:
    said = complaint.strip()
    if "no space left" in said.lower():
        return f"the host's disk is full: image {image} does not fit on it"
    if "not found" in said or "manifest unknown" in said:
        return f"image {image} was not found; check its name and tag"
    if any(word in said for word in ("denied", "unauthorized", "authentication", "no basic auth")):
        return f"image {image} cannot be read; if it is private, check the registry login: {said}"
    return f"image {image} could not be pulled: {said}"
