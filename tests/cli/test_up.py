"""`mercato up` as other people's scripts use it: ready file, keys, SIGTERM, the same data again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from mercato.sdk import Mercato

MACHINE = """
hostname = "demo"
[gpu]
model = "RTX 4090"
count = 4
[score]
reliability = 0.99
"""
START_S = 90.0


@dataclass
class Market:
    process: subprocess.Popen[str]
    ready: dict[str, Any]

    def children(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def child(self, word: str) -> psutil.Process:
        [found] = [each for each in self.children() if word in each.cmdline()]
        return found


@contextmanager
def up(
    environment: dict[str, str], directory: Path, port: int, *more: str | Path
) -> Iterator[Market]:
    """A market that serves, and that is stopped by SIGTERM at the end."""
    file = directory / "ready.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mercato.cli", "up", "--pretend", "--demo", "none"),
            *("--data", str(directory / "data"), "--port", str(port)),
            *("--ready-file", str(file), *map(str, more)),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    pause = threading.Event()
    until = time.monotonic() + START_S
    while not file.exists() and process.poll() is None and time.monotonic() < until:
        pause.wait(0.05)
    if not file.exists():
        process.kill()
        pytest.fail(f"it does not serve: {process.communicate()[0]}")
    market = Market(process, json.loads(file.read_text()))
    children = market.children()
    try:
        yield market
    finally:
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "Traceback" not in told
    assert not file.exists()
    _, alive = psutil.wait_procs([*children], timeout=5)
    assert not alive, "nothing is left running"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "machine.toml"
    path.write_text(MACHINE)
    return path


@pytest.mark.slow
def test_a_market_serves_stops_and_goes_on(
    environment: dict[str, str], tmp_path: Path, free_port: int, machine: Path
) -> None:
    with up(environment, tmp_path, free_port, "--hardware", machine) as market:
        first = market.ready
        assert set(first) == {
            *("url", "engine_url", "operator_key", "host_key", "renter_key"),
            *("machine_id", "image", "pid"),
        }
        assert first["pid"] == market.process.pid
        with Mercato(first["url"], first["renter_key"]) as renter:
            offers = renter.search("gpu_name=RTX_4090 num_gpus=4")
            assert [each.machine_id for each in offers] == [first["machine_id"]]
            rented = renter.rent(offers[0].id, image=first["image"], disk_gb=2)
            _until_running(renter, rented.new_contract)
            assert renter.user().credit > 99
        with Mercato(first["url"], first["operator_key"]) as operator:
            assert {each.email for each in operator.accounts()} >= {"renter@localhost"}
            assert operator.loops()
        with Mercato(first["url"], first["host_key"]) as host:
            assert [each.id for each in host.machines()] == [first["machine_id"]]
    with up(environment, tmp_path, free_port, "--hardware", machine) as market:
        again = market.ready
        assert {**again, "pid": 0} == {**first, "pid": 0}
        with Mercato(again["url"], again["renter_key"]) as renter:
            assert [each.id for each in renter.instances()] == [rented.new_contract]
            _until_running(renter, rented.new_contract)
            assert renter.user().credit <= 100, "the test credit is given once"


@pytest.mark.slow
def test_parts_that_are_killed_come_back(
    environment: dict[str, str], tmp_path: Path, free_port: int, machine: Path
) -> None:
    with (
        up(environment, tmp_path, free_port, "--hardware", machine) as market,
        Mercato(market.ready["url"], market.ready["host_key"]) as host,
    ):
        for part in ("serve", "agent"):
            before = market.child(part)
            before.kill()
            _until(lambda: _is_new(market, part, before.pid))  # noqa: B023 - called at once
            _until(lambda: host.machines()[0].online is True)
        postmaster = tmp_path / "data" / "database" / "postgres" / "postmaster.pid"
        process = int(postmaster.read_text().splitlines()[0])
        os.kill(process, signal.SIGKILL)
        _until(lambda: _pid_in(postmaster) not in {None, process})
        _until(lambda: host.user().id > 0)


@pytest.mark.slow
def test_several_declared_machines_are_several_machines(
    environment: dict[str, str], tmp_path: Path, free_port: int, machine: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[gpu]\nmodel = "H100 SXM"\ncount = 8\n')
    more = ("--hardware", machine, "--hardware", other)
    with (
        up(environment, tmp_path, free_port, *more) as market,
        Mercato(market.ready["url"], market.ready["renter_key"]) as renter,
    ):
        names = {each.gpu_name for each in renter.search("", limit=1_000)}
        assert names == {"RTX 4090", "H100 SXM"}


def _is_new(market: Market, part: str, before: int) -> bool:
    return any(part in each.cmdline() and each.pid != before for each in market.children())


def _pid_in(postmaster: Path) -> int | None:
    try:
        return int(postmaster.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def _until_running(renter: Mercato, instance: int) -> None:
    def running() -> bool:
        row = renter.instance(instance)
        return row is not None and row.actual_status == "running"

    _until(running)


def _until(condition: Any, deadline_s: float = 60.0) -> None:
    """Wait for a condition; a server that is just coming back may refuse to say."""
    from mercato.sdk import Failure

    pause = threading.Event()
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        try:
            if condition():
                return
        except (Failure, psutil.NoSuchProcess):
            pass
        pause.wait(0.1)
    pytest.fail("it did not come to pass")
