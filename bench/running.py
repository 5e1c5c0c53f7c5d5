"""A whole market for a benchmark: `mercato up`, its people and its processes."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
import psutil  # type: ignore[import-untyped]

T = TypeVar("T")

READY_WITHIN_S = 400.0
LOOK_EVERY_S = 0.01

SIXTEEN = """
[gpu]
model = "RTX 4090"
count = 16
cuda_max = 12.8
[cpu]
cores = 64
ram_gb = 256
[disk]
size_gb = 1000
[network]
up_mbps = 1000
down_mbps = 1000
public_ip = "127.0.0.1"
[location]
country = "DE"
region = "Frankfurt"
[score]
dlperf = 720.0
"""
"""One machine of sixteen declared GPUs, so that more than a handful can be rented."""


@dataclass(frozen=True)
class Market:
    """A market that serves: its people as HTTP clients, what it rents out, its processes."""

    renter: httpx2.Client
    image: str
    processes: psutil.Process
    owner: str
    """What the agent's containers are labelled with."""

    def server(self) -> psutil.Process:
        """The process of the control plane."""
        return self._child("serve")

    def agent(self) -> psutil.Process:
        """The process of the machine's agent."""
        return self._child("agent")

    def _child(self, verb: str) -> psutil.Process:
        """The one that runs a command of `mercato`."""
        children = self.processes.children(recursive=True)
        [one] = [each for each in children if each.cmdline()[1:4] == ["-m", "mercato.cli", verb]]
        return one

    def offers(self) -> list[int]:
        """The offers of one GPU that are free now."""
        query = {"num_gpus": {"eq": 1}, "rentable": {"eq": True}, "order": [["id", "asc"]]}
        answer = self.renter.post("/api/v0/bundles/", json=query)
        return [row["id"] for row in answer.raise_for_status().json()["offers"]]

    def rent(self, offer: int, **more: Any) -> int:
        """Accept an offer for an instance of the base image; its id."""
        asked = {"image": self.image, "disk": 1, "runtype": "args", **more}
        answer = self.renter.put(f"/api/v0/asks/{offer}/", json=asked)
        made: int = answer.raise_for_status().json()["new_contract"]
        return made

    def status(self, instance: int) -> str | None:
        """What the API says that an instance does."""
        answer = self.renter.get(f"/api/v0/instances/{instance}/")
        found: str | None = answer.raise_for_status().json()["instances"]["actual_status"]
        return found

    def destroy(self, instance: int) -> None:
        """End an instance."""
        self.renter.delete(f"/api/v0/instances/{instance}/").raise_for_status()


@contextmanager
def market(hardware: str = SIXTEEN) -> Iterator[Market]:
    """`mercato up` on a real Docker Engine as long as this is held."""
    with tempfile.TemporaryDirectory(prefix="mercato-bench-") as directory:
        home = Path(directory)
        home.chmod(0o755)  # as root the database runs as another user
        (home / "machine.toml").write_text(hardware)
        ready = home / "ready.json"
        command = [
            *(sys.executable, "-m", "mercato.cli", "up", "--demo", "none", "--engine", "docker"),
            *("--data", str(home / "data"), "--port", str(free_port())),
            *("--hardware", str(home / "machine.toml"), "--ready-file", str(ready)),
        ]
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        with (home / "up.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, env=kept)
        try:
            eventually(lambda: ready.exists() or process.poll() is not None, READY_WITHIN_S)
            assert ready.exists(), (home / "up.log").read_text()
            told = msgspec.json.decode(ready.read_bytes())
            key = {"Authorization": f"Bearer {told['renter_key']}"}
            with httpx2.Client(base_url=told["url"], headers=key, timeout=60) as renter:
                [identity] = (home / "data").rglob("machine.json")
                owner = msgspec.json.decode(identity.read_bytes())["owner"]
                yield Market(renter, told["image"], psutil.Process(process.pid), owner)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)


def eventually(look: Callable[[], T], within_s: float = 120.0) -> T:
    """What `look` finds, once it finds something."""
    pause, until = threading.Event(), time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < until, "it did not happen in time"
        pause.wait(LOOK_EVERY_S)
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
