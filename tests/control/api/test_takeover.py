"""Two control planes on one database, each with its engine; one of them is killed outright."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mercato.control.clock import SystemClock
from mercato.control.db import Database
from mercato.control.store import leases
from tests.control.api.serving import _accounts
from tests.e2e.conftest import free_port

PATIENCE_S = 60.0
"""For what takes moments on a machine that is not busy."""


class Replica:
    """One `mercato serve`."""

    def __init__(self, data: Path, database_url: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mercato.cli", "serve", "--data", str(data)]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--database-url", database_url],
            env=os.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def route(self, key: str, idx: int = 0) -> dict[str, Any]:
        answer = httpx2.post(
            f"{self.url}/route/",
            json={"endpoint": "llm", "request_idx": idx},
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said


@contextmanager
def replica(data: Path, database_url: str) -> Iterator[Replica]:
    one = Replica(data, database_url)
    try:
        until(lambda: one.ready)
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def until(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    end_ms = SystemClock().now_ms() + PATIENCE_S * 1_000
    while not true():
        assert SystemClock().now_ms() < end_ms
        pause.wait(0.05)


@pytest.mark.slow
def test_18_an_engine_is_killed_outright_and_another_process_goes_on_with_its_requests(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    keys = db.run_now(_accounts, SystemClock().now_ms())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with ExitStack() as running:
        one = running.enter_context(replica(tmp_path / "a", database_url))
        # Replicas of one market share its key.
        shutil.copy(tmp_path / "a" / "data.key", tmp_path / "b")
        two = running.enter_context(replica(tmp_path / "b", database_url))
        made = httpx2.post(
            f"{one.url}/api/v0/endptjobs/",
            json={"endpoint_name": "llm", "cold_workers": 0},
            headers={"Authorization": f"Bearer {keys['renter']}"},
        )
        assert made.status_code == 200, made.text
        until(lambda: bool(db.run_now(leases.everything)))
        [lease] = db.run_now(leases.everything).values()
        address = db.run_now(leases.living, 0)[lease.engine]
        owner, other = (one, two) if one.url == address else (two, one)
        first = other.route(keys["renter"])
        idx = first["request_idx"]
        # The one that has just begun may take a moment to hear who has the endpoint.
        until(lambda: "requests waiting: 1" in other.route(keys["renter"], idx)["status"])
        owner.process.kill()
        owner.process.wait()
        # Every answer until then is a 200, and the request keeps its number and so its place.
        while "requests waiting" not in (said := other.route(keys["renter"], idx))["status"]:
            assert said["request_idx"] == idx
        assert said["request_idx"] == idx
        assert "requests waiting: 1" in said["status"]
        [after] = db.run_now(leases.everything).values()
        assert after.engine != lease.engine
        assert after.fence > lease.fence
