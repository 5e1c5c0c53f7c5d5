"""What the journeys share: waiting, and going into an instance as any person would."""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

WITHIN_S = 60.0


def eventually(look: Callable[[], T | None], within_s: float = WITHIN_S) -> T:
    """What `look` finds, once it finds something."""
    deadline, pause = time.monotonic() + within_s, threading.Event()
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.1)


def key_pair(directory: Path, name: str) -> tuple[Path, str]:
    """A new SSH key: the file of the private one and the text of the public one."""
    path = directory / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True
    )
    return path, path.with_suffix(".pub").read_text().strip()


def _options(key: Path) -> list[str]:
    return [
        "-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
    ]  # fmt: skip


def ssh(url: str, key: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command by OpenSSH at an address like ssh://root@host:port."""
    return subprocess.run(
        ["ssh", *_options(key), url, command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def scp(source: str, target: str, key: Path) -> None:
    """Copy a file by OpenSSH, either way."""
    subprocess.run(["scp", *_options(key), source, target], check=True, timeout=60)
