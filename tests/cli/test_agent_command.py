"""`mercato agent` says in a line why a machine cannot join or serve."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run, assert_one_clear_line
from tests.sdk.answering import answering

MACHINE = """
[gpu]
model = "RTX 4090"
count = 2
"""


@pytest.fixture
def hardware(tmp_path: Path) -> Path:
    path = tmp_path / "machine.toml"
    path.write_text(MACHINE)
    return path


def test_a_wrong_join_token(mercato: Run, tmp_path: Path, hardware: Path) -> None:
    with answering() as server:
        server.answer(401, {"error": "auth_error", "msg": "This join token is not valid."})
        done = mercato(
            *("agent", "join", server.url, "token", "--data", tmp_path / "agent"),
            *("--pretend", "--hardware", hardware),
        )
    assert_one_clear_line(done, "token")
    assert not (tmp_path / "agent" / "machine.json").exists()


def test_a_market_that_is_not_there(
    mercato: Run, tmp_path: Path, hardware: Path, free_port: int
) -> None:
    done = mercato(
        *("agent", "join", f"http://127.0.0.1:{free_port}", "token"),
        *("--data", tmp_path / "agent", "--pretend", "--hardware", hardware),
    )
    assert_one_clear_line(done, "cannot be reached")


def test_a_machine_that_has_not_joined(mercato: Run, tmp_path: Path) -> None:
    assert_one_clear_line(mercato("agent", "run", "--data", tmp_path), "join")
    assert_one_clear_line(mercato("agent", "status", "--data", tmp_path), "mercato agent join")


def test_a_joined_machine_knows_which_it_is(mercato: Run, tmp_path: Path, hardware: Path) -> None:
    data = tmp_path / "agent"
    with answering() as server:
        server.answer(200, {"machine": 12, "machine_key": "secret"})
        done = mercato(
            *("agent", "join", server.url, "token", "--data", data),
            *("--pretend", "--hardware", hardware),
        )
        assert done.returncode == 0, done.stderr
        assert "machine 12" in done.stdout
        assert server.seen[0].body["hardware"]["simulated"] is True
        again = mercato(
            *("agent", "join", server.url, "token", "--data", data),
            *("--pretend", "--hardware", hardware),
        )
    assert_one_clear_line(again, "already")
    assert "12" in mercato("agent", "status", "--data", data).stdout


@pytest.mark.parametrize(
    ("options", "network"),
    [
        (("--port-first", "0"), ""),
        (("--port-first", "-5"), ""),
        (("--port-last", "65536"), ""),
        (("--port-first", "45000"), ""),
        ((), "port_first = 45000"),
        ((), "port_last = 70000"),
    ],
)
def test_ports_that_cannot_be_are_refused_before_it_joins(
    mercato: Run, tmp_path: Path, hardware: Path, options: tuple[str, ...], network: str
) -> None:
    hardware.write_text(f"{MACHINE}\n[network]\n{network}\n")
    with answering() as server:
        server.answer(200, {"machine": 12, "machine_key": "secret"})
        done = mercato(
            *("agent", "join", server.url, "token", "--data", tmp_path / "agent"),
            *("--pretend", "--hardware", hardware, *options),
        )
    assert_one_clear_line(done, "range")
    assert done.returncode == 2
    assert server.seen == []
    assert not (tmp_path / "agent" / "machine.json").exists()


def test_a_wrong_key(mercato: Run) -> None:
    with answering() as server:
        server.answer(401, {"success": False, "error": "auth_error", "msg": "Invalid user key"})
        for command in (("ps",), ("offers",), ("bill",), ("machines",), ("admin", "loops")):
            done = mercato(*command, "--url", server.url, "--api-key", "wrong")
            assert_one_clear_line(done, "Invalid user key")
