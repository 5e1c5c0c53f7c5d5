"""A real Docker Engine for tests: a tiny image of our own, and a host that is cleaned away."""

import asyncio
import contextlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from mercato.agent.clock import SystemClock
from mercato.agent.docker import DockerEngine
from mercato.agent.facts.net import port_is_free
from mercato.agent.memory import Memory
from mercato.agent.sync import Door, Host, NoDoor
from mercato.agent.way_home import WayHome
from mercato.market.instance import Actual
from mercato.wire.agent import Ask, Execute, ObservedInstance
from tests.agent.builders import MACHINE, hardware
from tests.agent.test_host import until

IMAGE = "mercato-test-box:1"
RSYNC_IMAGE = "mercato-test-rsync:1"


def build_box(
    image: str = IMAGE,
    *programs: str,
    device: tuple[str, int] | None = None,
    changes: Sequence[str] = (),
) -> None:
    """An image with nothing but busybox in it, and these programs of this machine.

    `device` is a path and the number of the block device whose node it is. `changes` are lines of
    a Dockerfile.
    """
    busybox = _installed("busybox")
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        archive.add(busybox, "bin/busybox")
        for name in names.stdout.split():
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        for folder in ("tmp", "root", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        if device is not None:
            node = tarfile.TarInfo(device[0])
            node.type, node.mode = tarfile.BLKTYPE, 0o666
            node.devmajor, node.devminor = os.major(device[1]), os.minor(device[1])
            archive.addfile(node)
        users = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(users)
        archive.addfile(entry, io.BytesIO(users))
        added = {_installed(program): f"bin/{program}" for program in programs}
        libraries = {file for program in added for file in _libraries(program)}
        for source, inside in (*added.items(), *((each, each[1:]) for each in libraries)):
            archive.add(source, inside)
    old = subprocess.run(["docker", "images", "--quiet", image], capture_output=True, check=True)
    lines = ("ENV PATH=/bin", 'CMD ["/bin/sh"]', *changes)
    words = [word for line in lines for word in ("-c", line)]
    subprocess.run(
        ["docker", "import", *words, "-", image],
        input=buffer.getvalue(),
        capture_output=True,
        check=True,
    )
    for (
        image_id
    ) in old.stdout.split():  # its tag is the new one's; what still runs from it keeps it
        subprocess.run(["docker", "rmi", image_id], capture_output=True, check=False)


def _installed(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} is not here; run scripts/test-packages"
    return path


def _libraries(program: str) -> set[str]:
    """The files that a program cannot run without, by their whole names."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return set(re.findall(r"(/\S+) \(0x", listed.stdout))


def new_engine(
    owner: str | None = None, way_home: WayHome | None = None, memory: Memory | None = None
) -> DockerEngine:
    owner = owner or f"test{os.getpid()}"
    volumes = Path(tempfile.gettempdir()) / f"mercato-{owner}-volumes"
    return DockerEngine(owner, MACHINE, {}, "192.0.2.1", volumes, way_home, memory=memory)


@contextlib.asynccontextmanager
async def living_host(
    memory: Memory | None = None,
    *,
    owner: str | None = None,
    clean: bool = True,
    way_home: WayHome | None = None,
    ports: tuple[int, int] | None = None,
    make_door: Callable[[DockerEngine], Door] = lambda _engine: NoDoor(),
) -> AsyncIterator[Host]:
    memory = memory or Memory()
    engine = new_engine(owner, way_home, memory)
    host = Host(
        machine=MACHINE,
        hardware=hardware(ports=ports),
        engine=engine,
        memory=memory,
        door=make_door(engine),
        clock=SystemClock(),
        boot="one",
        daemon_log=lambda _instance, _tail: "",
        port_is_free=port_is_free,
    )
    task = asyncio.create_task(host.run())
    try:
        yield host
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if clean:
            await host.stop_all()
        await engine.close()


async def until_settled(host: Host, number: int) -> ObservedInstance:
    """Until an instance runs, has ended or has failed."""
    ends = {Actual.RUNNING, Actual.FAILED, Actual.EXITED, Actual.STOPPED}
    found = await until(host, number, lambda it: it is not None and it.actual in ends)
    assert found is not None
    return found


async def until_running(host: Host, number: int) -> ObservedInstance:
    found = await until_settled(host, number)
    assert found.actual is Actual.RUNNING, found.message
    return found


async def inside(host: Host, number: int, command: str) -> tuple[int, str]:
    """Run a shell command in an instance: its exit code and what it printed."""
    work = Execute(instance=number, command=command)
    answer = await host.answer(Ask(id=1, deadline_s=30.0, work=work))
    assert answer.error is None, answer.error
    return answer.exit_code, answer.output
