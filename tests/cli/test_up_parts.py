"""The parts of `mercato up`: children, the data directory, the kernel's rules."""

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from mercato.cli.errors import Trouble
from mercato.cli.up.children import Child
from mercato.cli.up.demonstration import Demonstration
from mercato.cli.up.firewall import without_docker
from mercato.cli.up.place import Place
from mercato.cli.up.ready import Ready, ReadyFile
from mercato.cli.up.reload import reloading
from mercato.cli.up.say import Say
from mercato.sdk import AsyncMercato
from mercato.sdk.shapes import Instance
from tests.sdk.answering import answering

FOREVER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def _process(child: Child) -> int | None:
    return child.pid


async def _at_once() -> bool:
    return True


async def test_a_child_that_dies_is_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = Child("server", FOREVER, tmp_path / "log", Say())
    await child.start(_at_once)
    first = child.pid
    assert first is not None
    try:
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(20):
            while child.pid in {None, first}:  # noqa: ASYNC110 - processes set no events
                await asyncio.sleep(0.05)
    finally:
        await child.stop()
    assert _process(child) is None
    told = capsys.readouterr().out
    assert "the server ended (SIGKILL)" in told
    assert "started again" in told


async def test_a_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    script = "import sys; sys.exit('the port is taken')"
    child = Child("server", [sys.executable, "-c", script], tmp_path / "log", Say())

    async def never() -> bool:
        return False

    with pytest.raises(Trouble, match="the port is taken"):
        await child.start(never)


async def test_a_child_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', "
        "flush=True); time.sleep(600)"
    )
    child = Child("server", [sys.executable, "-c", script], tmp_path / "log", Say())

    async def deaf() -> bool:
        return "deaf" in (tmp_path / "log").read_text()

    await child.start(deaf)
    await child.stop(deadline_s=0.2)
    assert child.pid is None


async def test_children_are_started_again_when_the_code_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "old.py").write_text("")
    child = Child("server", FOREVER, tmp_path / "log", Say())
    await child.start(_at_once)
    first = child.pid
    try:
        async with reloading([child], Say(), code), asyncio.timeout(20):
            (code / "new.py").write_text("")
            while child.pid in {None, first}:  # noqa: ASYNC110 - processes set no events
                await asyncio.sleep(0.05)
    finally:
        await child.stop()
    told = capsys.readouterr().out
    assert "new.py changed" in told
    assert "!!" not in told, "no trouble"


def test_the_keys_are_drawn_once_and_kept_from_others(tmp_path: Path) -> None:
    place = Place(tmp_path)
    keys = place.keys()
    assert place.keys() == keys
    assert len({keys.operator, keys.host, keys.renter}) == 3
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_a_data_directory_is_held_by_one_and_free_again_after(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.alone(), pytest.raises(Trouble, match=str(os.getpid())), Place(tmp_path).alone():
        pass
    with place.alone():
        pass


def test_the_ready_file_is_there_only_while_it_is_true(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("what an earlier run left")
    ready = Ready(
        url="http://x",
        engine_url="http://x",
        operator_key="o",
        host_key="h",
        renter_key="r",
        machine_id=1,
        image="image",
        pid=1,
    )
    file = ReadyFile(path)
    file.clear()
    assert not path.exists()
    with file.standing(ready):
        assert '"machine_id": 1' in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_the_demonstration_gives_an_instance_up_that_failed(tmp_path: Path) -> None:
    failed = {"id": 7, "state": "failed", "actual_status": "created", "intended_status": "stopped"}
    with answering() as server:
        server.answer(200, {"instances": failed | {"status_msg": "there is no such image"}})
        async with AsyncMercato(server.url) as market, asyncio.timeout(20):
            shown = Demonstration(market, tmp_path / "key", "image", Say(), pretend=True)
            with pytest.raises(Trouble, match="7 is failed: there is no such image"):
                await shown._wait(Instance(id=7))


RULES = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [5:300]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:MERCATO-INPUT - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -i mercato0 -j MERCATO-INPUT
-A FORWARD -j DOCKER-USER
-A FORWARD -i br-0123456789ab -j ACCEPT
-A FORWARD -s 10.1.0.0/16 -j ACCEPT
-A MERCATO-INPUT -j REJECT
COMMIT
"""


def test_only_the_engines_own_rules_are_taken_away() -> None:
    assert without_docker(RULES, "ACCEPT") == (
        "*filter\n"
        ":INPUT ACCEPT [0:0]\n"
        ":FORWARD ACCEPT [0:0]\n"
        ":OUTPUT ACCEPT [0:0]\n"
        "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
        "-A FORWARD -s 10.1.0.0/16 -j ACCEPT\n"
        "COMMIT\n"
    )
