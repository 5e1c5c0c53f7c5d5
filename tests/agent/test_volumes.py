"""Volumes on a host: real directories, real Docker volumes, clones that are whole or not there."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from mercato.agent import volume_image
from mercato.agent.engine import StepFailed
from mercato.agent.plan import Make, Seen, plan
from mercato.agent.sync import Host
from mercato.agent.volume_store import VolumeStore
from mercato.market.instance import Actual
from mercato.wire.agent import Desired, DesiredInstance, DesiredVolume, Mount
from tests.agent.builders import MACHINE, wanted
from tests.agent.real import inside, living_host, new_engine, until_running
from tests.agent.test_host import until


def mounting(it: DesiredInstance, *mounts: tuple[int, str]) -> DesiredInstance:
    return replace(it, mounts=tuple(Mount(volume=v, path=path) for v, path in mounts))


def told(generation: int, volumes: tuple[DesiredVolume, ...], *them: DesiredInstance) -> Desired:
    return Desired(machine=MACHINE, generation=generation, instances=them, volumes=volumes)


async def until_no_volumes(host: Host) -> None:
    async with asyncio.timeout(20.0):
        while (await host.observe()).volumes:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


def test_an_instance_is_made_when_its_volumes_are_there() -> None:
    it = mounting(wanted(1), (9, "/data"))
    assert plan({1: it}, Seen(sees=True)) == []
    assert plan({1: it}, Seen(sees=True, volumes=frozenset({9}))) == [Make(it)]


def mounts(root: Path) -> list[str]:
    """What is mounted below a directory."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{root}/")]


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    """A store of plain directories, as on a host that can do no better."""
    made = VolumeStore(tmp_path / "volumes")
    made.unbounded = "the test wants none"
    return made


@pytest.fixture
async def bounded(tmp_path: Path) -> AsyncIterator[VolumeStore]:
    """A store that keeps volumes within their size, and leaves nothing mounted."""
    root = tmp_path / "volumes"
    root.mkdir()
    why = await volume_image.why_not(root)
    if why:
        pytest.skip(f"this machine cannot bound volumes: {why}")
    made = VolumeStore(root)
    yield made
    await made.release()
    assert mounts(root) == []


async def test_a_clone_is_whole_or_not_there(store: VolumeStore, tmp_path: Path) -> None:
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


async def test_nothing_outgrows_a_volume_nor_a_clone(bounded: VolumeStore, tmp_path: Path) -> None:
    await bounded.make(DesiredVolume(id=1, size_mb=8))
    path = await bounded.ready(1)
    (path / "kept").write_text("data")
    with pytest.raises(OSError, match="No space left"):
        (path / "much").write_bytes(bytes(9_000_000))
    (path / "much").unlink()
    await bounded.make(DesiredVolume(id=2, size_mb=16, clone_of=1))
    clone = await bounded.ready(2)
    assert [one.name for one in clone.iterdir()] == ["kept"]
    (clone / "much").write_bytes(bytes(9_000_000))
    with pytest.raises(StepFailed, match="no space"):
        await bounded.make(DesiredVolume(id=3, size_mb=4, clone_of=2))
    assert bounded.ids() == {1, 2}
    await bounded.remove(1)
    await bounded.remove(1)
    assert mounts(tmp_path) == [str(clone)]
    await bounded.remove(2)
    await bounded.remove(3)
    assert list((tmp_path / "volumes").iterdir()) == []


async def test_a_killed_agent_leaves_no_mount_and_loses_no_file(
    bounded: VolumeStore, tmp_path: Path
) -> None:
    root = tmp_path / "volumes"
    await bounded.make(DesiredVolume(id=1, size_mb=8))
    path = await bounded.ready(1)
    (path / "kept").write_text("data")
    # Killed in the middle of a copy: its draft is mounted.
    draft = root / "2.img.copying"
    await volume_image.make(draft, 4, root / "2.copying")
    await volume_image.mount(draft, root / "2.copying")
    again = VolumeStore(root)
    assert await again.look() == {1}
    assert mounts(root) == [str(path)]
    assert await again.ready(1) == path
    assert mounts(root) == [str(path)], "what is mounted is not mounted over"
    # A power cut: nothing is mounted by itself.
    await volume_image.unmount(path)
    assert await again.look() == {1}
    assert ((await again.ready(1)) / "kept").read_text() == "data"
    assert sorted(one.name for one in root.iterdir()) == ["1", "1.img"]


@pytest.mark.docker
async def test_in_a_container_a_full_volume_says_so(box: str, bounded: VolumeStore) -> None:  # noqa: ARG001 - for its being possible
    volumes = (DesiredVolume(id=7, size_mb=8),)
    async with living_host() as host:
        host.take(told(1, volumes, mounting(wanted(1, image=box), (7, "/data"))))
        await until_running(host, 1)
        code, said = await inside(host, 1, "dd if=/dev/zero of=/data/much bs=1M count=9 2>&1")
        assert (code, "No space left" in said) == (1, True)
        code, said = await inside(host, 1, "rm /data/much; echo kept > /data/file; ls /data")
        assert (code, said) == (0, "file\n")
        host.take(told(2, ()))
        await until_no_volumes(host)


@pytest.mark.docker
async def test_after_a_power_cut_a_container_finds_its_volume(
    box: str,
    bounded: VolumeStore,  # noqa: ARG001 - for its being possible
) -> None:
    volumes = (DesiredVolume(id=8, size_mb=8),)
    it = mounting(wanted(1, image=box), (8, "/data"))
    async with living_host() as host:
        host.take(told(1, volumes, it))
        await until_running(host, 1)
        await inside(host, 1, "echo kept > /data/file")
        host.take(told(2, volumes, replace(it, running=False)))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.STOPPED)
        at = Path(tempfile.gettempdir()) / f"mercato-test{os.getpid()}-volumes" / "8"
        assert volume_image.is_mounted(at)
        await volume_image.unmount(at)
        host.take(told(3, volumes, replace(it, boots=it.boots + 1)))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.RUNNING)
        assert await inside(host, 1, "cat /data/file") == (0, "kept\n")
        host.take(told(4, ()))
        await until_no_volumes(host)


@pytest.mark.docker
async def test_removed_twice_at_once_a_container_has_let_go_of_its_volume(box: str) -> None:
    volumes = (DesiredVolume(id=4, size_mb=8),)
    async with living_host() as host:
        host.take(told(1, volumes, mounting(wanted(1, image=box), (4, "/data"))))
        await until_running(host, 1)
        other = new_engine()
        host.take(told(2, volumes))
        await asyncio.gather(*(other.remove(1) for _ in range(4)))
        await other.release_volumes()
        await other.close()
        host.take(told(3, ()))
        await until_no_volumes(host)


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
        await until_no_volumes(host)
