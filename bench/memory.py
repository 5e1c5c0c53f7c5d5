"""How much memory an idle control plane holds; the aim is below 200 MiB.

Run as `.venv/bin/python bench/memory.py`. A server as `mercato serve` starts it, without its
database.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped]

from measure import Table, report
from mercato.control.embedded import EmbeddedPostgres

PORT = 18_417
SETTLES_S = 5.0


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="mercato-bench-") as home,
        EmbeddedPostgres(Path(home) / "database") as url,
    ):
        command = [sys.executable, "-m", "mercato.cli", "serve", "--data", home]
        process = subprocess.Popen(
            [*command, "--port", str(PORT)],
            env={**os.environ, "DATABASE_URL": url},
            stderr=subprocess.DEVNULL,
        )
        try:
            until_ready(process)
            threading.Event().wait(SETTLES_S)
            seen = psutil.Process(process.pid).memory_full_info()
        finally:
            process.terminate()
            process.wait()
    report(
        __file__,
        "Memory of an idle server",
        "A control plane with an empty market, some seconds after its start.",
        [
            Table(
                "",
                ("what", "MiB"),
                [
                    ["resident", f"{seen.rss / 2**20:.0f}"],
                    ["its own (USS)", f"{seen.uss / 2**20:.0f}"],
                ],
            )
        ],
    )


def until_ready(process: "subprocess.Popen[bytes]") -> None:
    pause = threading.Event()
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx2.get(f"http://127.0.0.1:{PORT}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        pause.wait(0.1)
    raise AssertionError("the server does not serve")


if __name__ == "__main__":
    main()
