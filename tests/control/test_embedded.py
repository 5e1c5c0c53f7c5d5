"""The embedded database: outlives its owner and its own death, and opens nothing to others."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from mercato.control.embedded import DatabaseDidNotStart, DataDirectoryInUse, EmbeddedPostgres


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mercato-test-") as made:
        yield Path(made)


def _write(url: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("create table kept (word text)")
        conn.execute("insert into kept values ('ÄÖ')")


def _read(url: str) -> str:
    with psycopg.connect(url) as conn:
        row = conn.execute("select lower(word) from kept").fetchone()
    assert row is not None
    return str(row[0])


def _postmaster(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def test_what_was_written_is_there_after_a_stop_and_after_a_kill(home: Path) -> None:
    with EmbeddedPostgres(home) as url:
        _write(url)
        assert _read(url) == "äö"
    server = EmbeddedPostgres(home)
    assert _read(server.start()) == "äö"
    os.kill(_postmaster(home), signal.SIGKILL)
    server.stop()
    with EmbeddedPostgres(home) as url:
        assert _read(url) == "äö"


def test_a_server_that_outlived_its_owner_is_taken_over(home: Path) -> None:
    gone = EmbeddedPostgres(home)
    url = gone.start()
    before = _postmaster(home)
    gone._release()  # as the system does when a process dies
    heir = EmbeddedPostgres(home)
    assert heir.start() == url
    assert _postmaster(home) == before
    heir.stop()
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_a_number_left_by_a_dead_server_is_not_taken_for_one(home: Path) -> None:
    with EmbeddedPostgres(home):
        pass
    left = home / "postgres" / "postmaster.pid"
    left.write_text(f"{os.getpid()}\n{home / 'postgres'}\n")
    with EmbeddedPostgres(home):
        assert _postmaster(home) != os.getpid()


def test_a_directory_has_one_owner(home: Path) -> None:
    with EmbeddedPostgres(home), pytest.raises(DataDirectoryInUse, match=str(os.getpid())):
        EmbeddedPostgres(home).start()


def test_a_cluster_that_was_cut_short_is_made_again(home: Path) -> None:
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(home):
        assert not (home / "postgres.new").exists()


def test_what_keeps_it_from_starting_is_said(home: Path) -> None:
    (home / "postgres").mkdir()
    with pytest.raises(DatabaseDidNotStart, match="not a database cluster directory"):
        EmbeddedPostgres(home).start()
    EmbeddedPostgres(home).stop()


def test_it_opens_no_directory_and_leaves_none_behind(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    # Longer than a socket's address may be: the socket is elsewhere, closed to others as well.
    data = closed / ("long" * 25)
    with EmbeddedPostgres(data) as url:
        _write(url)
        sockets = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))
        assert sockets.parent == Path(tempfile.gettempdir())
        assert sockets.stat().st_mode & 0o077 == 0
        assert (data / "postgres").stat().st_mode & 0o077 == 0
        assert closed.stat().st_mode & 0o077 == 0
    assert not sockets.exists()
