"""The network of the instances on a Docker Engine: our own bridge, with its firewall.

Several agents may share one engine, and whoever ends last may take the network away. Each is
therefore counted while it runs, and sees to the network before each start: `docker network prune`
asks nobody.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiodocker

from mercato.agent import isolation
from mercato.agent.way_home import WayHome

_DEVICE: Final = Path("/sys/class/net") / isolation.BRIDGE

_USERS: Final = Path(tempfile.gettempdir()) / f"mercato-docker-{os.getuid()}.lock"
"""Locked, shared, by each process that uses the network."""

_TRIES: Final = 3


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """Be counted among those who use the network of this machine's engine."""
    users = _locked(fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(users)


@contextlib.contextmanager
def used_by_nobody() -> Iterator[bool]:
    """Whether nobody is counted; while that is so, nobody can be."""
    try:
        users = _locked(fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        _USERS.unlink(missing_ok=True)
        os.close(users)


def _locked(how: int) -> int:
    """The file of the users, locked, and not one that was taken away in the meantime."""
    while True:
        users = os.open(_USERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(users, how)
            if _USERS.exists() and os.path.samestat(os.fstat(users), _USERS.stat()):
                return users
        except OSError:
            os.close(users)
            raise
        os.close(users)


class InstanceNetwork:
    """The network as one agent uses it."""

    def __init__(self, owner: str, way_home: WayHome | None) -> None:
        """Count as a user from the first `prepare` on. Instances reach home by `way_home`.

        `owner` names this agent among all that share the network.
        """
        self._owner = owner
        self._way_home = way_home
        self._use = contextlib.ExitStack()
        self._counted = False

    @property
    def names(self) -> list[str]:
        """What instances know beside what their name servers tell, as the engine takes it."""
        return self._way_home.names if self._way_home is not None else []

    async def prepare(self, docker: aiodocker.Docker) -> str:
        """See that the network and its firewall stand, the same however often it is done.

        Returns what is wrong, for the host: empty when they stand.
        """
        if not self._counted:
            self._use.enter_context(in_use())
            self._counted = True
        networks = await docker.networks.list(filters={"name": [isolation.NETWORK]})
        if not any(network["Name"] == isolation.NETWORK for network in networks):
            with contextlib.suppress(aiodocker.DockerError):  # another agent was faster
                await docker.networks.create(isolation.NETWORK_CONFIG)
        if self._way_home is None or not self._way_home.needed:
            return await isolation.raise_firewall(self._owner)
        await self._way_home.open(await _gateway(docker))
        return await isolation.raise_firewall(self._owner, self._way_home.openings)

    async def start(self, docker: aiodocker.Docker, name: str) -> None:
        """Start a container, on the network of today if that of its last run was taken away."""
        container = docker.containers.container(name)
        for left in reversed(range(_TRIES)):
            try:
                await container.start()
            except aiodocker.DockerError as error:
                if left == 0 or not _is_about_the_network(error):
                    raise
                await self._put_right(docker, name)
            else:
                return

    async def close(self) -> None:
        """Use the network no longer."""
        if self._way_home is not None:
            await isolation.close_openings(self._owner, self._way_home.openings)
            await self._way_home.close()
        self._use.close()
        self._counted = False

    async def _put_right(self, docker: aiodocker.Docker, name: str) -> None:
        """Have a network with a device under it, and the container on it."""
        if os.geteuid() == 0 and not _DEVICE.exists():
            with contextlib.suppress(aiodocker.DockerError):
                # Refused while containers are on it: only restarting the engine then helps.
                await (await docker.networks.get(isolation.NETWORK)).delete()
        await self.prepare(docker)
        network = await docker.networks.get(isolation.NETWORK)
        with contextlib.suppress(aiodocker.DockerError):
            await network.disconnect({"Container": name, "Force": True})
        with contextlib.suppress(aiodocker.DockerError):
            await network.connect({"Container": name})


async def _gateway(docker: aiodocker.Docker) -> str:
    """This host's address on the instances' bridge."""
    network = await (await docker.networks.get(isolation.NETWORK)).show()
    return str(network["IPAM"]["Config"][0]["Gateway"])


def _is_about_the_network(error: aiodocker.DockerError) -> bool:
    """Whether the network is gone that the container knows, or the device under it."""
    said = error.message
    return ("network" in said and "not found" in said) or "could not find bridge" in said
