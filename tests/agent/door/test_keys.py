"""Who may come in: by keys of the desired state and by nothing else."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from tests.agent.door.conftest import COPYING, PLAIN, House
from tests.agent.door.visitor import Visitor, new_key
from tests.agent.real import inside

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="package")]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_a_key_of_any_usual_kind_opens_and_is_taken_away_again(
    house: House, tmp_path: Path, kind: str
) -> None:
    public = new_key(tmp_path / "other", kind)
    other = await house.visitor(PLAIN, tmp_path / "other")
    assert (await other.ssh("echo in")).code == 255
    await house.lets_in(PLAIN, house.public, public)
    assert (await other.ssh("echo in")).out == b"in\n"
    await house.lets_in(PLAIN, house.public)
    refused = await other.ssh("echo in")
    assert (refused.code, refused.out) == (255, b"")
    assert "Permission denied (publickey)" in refused.err


async def test_who_is_inside_by_a_key_that_is_taken_away_is_sent_away(
    house: House, visitor: Visitor, tmp_path: Path
) -> None:
    await house.lets_in(PLAIN, house.public, new_key(tmp_path / "other"))
    other = await house.visitor(PLAIN, tmp_path / "other")
    both = [
        await asyncio.create_subprocess_exec(
            *somebody.ssh_words("echo in; read end; echo $end"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for somebody in (other, visitor)
    ]
    for program in both:
        assert program.stdout is not None
        assert await program.stdout.readline() == b"in\n"
    await house.lets_in(PLAIN, house.public)
    _, said = await asyncio.wait_for(both[0].communicate(), 10.0)
    assert both[0].returncode == 255
    assert b"your key was taken away" in said
    assert (await both[1].communicate(b"stayed\n"))[0] == b"stayed\n"


async def test_no_password_and_no_other_name_opens(visitor: Visitor, house: House) -> None:
    asked = await visitor.ssh("-oPubkeyAuthentication=no", "-v", "-oLogLevel=DEBUG1", "true")
    assert asked.code == 255
    assert "Authentications that can continue: publickey\n" in asked.err.replace("\r", "")
    assert "Next authentication method: password" not in asked.err
    for user in ("admin", "nobody", "rootx"):
        other = await house.visitor(PLAIN, user=user)
        assert (await other.ssh("true")).code == 255


async def test_a_password_is_refused_however_it_is_offered(
    visitor: Visitor, tmp_path: Path
) -> None:
    answer = tmp_path / "answer"
    answer.write_text("#!/bin/sh\necho asked >&2\necho root\n")
    answer.chmod(0o700)
    words = [word for word in visitor.ssh_words("true") if "BatchMode" not in word]
    methods = "-oPreferredAuthentications=password,keyboard-interactive"
    program = await asyncio.create_subprocess_exec(
        *words[:1],
        methods,
        *words[1:],
        env=os.environ | {"SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await program.communicate()
    assert program.returncode == 255
    assert b"Permission denied (publickey)" in said
    assert b"asked" not in said


async def test_a_key_opens_its_own_instances_only(house: House, tmp_path: Path) -> None:
    await house.lets_in(PLAIN, house.public, new_key(tmp_path / "other"))
    assert (await (await house.visitor(PLAIN, tmp_path / "other")).ssh("true")).code == 0
    assert (await (await house.visitor(COPYING, tmp_path / "other")).ssh("true")).code == 255
    await house.lets_in(PLAIN, house.public)


async def test_keys_inside_the_container_open_nothing(house: House, tmp_path: Path) -> None:
    """What a renter's program writes there is not the desired state."""
    public = new_key(tmp_path / "other")
    write = f"mkdir -p /root/.ssh; echo '{public}' > /root/.ssh/authorized_keys"
    assert (await inside(house.host, PLAIN, write))[0] == 0
    assert (await (await house.visitor(PLAIN, tmp_path / "other")).ssh("true")).code == 255


async def test_what_is_no_key_keeps_nobody_out(house: House, visitor: Visitor) -> None:
    await house.lets_in(PLAIN, "ssh-ed25519 nonsense", "# note", f"{house.public}\n", "")
    assert (await visitor.ssh("echo in")).out == b"in\n"
    await house.lets_in(PLAIN, house.public)


async def test_the_machine_is_known_by_one_key(house: House) -> None:
    told = set()
    for number in (PLAIN, COPYING):
        port = str(await house.port(number))
        scan = await asyncio.to_thread(
            subprocess.run,
            ["ssh-keyscan", "-p", port, "127.0.0.1"],
            capture_output=True,
            text=True,
            check=True,
        )
        told |= {line.partition(" ")[2] for line in scan.stdout.splitlines()}
    assert len(told) == 1
    assert (house.home / "ssh_host_ed25519_key").stat().st_mode & 0o077 == 0
