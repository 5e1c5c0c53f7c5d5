"""Programs that a measurement needs, found or fetched; processes kept on one core."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

from tests.pyworker.surroundings import free_ports

__all__ = ["HERE", "CannotRun", "Load", "Program", "free_ports", "peer_python", "program", "wrk"]

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("MERCATO_BENCH_CACHE", "~/.cache/mercato-bench")).expanduser()
PACKAGES = {
    "nginx": ("usr/sbin/nginx", ["nginx", "nginx-common"]),
    "wrk": ("usr/bin/wrk", ["wrk", "libluajit-5.1-2", "libluajit-5.1-common"]),
}

PEERS = {
    "litellm": ("litellm[proxy]==1.108.7",),
    "ray": ("ray[serve]==2.60.0", "aiohttp==3.14.5"),
    "sglang-router": ("sglang-router==0.3.2",),
}
"""Peers from PyPI, each in an environment of its own in the cache, and none of ours."""


def program(name: str) -> tuple[str, dict[str, str]]:
    """A Debian program and the environment that it needs: installed, or only unpacked for us."""
    found = shutil.which(name)
    if found:
        return found, {}
    path, packages = PACKAGES[name]
    root = CACHE / name
    if not (root / path).exists():
        root.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["apt-get", "download", *packages], cwd=root, check=True, capture_output=True
        )
        for package in root.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, root], check=True)
    libraries = ":".join(str(each) for each in root.glob("usr/lib/*-linux-gnu"))
    return str(root / path), {"LD_LIBRARY_PATH": libraries}


class CannotRun(Exception):  # noqa: N818 - said in the table
    """A candidate cannot be measured here; the message says why."""


def peer_python(name: str) -> Path:
    """The Python of an environment of its own with a peer in it, made when it is not there yet.

    Raises:
        CannotRun: when the packages cannot be had.
    """
    home = CACHE / "peers" / name
    python, complete = home / "bin/python", home / ".complete"
    wanted = " ".join(PEERS[name])
    if not complete.exists() or complete.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        uv = shutil.which("uv") or str(HERE.parents[1] / ".venv-uv/bin/uv")
        for command in (
            [uv, "venv", "-q", "--python", sys.executable, str(home)],
            [uv, "pip", "install", "-q", "--python", str(python), *PEERS[name]],
        ):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                raise CannotRun(f"{wanted} cannot be installed: {done.stderr.strip()}")
        complete.write_text(wanted)
    return python


class Program:
    """A process on one core."""

    def __init__(self, *command: object, core: int, cwd: Path, **env: str) -> None:
        self._command = ["taskset", "-c", str(core), *map(str, command)]
        self._cwd = cwd
        self._env = os.environ | {"PYTHONPATH": str(HERE.parents[1])} | env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its output goes to a file beside it."""
        self._cwd.mkdir(parents=True, exist_ok=True)
        with (self._cwd / "out").open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._env,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End it and all that it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 15)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, 9)
                self._process.wait()

    @property
    def said(self) -> str:
        """The last line that it has written."""
        lines = (self._cwd / "out").read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")

    @property
    def cpu_s(self) -> float:
        """Processor time of it and of all that it started, so far."""
        assert self._process is not None
        mother = psutil.Process(self._process.pid)
        total = 0.0
        for each in (mother, *mother.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = each.cpu_times()
                total += times.user + times.system
        return total

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process is not None and self._process.poll() is None


class Load(NamedTuple):
    """What a closed loop of requests came to."""

    per_s: float
    p50_ms: float
    p99_ms: float
    bad: int


async def wrk(
    url: str, script: Path, *arguments: str, connections: int, seconds: int, core: int
) -> Load:
    """Requests one after another on so many connections."""
    path, env = program("wrk")
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    process = await asyncio.create_subprocess_exec(
        *("taskset", "-c", str(core), path, *options, "-s", str(script), url, *arguments),
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return _read(out.decode())


def _read(text: str) -> Load:
    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        return float(found.group(1)) if found else 0.0

    def milliseconds(share: str) -> float:
        found = re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", text)
        factor = {"us": 1e-3, "ms": 1.0, "s": 1e3}
        return float(found.group(1)) * factor[found.group(2)] if found else float("nan")

    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    broken = sum(map(int, errors.groups())) if errors else 0
    per_s = number(r"Requests/sec:\s+([\d.]+)")
    if not per_s:
        sys.exit(f"wrk said:\n{text}")
    bad = int(number(r"Non-2xx or 3xx responses: (\d+)")) + broken
    return Load(per_s, milliseconds("50"), milliseconds("99"), bad)
