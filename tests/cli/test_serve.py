"""`mercato serve` alone: the first operator's key, and in one line what keeps it from serving."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from mercato.sdk import Failure, Mercato
from tests.cli.conftest import Run, assert_one_clear_line

STARTS_S = 60.0


@contextmanager
def serving(environment: dict[str, str], data: Path, port: int, *more: str) -> Iterator[str]:
    """A control plane on `data`, stopped by SIGTERM; its address."""
    command = [sys.executable, "-m", "mercato.cli", "serve", "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--port", str(port), *more], env=environment, stderr=subprocess.PIPE, text=True
    )
    url = f"http://127.0.0.1:{port}"
    pause = threading.Event()
    until = time.monotonic() + STARTS_S
    with Mercato(url) as anybody:
        while process.poll() is None and time.monotonic() < until:
            try:
                anybody.search("")
                break
            except Failure:
                pause.wait(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    try:
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    _, left = psutil.wait_procs(children, timeout=10)
    assert left == [], "its database outlives it"


@pytest.mark.slow
def test_the_first_operator_gets_a_key_once(
    environment: dict[str, str], mercato: Run, tmp_path: Path, free_port: int
) -> None:
    kept = tmp_path / "operator.key"
    first = ("--operator", "ann@example.com")
    with serving(environment, tmp_path, free_port, *first) as url:
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        key = kept.read_text().strip()
        with Mercato(url, key) as ann:
            assert [each.email for each in ann.accounts()] == ["ann@example.com"]
        other = mercato("serve", "--data", tmp_path, "--port", "0")
        assert_one_clear_line(other, "in use", "--data")
    with serving(environment, tmp_path, free_port, *first) as url, Mercato(url, key) as ann:
        assert kept.read_text().strip() == key
        # Revoked is revoked: the next start does not bring it back.
        [only] = ann.api_keys()
        ann.delete_api_key(only.id)
    with (
        serving(environment, tmp_path, free_port, *first) as url,
        Mercato(url, key) as nobody,
        pytest.raises(Failure, match="Invalid user key"),
    ):
        nobody.user()


def test_a_taken_port(mercato: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = mercato("serve", "--data", tmp_path, "--port", port)
    assert_one_clear_line(done, port, "--port")


def test_an_unreachable_database(mercato: Run, tmp_path: Path) -> None:
    url = "postgresql://nobody:secret@127.0.0.1:1/nothing"
    done = mercato("serve", "--data", tmp_path, "--database-url", url)
    assert_one_clear_line(done, "database", "127.0.0.1")
    assert "secret" not in done.stderr


def test_a_database_address_that_is_none(mercato: Run, tmp_path: Path) -> None:
    done = mercato("serve", "--data", tmp_path, "--database-url", "not a database")
    assert_one_clear_line(done, "--database-url")


def test_a_data_directory_that_cannot_be(mercato: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_one_clear_line(mercato("serve", "--data", tmp_path / "file" / "data"), "cannot write")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_directory_of_somebody_else(mercato: Run) -> None:
    assert_one_clear_line(mercato("serve", "--data", "/root/data"), "cannot write")


def test_a_setting_that_cannot_be_understood(mercato: Run, tmp_path: Path) -> None:
    done = mercato(
        *("serve", "--data", tmp_path, "--database-url", "postgresql://127.0.0.1:1/x"),
        MERCATO_CONNECTIONS_MAX="many",
    )
    assert_one_clear_line(done, "connections_max")
