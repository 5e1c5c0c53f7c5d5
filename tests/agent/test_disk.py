"""An instance's disk: what the image keeps in volumes of its own counts too."""

import asyncio
import subprocess
from collections.abc import Iterator
from typing import Any

import aiodocker
import pytest

from mercato.agent import docker_disk, docker_move
from tests.agent.builders import wanted
from tests.agent.real import build_box, new_engine

OWN_VOLUMES = "mercato-test-volumes:1"
NO_QUOTAS = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
OF_A_RENTERS_IMAGE = (
    "failed to mkdir /var/lib/docker/volumes/ab/_data/storage: file exists",
    "invalid mount config: '/--storage-opt is supported only' is not a directory",
)


@pytest.fixture
def image() -> Iterator[str]:
    """An image that keeps `/data` and `/cache` in volumes of its own."""
    build_box(OWN_VOLUMES, changes=("VOLUME /data/", "VOLUME /cache"))
    yield OWN_VOLUMES
    subprocess.run(["docker", "rmi", "--force", OWN_VOLUMES], capture_output=True, check=True)


def config(image: str, *targets: str) -> dict[str, Any]:
    """Of a container with a quota of 900 MB and the market's volumes at these paths."""
    mounts = [{"Type": "volume", "Source": "one", "Target": target} for target in targets]
    return {"Image": image, "HostConfig": {"StorageOpt": {"size": "900M"}, "Mounts": mounts}}


def test_no_image_of_a_renters_turns_quotas_off() -> None:
    assert docker_disk.knows_no_quotas(NO_QUOTAS)
    assert not any(docker_disk.knows_no_quotas(complaint) for complaint in OF_A_RENTERS_IMAGE)


def test_where_the_images_own_volumes_cannot_be_bounded_it_says_what_to_do() -> None:
    assert "mount a volume" in docker_disk.explained(
        "create ab: quota size requested but no quota support"
    )
    assert docker_disk.explained("write: no space left on device") == "the host's disk is full"
    assert docker_disk.explained("odd").endswith("could not be made: odd")


@pytest.mark.docker
async def test_the_images_own_volumes_have_their_part_of_the_disk(image: str) -> None:
    async with aiodocker.Docker() as docker:
        whole = config(image)
        await docker_disk.bound(docker, whole)
        mounted = config(image, "/data")
        await docker_disk.bound(docker, mounted)
    assert whole["HostConfig"]["StorageOpt"] == {"size": "300M"}
    own = {it["Target"]: it["VolumeOptions"] for it in whole["HostConfig"]["Mounts"]}
    part = {"DriverConfig": {"Name": "local", "Options": {"size": "300M"}}}
    assert own == {"/data": part, "/cache": part}
    assert mounted["HostConfig"]["StorageOpt"] == {"size": "450M"}
    assert [it["Target"] for it in mounted["HostConfig"]["Mounts"]] == ["/data", "/cache"]


@pytest.mark.docker
async def test_an_engine_that_turns_out_to_know_no_quotas_makes_containers_without(
    image: str,
) -> None:
    engine = new_engine("quota")
    try:
        await engine.contents()
        engine._quota = True  # as on XFS, before its mount is known to be without
        await engine.make(wanted(1, image=image), {}, lambda _said: None)
        assert (await engine.contents())[0].running
    finally:
        await engine.remove(1)
        await engine.close()


@pytest.mark.docker
async def test_what_is_in_the_images_own_volumes_moves_along(image: str) -> None:
    name = "mercato-test-moved-volume"
    description: dict[str, Any] = {
        "Image": image,
        "Cmd": ["/bin/sh", "-c", "echo kept > /data/it"],
        "Labels": {"mercato.gpus": "0"},
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [{"Type": "volume", "Target": "/data"}],
        },
    }
    async with aiodocker.Docker() as docker:
        made = await docker.containers.create(description, name=name)
        try:
            await made.start()
            await made.wait()
            at = await data_of(docker, name)
            for gpus in ("1", "2"):
                await docker_move.move(docker, name, gpus, [])
                assert await data_of(docker, name) == at
        finally:
            await docker.containers.container(name).delete(force=True, v=True)
            await docker_move.forget(docker, name)
            for volume in at.values():
                await asyncio.to_thread(drop, volume)


async def data_of(docker: aiodocker.Docker, name: str) -> dict[str, str]:
    """Which volume is at each path of a container."""
    mounts = (await docker.containers.container(name).show())["Mounts"]
    return {mount["Destination"]: mount["Name"] for mount in mounts}


def drop(volume: str) -> None:
    subprocess.run(["docker", "volume", "rm", "--force", volume], capture_output=True, check=True)
