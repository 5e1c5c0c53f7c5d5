"""Whole markets for the official client: one with pretend containers, one with real ones."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from tests.e2e.journey import eventually
from tests.e2e.official import Official

PROGRAMS = Path(sys.executable).parent
_numbers = itertools.count()
READY_WITHIN_S = 240.0

EIGHT = """
hostname = "rack-1"
[gpu]
model = "RTX 4090"
count = 8
cuda_max = 12.8
driver_version = "570.86.10"
[cpu]
name = "EPYC 9554"
cores = 128
ghz = 3.1
ram_gb = 512
[disk]
name = "NVMe"
size_gb = 4000
read_mbps = 5000
[network]
up_mbps = 2000
down_mbps = 3000
public_ip = "127.0.0.1"
[location]
country = "DE"
region = "Frankfurt"
[score]
dlperf = 720.0
reliability = 0.995
"""
TWO = """
[gpu]
model = "H100 SXM"
count = 2
cuda_max = 12.4
driver_version = "550.54.15"
[cpu]
cores = 64
ram_gb = 1024
[disk]
size_gb = 2000
[network]
up_mbps = 900
down_mbps = 1100
public_ip = "127.0.0.1"
[location]
country = "US"
region = "Texas"
[score]
dlperf = 760.0
reliability = 0.98
"""


@dataclass(frozen=True)
class Market:
    """A running market: where it is and the keys of its people."""

    url: str
    keys: dict[str, str]
    image: str
    home: Path

    def official(self, role: str) -> Official:
        """The official client in the hands of one of them."""
        return Official(self.url, self.keys[role], self.home / role)

    def somebody(self) -> Official:
        """The official client in the hands of somebody new, with an account and no credit."""
        name = f"somebody-{next(_numbers)}"
        answer = httpx2.post(
            f"{self.url}/api/v0/admin/accounts/",
            json={"email": f"{name}@example.org", "username": name},
            headers={"Authorization": f"Bearer {self.keys['operator']}"},
        )
        assert answer.status_code == 200, answer.text
        return Official(self.url, answer.json()["account"]["api_key"], self.home / name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def market(*options: str, files: Mapping[str, str] | None = None) -> Iterator[Market]:
    """`mercato up` with these options, in a directory with these files, as long as this is held.

    Not under pytest's own directory: as root the database runs as another user, and every start of
    pytest shuts that directory to others.
    """
    with tempfile.TemporaryDirectory(prefix="mercato-test-") as directory:
        home = Path(directory)
        home.chmod(0o755)
        for name, text in (files or {}).items():
            (home / name).write_text(text)
        with _up(home, options) as running:
            yield running


@contextlib.contextmanager
def _up(home: Path, options: Sequence[str]) -> Iterator[Market]:
    ready, log = home / "ready.json", home / "up.log"
    command: Sequence[str] = [
        str(PROGRAMS / "mercato"), "up", "--data", str(home / "data"), "--port", str(free_port()),
        "--demo", "none", "--ready-file", str(ready), *options,
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, stdout=file, stderr=file, cwd=home, env=kept | {"XDG_CONFIG_HOME": str(home)}
        ) as process,
    ):
        try:
            yield _when_ready(process, ready, log, home)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0, log.read_text()


def _when_ready(process: subprocess.Popen[bytes], ready: Path, log: Path, home: Path) -> Market:
    waited_s = 0.0
    while not ready.exists():
        assert process.poll() is None, log.read_text()
        assert waited_s < READY_WITHIN_S, log.read_text()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
        waited_s += 0.1
    given: dict[str, Any] = msgspec.json.decode(ready.read_bytes())
    keys = {role: given[f"{role}_key"] for role in ("operator", "host", "renter")}
    return Market(given["url"], keys, given["image"], home)


@contextlib.contextmanager
def pretended() -> Iterator[Market]:
    """A market with two declared machines, whose containers are pretended."""
    files = {"eight.toml": EIGHT, "two.toml": TWO}
    with market("--engine=pretend", *(f"--hardware={name}" for name in files), files=files) as up:
        yield up


@pytest.fixture(scope="session")
def pretend() -> Iterator[Market]:
    """Such a market for all whose tests leave it as they found it."""
    with pretended() as up:
        yield up


def _asked(market: Market, role: str, method: str, path: str) -> Any:
    headers = {"Authorization": f"Bearer {market.keys[role]}"}
    answer = httpx2.request(method, f"{market.url}/api/v0/{path}/", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _rented(market: Market) -> set[int]:
    return {one["id"] for one in _asked(market, "renter", "GET", "instances")["instances"]}


def _held(market: Market) -> list[str]:
    """How the GPUs of every machine are held."""
    machines = _asked(market, "host", "GET", "machines")["machines"]
    return [one["gpu_occupancy"] for one in machines]


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test in the shared market ends when no GPU is held that was free before it.

    What it forgot to destroy is destroyed, so that it fails alone. A GPU is held until its host
    tells that nothing is there any more.
    """
    if not {"pretend", "renter", "host"} & set(request.fixturenames):
        yield
        return
    market = request.getfixturevalue("pretend")
    rented, held = _rented(market), _held(market)
    yield
    left = _rented(market) - rented
    for instance in left:
        _asked(market, "renter", "DELETE", f"instances/{instance}")
    eventually(lambda: _held(market) == held)
    assert not left, f"the test leaves instances {sorted(left)}: destroy what it rents"


@pytest.fixture(scope="session")
def renter(pretend: Market) -> Iterator[Official]:
    """The client in the hands of the pretend market's renter."""
    with pretend.official("renter") as client:
        yield client


@pytest.fixture(scope="session")
def host(pretend: Market) -> Iterator[Official]:
    """The client in the hands of the pretend market's host."""
    with pretend.official("host") as client:
        yield client
