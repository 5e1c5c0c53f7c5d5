"""The program as a person runs it: a process of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Market, pretended

Run = Callable[..., subprocess.CompletedProcess[str]]

NOT_OURS = ("MERCATO_URL", "MERCATO_API_KEY", "DATABASE_URL", "DOCKER_HOST")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """This process's environment, without anybody's settings."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    return kept | {"XDG_CONFIG_HOME": str(tmp_path / "config"), "COLUMNS": "120"}


@pytest.fixture
def mercato(environment: dict[str, str]) -> Run:
    """Runs `mercato` with arguments, a file as standard input, and waits for its end."""

    def run(
        *arguments: str | Path, timeout_s: float = 120.0, given: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        with Path(given or os.devnull).open("rb") as standard_input:
            return subprocess.run(
                [sys.executable, "-m", "mercato.cli", *map(str, arguments)],
                env=environment | more,
                stdin=standard_input,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )

    return run


@pytest.fixture(scope="session")
def pretend() -> Iterator[Market]:
    """A market whose containers are pretended, for all tests that need one to speak to."""
    with pretended() as up:
        yield up


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def assert_one_clear_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It failed, and said why in one line that has these words and is no traceback."""
    assert done.returncode != 0, done
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("mercato: "), done.stderr
    for word in words:
        assert word in lines[0], (word, lines[0])
