"""Volumes on a host: real directories, real Docker volumes, clones that are whole or not there."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from mercato.agent.engine import StepFailed
from mercato.agent.plan import Make, Seen, plan
from mercato.agent.sync import Host
from mercato.agent.volume_store import VolumeStore
from mercato.market.instance import Actual
from mercato.wire.agent import Desired, DesiredInstance, DesiredVolume, Mount
from tests.agent.builders import MACHINE, wanted
from tests.agent.real import inside, living_host, until_running
from tests.agent.test_host import until


def mounting(it: DesiredInstance, *mounts: tuple[int, str]) -> DesiredInstance:
    return replace(it, mounts=tuple(Mount(volume=v, path=path) for v, path in mounts))


def told(generation: int, volumes: tuple[DesiredVolume, ...], *them: DesiredInstance) -> Desired:
    return Desired(machine=MACHINE, generation=generation, instances=them, volumes=volumes)


async def until_volumes(host: Host, ready: set[int]) -> None:
    async with asyncio.timeout(20.0):
        while {one.id for one in (await host.observe()).volumes if one.ready} != ready:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


def test_an_instance_is_made_when_its_volumes_are_there() -> None:
    it = mounting(wanted(1), (9, "/data"))
    assert plan({1: it}, Seen(sees=True)) == []
    assert plan({1: it}, Seen(sees=True, volumes=frozenset({9}))) == [Make(it)]


async def test_a_clone_is_whole_or_not_there(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path / "volumes")
    assert store.ids() == frozenset()
    await store.make(DesiredVolume(id=1, size_mb=10))
    (store.path(1) / "kept").write_text("data")
    half = tmp_path / "volumes" / "2.copying"
    half.mkdir()
    (half / "rest").write_text("of a copy that was cut off")
    assert store.ids() == {1}
    await store.make(DesiredVolume(id=2, size_mb=10, clone_of=1))
    assert [path.name for path in store.path(2).iterdir()] == ["kept"]
    await store.make(DesiredVolume(id=1, size_mb=10))
    assert (store.path(1) / "kept").read_text() == "data"
    with pytest.raises(StepFailed, match="volume 8"):
        await store.make(DesiredVolume(id=3, size_mb=10, clone_of=8))
    await store.remove(1)
    await store.remove(1)
    assert store.ids() == {2}


@pytest.mark.docker
async def test_files_outlive_the_instance_that_wrote_them(box: str) -> None:
    volumes = (DesiredVolume(id=5, size_mb=100),)
    async with living_host() as host:
        host.take(told(1, volumes, mounting(wanted(1, image=box), (5, "/data"))))
        await until_running(host, 1)
        assert await inside(host, 1, "echo kept > /data/file; cat /data/file") == (0, "kept\n")
        host.take(told(2, volumes))
        await until(host, 1, lambda it: it is None or it.actual is Actual.ABSENT)
        twin = (*volumes, DesiredVolume(id=6, size_mb=100, clone_of=5))
        both = mounting(wanted(2, image=box), (5, "/data"), (6, "/copy/deep"))
        host.take(told(3, twin, both))
        await until_running(host, 2)
        assert await inside(host, 2, "cat /data/file /copy/deep/file") == (0, "kept\nkept\n")
        host.take(told(4, ()))
        await until_volumes(host, set())
