"""The agent with a real Docker Engine."""

import asyncio
import errno
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

import mercato.agent.docker
from mercato.agent.docker_image import PullProgress
from mercato.agent.engine import EngineDown
from mercato.agent.memory import Memory
from mercato.agent.sync import Host
from mercato.market.instance import Actual
from mercato.wire.agent import Ask, Logs, Port
from tests.agent.builders import desired, wanted
from tests.agent.door.visitor import soon
from tests.agent.real import inside, living_host, new_engine, until_running, until_settled
from tests.agent.test_host import until

docker = pytest.mark.docker
TWICE = soon("test $(wc -l < /root/starts) = 2")
SERVE = "mkdir -p /www; echo hello > /www/index.html; httpd -p $PORT -h /www; echo served"


@docker
async def test_desired_becomes_a_container_with_a_port_that_answers(box: str) -> None:
    async with living_host() as host:
        it = wanted(1, image=box, ports=(Port(container=80),), onstart=SERVE, env={"PORT": "80"})
        host.take(desired(it))
        running = await until_running(host, 1)
        assert set(running.ports) == {"22/tcp", "80/tcp"}
        url = f"http://127.0.0.1:{running.ports['80/tcp']}/"
        await _until_served(host)
        body = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())
        assert body == b"hello\n"
        code, text = await inside(host, 1, "env")
        variables = dict(line.split("=", 1) for line in text.splitlines())
        assert code == 0
        assert variables["CONTAINER_ID"] == "1"
        assert variables["VAST_CONTAINERLABEL"] == "C.1"
        assert variables["VAST_TCP_PORT_80"] == str(running.ports["80/tcp"])
        assert variables["PUBLIC_IPADDR"] == "192.0.2.1"
        assert variables["GPU_COUNT"] == "1"


async def _until_served(host: Host) -> None:
    ask = Ask(id=1, deadline_s=5.0, work=Logs(instance=1))
    async with asyncio.timeout(5.0):
        while "served" not in (await host.answer(ask)).output:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


@docker
async def test_stop_start_reboot_and_recycle(box: str) -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image=box, onstart="echo again >> /root/starts")))
        first = await until_running(host, 1)
        host.take(desired(wanted(1, image=box, running=False), generation=2))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.STOPPED)
        host.take(desired(wanted(1, image=box, onstart="echo again >> /root/starts"), generation=3))
        second = await until(host, 1, lambda it: it is not None and it.actual is Actual.RUNNING)
        assert second is not None
        assert second.ports == first.ports
        assert second.down_bytes >= first.down_bytes
        assert (await inside(host, 1, TWICE))[0] == 0
        host.take(desired(wanted(1, image=box, boots=1), generation=4))
        third = await until(host, 1, lambda it: it is not None and it.boots == 1)
        await until(host, 1, lambda it: it is not None and it.actual is Actual.RUNNING)
        assert third is not None
        assert (await inside(host, 1, TWICE))[0] == 0
        host.take(desired(wanted(1, image=box, boots=1, revision=2), generation=5))
        await until(
            host,
            1,
            lambda it: it is not None and it.revision == 2 and it.actual is Actual.RUNNING,
        )
        assert (await inside(host, 1, "test -e /root/starts"))[0] == 1


@docker
async def test_an_agent_that_comes_back_touches_no_container(box: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    async with living_host(Memory(path), clean=False) as host:
        host.take(desired(wanted(1, image=box)))
        before = await until_running(host, 1)
        await inside(host, 1, "echo kept > /tmp/mark")
    async with living_host(Memory(path)) as host:
        host.take(desired(wanted(1, image=box), generation=2))
        await host.act()
        after = await until_running(host, 1)
        assert (after.started_at_ms, after.ports) == (before.started_at_ms, before.ports)
        assert (await inside(host, 1, "cat /tmp/mark"))[1] == "kept\n"


@pytest.fixture
def stranger(box: str) -> Iterator[str]:
    """A container that is none of ours."""
    name = f"mercato-test-stranger-{os.getpid()}"
    remove = ["docker", "rm", "-f", name]
    subprocess.run(remove, capture_output=True, check=False)
    start = ["docker", "run", "-d", "--name", name, "--network", "none", box, "sleep", "300"]
    subprocess.run(start, capture_output=True, check=True)
    yield name
    shown = subprocess.run(
        ["docker", "inspect", "-f", "{{.State.Running}}", name],
        capture_output=True,
        text=True,
        check=True,
    )
    subprocess.run(remove, capture_output=True, check=True)
    assert shown.stdout.strip() == "true"


@docker
@pytest.mark.usefixtures("stranger")
async def test_strangers_containers_are_never_touched(box: str) -> None:
    async with living_host(owner="another") as other, living_host() as host:
        other.take(desired(wanted(9, image=box)))
        await until_running(other, 9)
        host.take(desired(wanted(1, image=box, gpus=(1,))))
        await until_running(host, 1)
        host.take(desired(generation=2))
        await until(host, 1, lambda it: it is None)
        assert (await other.observe()).instances[0].actual is Actual.RUNNING


@docker
async def test_a_port_that_only_looked_free_is_passed_over(box: str) -> None:
    """Whether a UDP port is free shows when the engine opens it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hosts_own:
        hosts_own.bind(("0.0.0.0", 0))
        port = hosts_own.getsockname()[1]
        async with living_host(ports=(port, port + 9)) as host:
            udp = Port(container=53, protocol="udp")
            host.take(desired(wanted(1, image=box, ssh=False, args=("sleep", "99"), ports=(udp,))))
            found = await until_running(host, 1)
            assert port < found.ports["53/udp"] <= port + 9


async def listening_at(port: int) -> socket.socket:
    """A program of the host's own at a port, which its engine may let go of a moment late."""
    async with asyncio.timeout(30.0):
        while True:
            hosts_own = socket.socket()
            hosts_own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                hosts_own.bind(("0.0.0.0", port))
                hosts_own.listen()
            except OSError as problem:
                hosts_own.close()
                if problem.errno != errno.EADDRINUSE:
                    raise
                await asyncio.sleep(0.05)
            else:
                return hosts_own


@docker
async def test_a_container_whose_port_was_taken_while_it_rested_says_so(box: str) -> None:
    async with living_host() as host:
        it = wanted(1, image=box, ssh=False, args=("sleep", "99"), ports=(Port(container=80),))
        host.take(desired(it))
        port = (await until_running(host, 1)).ports["80/tcp"]
        host.take(desired(replace(it, running=False), generation=2))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.STOPPED)
        with await listening_at(port):
            host.take(desired(it, generation=3))
            failed = await until(host, 1, lambda it: it is not None and it.actual is Actual.FAILED)
            assert failed is not None
            assert f"port {port} of its host is in use" in failed.message
            assert "recycle" in failed.message
            host.take(desired(replace(it, revision=2), generation=4))
            again = await until(host, 1, lambda it: it is not None and it.actual is Actual.RUNNING)
            assert again is not None
            assert again.ports["80/tcp"] != port


@docker
async def test_an_images_own_process_ends_with_its_exit_code(box: str) -> None:
    async with living_host() as host:
        args = ("/bin/sh", "-c", "echo done; exit 4")
        host.take(desired(wanted(1, image=box, ssh=False, args=args)))
        ended = await until(host, 1, lambda it: it is not None and it.actual is Actual.EXITED)
        assert ended is not None
        assert ended.exit_code == 4
        logs = await host.answer(Ask(id=1, deadline_s=5.0, work=Logs(instance=1, tail=10)))
        assert logs.output == "done\n"


@docker
async def test_an_image_that_is_nowhere_fails_with_its_name() -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image="127.0.0.1:9/none/such:1")))
        failed = await until_settled(host, 1)
        assert failed.actual is Actual.FAILED
        assert "127.0.0.1:9/none/such:1" in failed.message


@docker
async def test_a_session_has_input_output_errors_and_an_exit_code(box: str) -> None:
    engine = new_engine("session")
    try:
        await engine.make(wanted(1, image=box), {}, lambda _said: None)
        session = await engine.exec_start(1, ["/bin/sh", "-c", "cat; echo bad >&2; exit 5"])
        await session.write(b"some input")
        await session.write_eof()
        streams = {1: b"", 2: b""}
        while (piece := await session.read()) is not None:
            streams[piece[0]] += piece[1]
        assert streams == {1: b"some input", 2: b"bad\n"}
        assert await session.exit_code() == 5
        await session.close()
        terminal = await engine.exec_start(1, ["stty", "size"], tty=True, size=(100, 30))
        assert terminal is not None
        await terminal.close()
        assert await engine.pid(1) > 0
        assert await engine.pid(2) == 0
    finally:
        await engine.remove(1)
        await engine.close()


async def test_an_engine_that_is_down_is_said_to_be_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    async with living_host(clean=False) as host:
        report = await host.observe()
        assert not report.sees
        assert "the Docker Engine does not answer" in report.trouble
    engine = new_engine()
    with pytest.raises(EngineDown):
        await engine.contents()
    await engine.close()


async def test_an_engine_that_takes_calls_and_says_nothing_counts_as_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mercato.agent.docker, "LOOK_S", 0.2)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/silent.sock")
    calls: set[asyncio.StreamWriter] = set()
    server = await asyncio.start_unix_server(
        lambda _reader, writer: calls.add(writer), tmp_path / "silent.sock"
    )
    async with living_host(clean=False) as host:
        for _ in range(2):
            async with asyncio.timeout(10.0):
                report = await host.observe()
            assert not report.sees
            assert "the Docker Engine does not answer" in report.trouble
    assert calls
    for call in calls:
        call.close()
    server.close()


def test_a_pull_tells_how_far_it_is() -> None:
    progress = PullProgress("big:1")
    assert progress.heard({"status": "Pulling from big", "id": "1"}) == "Pulling: big:1"
    progress.heard({"status": "Pulling fs layer", "id": "a"})
    progress.heard({"status": "Already exists", "id": "b"})
    detail = {"current": 50, "total": 100}
    said = progress.heard({"status": "Downloading", "id": "a", "progressDetail": detail})
    assert said == "Pulling: layer 1/2 70%"
    assert progress.heard({"status": "Pull complete", "id": "a"}) == "Pulling: layer 2/2 100%"
