"""The processes of one market, each killed as `kill -9` does and started again."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx2
import psycopg

from mercato.agent import main as agent
from mercato.control.db import Database, Tx
from mercato.control.embedded import EmbeddedPostgres
from mercato.control.flows import paying
from mercato.control.flows.opening import open_account
from mercato.control.migrate import migrate
from mercato.market.money import NanoUsd, nano
from mercato.sdk import Mercato
from tests import invariants

BACK_WITHIN_S: Final = 90.0
PORTS_EACH: Final = 60
GPUS: Final = 8

MACHINE: Final = f"""
[gpu]
model = "RTX 4090"
count = {GPUS}
[cpu]
cores = 2
ram_gb = 4
[disk]
size_gb = 200
[network]
public_ip = "127.0.0.1"
"""


class Part:
    """One program and its log."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: dict[str, str]) -> None:
        """Name it; `start` starts it."""
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self._log = log
        self._env = os.environ | env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env)

    def kill(self) -> None:
        """End it with nothing said and nothing saved."""
        assert self._process is not None
        assert self._process.poll() is None, f"the {self.name} ended: {self._log.read_text()}"
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30.0)


class DatabasePart:
    """The embedded PostgreSQL, in the place of a program."""

    name = "database"

    def __init__(self, home: Path) -> None:
        """Keep it below `home`."""
        self._home = home
        self._postgres = EmbeddedPostgres(home)
        self.url = self._postgres.start()

    def kill(self) -> None:
        """Kill the postmaster; its children notice."""
        marks = (self._home / "postgres" / "postmaster.pid").read_text().splitlines()
        os.kill(int(marks[0]), signal.SIGKILL)

    def start(self) -> None:
        """Start it again, as its owner does."""
        self._postgres.stop()
        assert self._postgres.start() == self.url

    def stop(self) -> None:
        """Stop it."""
        self._postgres.stop()


class Parts:
    """A market's database, server and agents; the keys of its people."""

    def __init__(self, home: Path) -> None:
        """Start the database; `open` starts the rest."""
        self.home = home
        self.owners: dict[int, str] = {}
        """Marks each machine's containers on the Docker Engine."""
        self.keys: dict[str, str] = {}
        self.host_key = secrets.token_hex(16)
        self.database = DatabasePart(home / "database")
        self.everything: list[Part | DatabasePart] = [self.database]

    def open(self, machines: int, renters: int) -> None:
        """Start everything; the machines are listed when this returns."""
        migrate(self.database.url)
        with psycopg.connect(self.database.url, autocommit=True) as conn:
            invariants.guard(conn)
        self.keys = {f"renter-{number}": secrets.token_hex(16) for number in range(renters)}
        self._open_accounts()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        serve = ("mercato.cli", "serve", "--port", str(port), "--data", str(self.home / "server"))
        server = Part(
            "server",
            [*serve, "--verify-simulated", "--no-engine"],
            self.home / "server.log",
            {"DATABASE_URL": self.database.url, "MERCATO_PUBLIC_URL": self.url},
        )
        server.start()
        self.everything.append(server)
        until(self.serves, "the server serves", BACK_WITHIN_S)
        for number in range(machines):
            self._machine(number)
        until(self.heard_since(0), "the machines are heard", BACK_WITHIN_S)
        with Mercato(self.url, self.host_key) as host:
            for machine in self.owners:
                host.list_machine(machine, gpu=3.6, disk=0.1, min_bid=0.36, notice_s=10)

    def _open_accounts(self) -> None:
        database = Database(self.database.url, connections_max=1, on_poke=lambda _topics: None)
        database.open()
        now_ms = time.time_ns() // 1_000_000

        def write(tx: Tx) -> None:
            open_account(tx, "host@x", self.host_key, "key", now_ms, is_host=True)
            for name, key in self.keys.items():
                renter = open_account(tx, f"{name}@x", key, "key", now_ms)
                paying.add_credit(tx, renter, NanoUsd(nano(10_000)), f"wire-{name}", now_ms)

        database.run_now(write)
        database.close()

    def _machine(self, number: int) -> None:
        """Have a machine join, and start its agent."""
        file = self.home / f"machine-{number}.toml"
        file.write_text(MACHINE)
        first = 42_000 + os.getpid() % 97 * 180 + number * PORTS_EACH
        setup = agent.Setup(
            hardware_file=file,
            public_ip="127.0.0.1",
            port_first=first,
            port_last=first + PORTS_EACH - 1,
        )
        with Mercato(self.url, self.host_key) as host:
            token = host.join_token()
        data = self.home / f"machine-{number}"
        machine = asyncio.run(agent.join(self.url, token, data, setup))
        self.owners[machine] = json.loads((data / "machine.json").read_bytes())["owner"]
        run = ("mercato.agent.main", "run", "--data", str(data))
        part = Part(f"agent of machine {machine}", run, self.home / f"machine-{number}.log", {})
        part.start()
        self.everything.append(part)

    # --- What it says of itself -------------------------------------------------------------------

    def serves(self) -> bool:
        """Whether the server answers, with a database behind it."""
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5.0).status_code == 200
        except httpx2.TransportError:
            return False

    def ask(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.database.url, autocommit=True) as conn:
            return conn.execute(sql, args).fetchall()

    def heard_since(self, at_ms: int) -> Callable[[], bool]:
        """Whether every agent was heard since a moment, and saw its containers."""

        def heard() -> bool:
            [(late,)] = self.ask(
                "select count(*) from machines where not sees or offline_since_ms is not null"
                " or seen_at_ms is null or seen_at_ms <= %s",
                at_ms,
            )
            return bool(late == 0)

        return heard

    def whole_since(self, at_ms: int) -> Callable[[], bool]:
        """Whether all serve again, after something was killed at a moment."""
        heard = self.heard_since(at_ms)
        return lambda: self.serves() and heard()

    def tell(self) -> None:
        """Show what every part said last."""
        for log in sorted(self.home.glob("*.log")):
            sys.stderr.write(f"--- {log.name}\n{log.read_text()[-2_000:]}\n")

    def stop(self) -> None:
        """Ask everything to end; the containers are left to whoever counts them."""
        for part in reversed(self.everything):
            part.stop()


@contextlib.contextmanager
def parts(machines: int, renters: int) -> Iterator[Parts]:
    """A market as long as this is held; then nothing is left of it, its containers included.

    Not under pytest's own directory: as root the database runs as another user, to whom that is
    shut.
    """
    with tempfile.TemporaryDirectory(prefix="mercato-test-") as directory:
        home = Path(directory)
        home.chmod(0o755)
        market = Parts(home)
        try:
            market.open(machines, renters)
            yield market
        except BaseException:
            market.tell()
            raise
        finally:
            market.stop()
            for owner in market.owners.values():
                label = f"label=mercato.owner={owner}"
                _docker("rm", "-fv", *_docker("ps", "-aq", "--filter", label).split())


def until(condition: Callable[[], bool], what: str, deadline_s: float) -> None:
    """Wait for something to come to pass; nothing that is away meanwhile is minded."""
    pause, end = threading.Event(), time.monotonic() + deadline_s
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            if condition():
                return
        assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}"
        pause.wait(0.05)


def _docker(verb: str, *arguments: str) -> str:
    if verb == "rm" and not arguments[1:]:
        return ""
    done = subprocess.run(["docker", verb, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
