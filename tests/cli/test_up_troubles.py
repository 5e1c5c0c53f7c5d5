"""What keeps a market from coming up is said in one clear line, and nothing is left running."""

import fcntl
import os
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Run, assert_one_clear_line


def test_a_taken_port(mercato: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = mercato("up", "--pretend", "--data", tmp_path / "data", "--port", str(port))
    assert_one_clear_line(done, str(port), "--port")


def test_a_port_that_is_none(mercato: Run, tmp_path: Path) -> None:
    done = mercato("up", "--pretend", "--data", tmp_path / "data", "--port", "99999")
    assert_one_clear_line(done, "99999")


def test_two_servers_on_one_data_directory(mercato: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with (data / "lock").open("w") as held:
        held.write("4711")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        done = mercato("up", "--pretend", "--data", data, "--port", "0")
    assert_one_clear_line(done, "in use", "4711", "--data")


def test_no_disk(mercato: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = mercato("up", "--pretend", "--data", data, "--need-free-gb", "10000000")
    assert_one_clear_line(done, "GB free", str(data))


def test_a_data_directory_that_cannot_be(mercato: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = mercato("up", "--pretend", "--data", tmp_path / "file" / "data")
    assert_one_clear_line(done, "cannot write")


def test_a_ready_file_that_cannot_be_written(mercato: Run, tmp_path: Path, free_port: int) -> None:
    for file in (tmp_path / "nowhere" / "ready.json", tmp_path):
        done = mercato(
            *("up", "--pretend", "--data", tmp_path / "data", "--port", str(free_port)),
            *("--ready-file", file),
        )
        assert_one_clear_line(done, "--ready-file", str(file))


def test_an_unreachable_database(mercato: Run, tmp_path: Path, free_port: int) -> None:
    url = "postgresql://nobody:secret@127.0.0.1:1/nothing"
    done = mercato(
        *("up", "--pretend", "--data", tmp_path / "data", "--port", str(free_port)),
        *("--database-url", url),
    )
    assert_one_clear_line(done, "database", "127.0.0.1")
    assert "secret" not in done.stderr, "a password is not repeated"


def test_a_docker_engine_of_another_machine(mercato: Run, tmp_path: Path, free_port: int) -> None:
    done = mercato(
        *("up", "--data", tmp_path / "data", "--port", str(free_port)),
        DOCKER_HOST="tcp://10.0.0.1:2375",
    )
    assert_one_clear_line(done, "DOCKER_HOST")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_no_docker_engine_and_no_right_to_start_one() -> None:
    from mercato.cli.errors import Trouble
    from mercato.cli.up.docker import may_start

    os.seteuid(65_534)
    try:
        with pytest.raises(Trouble, match="--engine pretend"):
            may_start(Path("/nonexistent/docker.sock"))
    finally:
        os.seteuid(0)


def test_a_docker_engine_that_dies_at_once(mercato: Run, tmp_path: Path, free_port: int) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    program = broken / "dockerd"
    program.write_text("#!/bin/sh\necho 'failed to start daemon: no cgroups here' >&2\nexit 1\n")
    program.chmod(0o755)
    done = mercato(
        *("up", "--data", tmp_path / "data", "--port", str(free_port)),
        PATH=f"{broken}:/usr/bin:/bin",
        DOCKER_HOST=f"unix://{tmp_path}/docker.sock",
    )
    words = ("no cgroups here",) if os.geteuid() == 0 else ("root",)
    assert_one_clear_line(done, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpus = 'many'", "gpus"),
        ("[gpu]\nmodel = 'RTX 4090'\ncount = 1\n[network]\nport_last = 39999", "40000 to 39999"),
    ],
)
def test_a_hardware_file_that_is_wrong(
    mercato: Run, tmp_path: Path, free_port: int, text: str, words: str
) -> None:
    file = tmp_path / "machine.toml"
    file.write_text(text)
    done = mercato(
        *("up", "--pretend", "--data", tmp_path / "data", "--port", str(free_port)),
        *("--hardware", file),
    )
    assert_one_clear_line(done, "machine.toml", words)
    assert done.returncode == 2, "as for any argument that cannot be"
