"""Files by sftp and scp: up and down, and none but the container's own."""

import asyncio
import contextlib
import hashlib
import os
import random
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mercato.agent.door import files
from mercato.agent.door.files_session import FilesSession
from mercato.agent.door.session import FILES_MAX
from tests.agent.builders import wanted
from tests.agent.door.conftest import PLAIN, House
from tests.agent.door.visitor import Visitor, came
from tests.agent.real import build_box, inside

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="package")]

BIG = random.Random(3).randbytes(8_000_000)


async def test_scp_copies_up_and_down_as_it_is(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    assert (await visitor.scp(tmp_path / "big", ":/root/big")).code == 0
    assert (await visitor.ssh("sha256sum /root/big")).out.split()[0].decode() == hashlib.sha256(
        BIG
    ).hexdigest()
    assert (await visitor.scp(":big", tmp_path / "back")).code == 0  # from the home directory
    assert (tmp_path / "back").read_bytes() == BIG


async def test_scp_copies_whole_trees(visitor: Visitor, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "deep" / "er" / "file with a space é").write_text("found")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o750)
    os.utime(tree / "run", (1_000_000_000, 1_000_000_000))
    assert (await visitor.scp(tree, ":/root/", "-r", "-p")).code == 0
    assert (await visitor.scp(":/root/tree", tmp_path / "back", "-r", "-p")).code == 0
    back = tmp_path / "back"
    assert (back / "deep" / "er" / "file with a space é").read_text() == "found"
    assert stat.S_IMODE((back / "run").stat().st_mode) == 0o750
    assert (back / "run").stat().st_mtime == 1_000_000_000


async def test_sftp_does_what_a_person_does_with_files(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("up")
    came = await visitor.sftp(
        "pwd",
        f"put {tmp_path / 'up'} one",
        "mkdir work",
        "rename one work/two",
        "ln -s two work/three",
        "chmod 600 work/two",
        "chown 1000 work/two",
        "ls -ln work",
        f"get work/three {tmp_path / 'down'}",
        "rm work/two",
        "rm work/three",
        "rmdir work",
        "df",
    )
    assert came.code == 0, came.err
    assert b"Remote working directory: /root\n" in came.out
    assert re.search(rb"-rw------- +. 1000 +0 +2 ", came.out), came.out
    assert (tmp_path / "down").read_text() == "up"
    missing = await visitor.sftp("get /root/none")
    assert missing.code == 1
    assert "not found" in missing.err


async def test_a_broken_upload_is_taken_up_again(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    (tmp_path / "half").write_bytes(BIG[:5_000_000])
    assert (await visitor.scp(tmp_path / "half", ":/root/resumed")).code == 0
    assert (await visitor.sftp(f"reput {tmp_path / 'big'} /root/resumed")).code == 0
    came = await visitor.ssh("sha256sum /root/resumed")
    assert came.out.split()[0].decode() == hashlib.sha256(BIG).hexdigest()


LARGEST = 4 * 1_024 * 1_024
"""As much as one request may read or write."""

FILE_RIGHTS = 0b11011
"""CHOWN, DAC_OVERRIDE, FOWNER and FSETID, by the kernel's numbers."""

SECRET = "only the host may read this"

WAYS_OUT = (
    "/escape/absolute",
    "/escape/upwards",
    "/escape/folder/secret",
    "/escape/chain",
    "/proc/1/root{secret}",
    "/proc/1/cwd{secret}",
    "/proc/self/root{secret}",
    "/proc/self/cwd/../../../..{secret}",
    "/proc/thread-self/root{secret}",
    "/proc/{agent}/root{secret}",
    "/../../../../../..{secret}",
    "/escape/../../..{secret}",
    "/dev/fd/3/..{secret}",
    "/proc/self/fd/3{secret}",
    "/proc/1/fd/3{secret}",
    "/sys/fs/cgroup/../../..{secret}",
)


async def test_no_file_of_the_host_is_read_or_written(
    house: House, visitor: Visitor, tmp_path: Path
) -> None:
    """Links and paths out of the container, laid by its own root, lead nowhere but back inside."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    lay = f"""
    mkdir -p /escape; cd /escape
    ln -sf {secret} absolute
    ln -sf ../../../../../../../..{secret} upwards
    ln -sfn {tmp_path} folder
    ln -sf /proc/1/root{secret} chain
    """
    assert (await inside(house.host, PLAIN, lay))[0] == 0
    new, got = tmp_path / "new", tmp_path / "got"
    new.write_text("overwritten")
    ways = [pattern.format(secret=secret, agent=os.getpid()) for pattern in WAYS_OUT]
    await visitor.sftp(*(f"-get {way} {got}-{number}" for number, way in enumerate(ways)))
    await visitor.sftp(*(f"-put {new} {way}" for way in ways))
    await visitor.sftp(*(f"-get {way} {got}-{number}" for number, way in enumerate(ways)))
    read = {number: Path(f"{got}-{number}") for number in range(len(ways))}
    assert not [ways[n] for n, copy in read.items() if copy.exists() and SECRET in copy.read_text()]
    assert secret.read_text() == SECRET


async def test_no_folder_of_the_host_is_listed_or_changed(
    house: House, visitor: Visitor, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    await inside(house.host, PLAIN, f"mkdir -p /escape; ln -sfn {tmp_path} /escape/folder")
    for way in ("/escape/folder", f"/proc/1/root{tmp_path}", f"/../..{tmp_path}"):
        came = await visitor.sftp(
            f"-ls {way}",
            f"-rm {way}/secret",
            f"-mkdir {way}/made",
            f"-rename {way}/secret {way}/moved",
            f"-ln {way}/secret /root/hard",
            f"-chmod 777 {way}/secret",
            f"-chown 12345 {way}/secret",
        )
        assert b"secret" not in came.out.replace(f"{way}/secret".encode(), b"")
        secret = (tmp_path / "secret").stat()
        assert (secret.st_uid, secret.st_nlink) == (os.getuid(), 1)
        assert stat.S_IMODE(secret.st_mode) != 0o777
        assert await asyncio.to_thread(os.listdir, tmp_path) == ["secret"]


def sftp_process() -> Path:
    """The process that answers a visitor of this very agent, as the host sees it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = f"PPid:\t{os.getpid()}\n" in (process / "status").read_text()
            if ours and b"mercato.agent.door.files" in (process / "cmdline").read_bytes():
                found.append(process)
    assert len(found) == 1
    return found[0]


def root_of(pid: int | str) -> tuple[int, int]:
    """Which directory a process takes for the root."""
    found = Path(f"/proc/{pid}/root").stat()
    return found.st_dev, found.st_ino


def seen_by(process: Path) -> tuple[tuple[int, int], set[str]]:
    """The root of a process, and the files that it has open by name."""
    # Its complaints go where the agent's own go.
    files = [each for each in (process / "fd").iterdir() if each.name != "2"]
    links = {str(each.readlink()) for each in files}
    return root_of(process.name), {link for link in links if link.startswith("/")}


async def test_what_runs_for_sftp_has_few_rights_and_sees_nothing_else(
    house: House, visitor: Visitor
) -> None:
    first = await house.host._engine.pid(PLAIN)
    async with visitor.at_files():
        process = await asyncio.to_thread(sftp_process)
        status = await asyncio.to_thread((process / "status").read_text)
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == FILE_RIGHTS
        assert fields["NoNewPrivs"].strip() == "1"
        assert not fields["Groups"].strip()
        assert await asyncio.to_thread(seen_by, process) == (root_of(first), set())


@contextlib.contextmanager
def disk_of_the_host(contents: Path) -> Iterator[Path]:
    """A block device of this machine, over a file."""
    words = ("losetup", "--find", "--show", str(contents))
    made = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield Path(made)
    finally:
        subprocess.run(("losetup", "--detach", made), check=True)


async def test_no_device_of_the_host_is_read_or_written(house: House, tmp_path: Path) -> None:
    """An image can bring the node of any device; the engine lets its own processes open few."""
    image, number = "mercato-test-device:1", 9
    contents, new, got = tmp_path / "disk", tmp_path / "new", tmp_path / "got"
    contents.write_bytes(SECRET.encode().ljust(1 << 20, b"\0"))
    new.write_text("overwritten")
    with disk_of_the_host(contents) as disk:
        build_box(image, device=("root/disk", disk.stat().st_rdev))
        await house.has(wanted(number, image=image, keys=(house.public,), gpus=(3,)))
        code, said = await inside(house.host, number, "cat /root/disk 2>&1")
        assert (code, "not permitted" in said) == (1, True), said
        visitor = await house.visitor(number)
        seen = await visitor.sftp(
            f"-get /root/disk {got}", f"-put {new} /root/disk", "ls -l /root/disk", "ls -a /proc"
        )
        await house.loses(number)
    assert (await came("docker", "rmi", image)).code == 0
    assert not got.exists() or SECRET.encode() not in got.read_bytes()
    assert contents.read_bytes().startswith(SECRET.encode())
    assert b"brw-rw-rw-" in seen.out
    assert not re.search(rb"proc/\d", seen.out), "a process would lead to the mounts that it has"


async def test_where_devices_cannot_be_barred_another_way_is_named(tmp_path: Path) -> None:
    """A file that is no namespace stands for a kernel that cannot enter one so."""
    with (tmp_path / "no-namespace").open("w") as file:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", files.__name__, str(file.fileno()), "client"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(file.fileno(),),
        )
    session = FilesSession(program)
    said = await session.read()
    assert said is not None
    assert said[0] == 2
    assert b"scp -O" in said[1]
    assert await session.read() is None
    assert await session.exit_code() == files.UNCONFINED


async def test_sftp_is_for_a_few_at_once(visitor: Visitor) -> None:
    async with contextlib.AsyncExitStack() as inside_with_sftp:
        for _ in range(FILES_MAX):
            await inside_with_sftp.enter_async_context(visitor.at_files())
        refused = await visitor.sftp("pwd")
        assert refused.code == 255
        assert f"{FILES_MAX} sessions of SFTP are open" in refused.err
        assert (await visitor.ssh("true")).code == 0
    async with asyncio.timeout(20.0):
        while (await visitor.sftp("pwd")).code != 0:  # noqa: ASYNC110 - they leave by themselves
            await asyncio.sleep(0.05)


async def test_the_largest_requests_fit_into_its_memory(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    async with (
        visitor.connection() as connection,
        connection.start_sftp_client() as sftp,
    ):
        big, back = str(tmp_path / "big"), str(tmp_path / "back")
        await sftp.put(big, "/root/large", block_size=LARGEST, max_requests=64)
        await sftp.get("/root/large", back, block_size=LARGEST, max_requests=64)
    assert (tmp_path / "back").read_bytes() == BIG


async def test_special_files_of_the_container_harm_nobody(house: House, visitor: Visitor) -> None:
    """A pipe that nobody writes to would hold an open for ever."""
    await inside(house.host, PLAIN, "mkfifo /root/pipe")
    came = await visitor.sftp("ls -l /root/pipe", "rm /root/pipe")
    assert came.code == 0
