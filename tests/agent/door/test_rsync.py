"""rsync over SSH, and the copying user of `vastai copy`, who may do nothing else."""

import hashlib
import random
from pathlib import Path

import pytest

from tests.agent.door.conftest import COPYING, PLAIN, House
from tests.agent.door.visitor import came
from tests.agent.real import inside

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="package")]


def make_tree(root: Path, seed: int) -> dict[str, str]:
    """Files of many sizes; each name with the digest of its contents."""
    luck = random.Random(seed)
    made = {}
    for size in (0, 1, 100, 70_000, 3_000_000):
        path = root / f"folder{size % 7}" / f"file {size}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(luck.randbytes(size))
        made[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return made


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


async def test_trees_go_up_and_down_and_only_differences_again(
    house: House, tmp_path: Path
) -> None:
    visitor = await house.visitor(COPYING)
    made = make_tree(tmp_path / "up", 4)
    assert (await visitor.rsync(f"{tmp_path}/up/", ":/root/tree", "-a")).code == 0
    (tmp_path / "up" / "late").write_text("late")
    again = await visitor.rsync(f"{tmp_path}/up/", ":/root/tree", "-ai", "--delete")
    files = [line for line in again.out.splitlines() if line.startswith(b"<f")]
    assert files == [b"<f+++++++++ late"]
    assert (await visitor.rsync(":/root/tree/", f"{tmp_path}/down", "-a")).code == 0
    assert digests(tmp_path / "down") == made | {"late": hashlib.sha256(b"late").hexdigest()}


async def test_the_copying_user_copies_by_either_name_of_the_instance(
    house: House, tmp_path: Path
) -> None:
    visitor = await house.visitor(COPYING, user="vastai_kaalia")
    made = make_tree(tmp_path / "up", 5)
    remote = " ".join(("ssh", *visitor.options, "-p", str(visitor.port)))
    for name in (f"C.{COPYING}", str(COPYING)):
        away = f"{visitor.address}::{name}/root/{name}"
        up = await came("rsync", "-arz", "-e", remote, f"{tmp_path}/up/", away)
        assert up.code == 0, up.err
        down = await came("rsync", "-arz", "-e", remote, f"{away}/", f"{tmp_path}/{name}/")
        assert down.code == 0, down.err
        assert digests(tmp_path / name) == made
    assert (await inside(house.host, COPYING, "ls -A /tmp"))[1] == ""


async def test_the_copying_user_may_do_nothing_else(house: House, tmp_path: Path) -> None:
    visitor = await house.visitor(COPYING, user="vastai_kaalia")
    for command in ("id", "rsync --server --daemon . ; id", "sh"):
        asked = await visitor.ssh(command)
        assert (asked.code, asked.out) == (255, b""), command
    async with visitor.terminal(size=(80, 24)) as terminal:
        assert await terminal.end() == 255
    assert (await visitor.scp(":/etc/passwd", tmp_path / "got")).code != 0
    assert not digests(tmp_path)


async def test_an_image_without_rsync_says_so(house: House, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    visitor = await house.visitor(PLAIN)
    assert (await visitor.rsync(tmp_path / "file", ":/root/", "-a")).code != 0
    copier = await house.visitor(PLAIN, user="vastai_kaalia")
    remote = " ".join(("ssh", *copier.options, "-p", str(copier.port)))
    asked = await came(
        "rsync", "-a", "-e", remote, str(tmp_path / "file"), f"{copier.address}::{PLAIN}/root/"
    )
    assert asked.code != 0
    assert "this image has no rsync" in asked.err


async def test_the_copying_users_links_stay_inside(house: House, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    visitor = await house.visitor(COPYING, user="vastai_kaalia")
    await inside(house.host, COPYING, f"ln -sfn {tmp_path} /root/out")
    remote = " ".join(("ssh", *visitor.options, "-p", str(visitor.port)))
    away = f"{visitor.address}::{COPYING}/root/out/secret"
    assert (await came("rsync", "-aL", "-e", remote, away, f"{tmp_path}/got")).code != 0
    assert list(digests(tmp_path)) == ["secret"]
