"""Commands over SSH: exit codes, bytes both ways, what they see, how they end."""

import asyncio
import hashlib
import random
import shlex

import pytest

from tests.agent.builders import wanted
from tests.agent.door.conftest import PLAIN, House
from tests.agent.door.visitor import Visitor, came, ended, soon

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="package")]

MEGABYTES = random.Random(1).randbytes(4_000_000)
SUM = hashlib.sha256(MEGABYTES).hexdigest()

_RUNS = "ps -o args | grep -x '{}'"


@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("nothing", 127)],
)
async def test_a_command_ends_with_its_own_exit_code(
    visitor: Visitor, command: str, code: int
) -> None:
    assert (await visitor.ssh(command)).code == code


async def test_output_and_errors_come_apart(visitor: Visitor) -> None:
    came = await visitor.ssh("echo out; echo err >&2")
    assert (came.out, came.err) == (b"out\n", "err\n")


async def test_bytes_go_in_and_come_out_as_they_are(visitor: Visitor) -> None:
    went_in = await visitor.ssh("sha256sum", given=MEGABYTES)
    assert went_in.out.split()[0].decode() == SUM
    both_ways = await visitor.ssh("cat", given=MEGABYTES)
    assert hashlib.sha256(both_ways.out).hexdigest() == SUM


async def test_input_that_nobody_reads_ends_with_the_command(visitor: Visitor) -> None:
    came = await visitor.ssh("exit 3", given=MEGABYTES)
    assert came.code == 3


async def test_what_writes_to_nobody_is_ended(visitor: Visitor) -> None:
    piped = shlex.join(visitor.ssh_words("cat /dev/zero; echo $? > /tmp/ended"))
    cut = await came("/bin/sh", "-c", f"{piped} | head -c 1000000 | wc -c")
    assert cut.out.strip() == b"1000000"
    assert (await visitor.ssh("! ps -o args | grep -x 'cat /dev/zero'")).code == 0


async def test_a_command_finds_itself_at_home(visitor: Visitor) -> None:
    said = (await visitor.ssh("-oSetEnv=LC_MINE=yes", "pwd; echo $USER $SHELL $LC_MINE; id -u")).out
    assert said.decode().split() == ["/root", "root", "/bin/sh", "yes", "0"]
    connection = (await visitor.ssh("echo $SSH_CONNECTION")).out.split()
    assert (connection[0], connection[2]) == (b"127.0.0.1", b"127.0.0.1")
    assert int(connection[3]) == visitor.port


async def test_many_sessions_at_once(visitor: Visitor, house: House) -> None:
    """Each over a connection of its own, then all over one."""
    numbers = range(12)
    apart = await asyncio.gather(*(visitor.ssh(f"sleep 0.2; echo {n}") for n in numbers))
    assert [int(came.out) for came in apart] == list(numbers)
    shared = house.home / "shared"
    keep = ("-oControlMaster=yes", f"-oControlPath={shared}", "-N")
    master = await asyncio.create_subprocess_exec(*visitor.ssh_words(*keep))
    try:
        async with asyncio.timeout(10.0):
            while not shared.exists():  # noqa: ASYNC110 - ssh has no other way to say it
                await asyncio.sleep(0.02)
        together = await asyncio.gather(
            *(visitor.ssh(f"-oControlPath={shared}", f"sleep 0.2; echo {n}") for n in numbers[:9])
        )
        assert [int(came.out) for came in together] == list(numbers[:9])
    finally:
        await ended(master)


async def test_a_command_whose_visitor_has_gone_is_hung_up(visitor: Visitor) -> None:
    # Who is hung up says so: a process that has only been forked would have its parent's trap.
    child = "sh -c 'echo on; exec sleep 60'"
    words = visitor.ssh_words(f"trap 'echo hung > /tmp/up; exit' HUP; {child} & wait")
    program = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert program.stdout is not None
    assert await program.stdout.readline() == b"on\n"
    program.kill()
    await program.wait()
    assert (await visitor.ssh(soon("grep hung /tmp/up"))).code == 0
    assert (await visitor.ssh(soon(f"! {_RUNS.format('sleep 60')}"))).code == 0


async def test_what_a_visitor_leaves_in_the_background_goes_on(visitor: Visitor) -> None:
    left = await visitor.ssh("sleep 61 > /dev/null 2>&1 & echo left")
    assert left.out == b"left\n"
    assert (await visitor.ssh(_RUNS.format("sleep 61"))).code == 0


async def test_a_visitor_hears_that_the_instance_was_stopped(house: House, box: str) -> None:
    number = 11
    await house.has(wanted(number, image=box, gpus=(2,), keys=(house.public,)))
    visitor = await house.visitor(number)
    program = await asyncio.create_subprocess_exec(
        *visitor.ssh_words("echo on; sleep 60"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    assert await program.stdout.readline() == b"on\n"
    await house.has(wanted(number, image=box, gpus=(2,), keys=(house.public,), running=False))
    _, said = await asyncio.wait_for(program.communicate(), 20.0)
    assert f"instance {number} was stopped".encode() in said
    assert program.returncode == 255
    assert (await house.visitor(PLAIN)).port != visitor.port
