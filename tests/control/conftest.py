"""A real PostgreSQL for every test: one server a session, one database a test, from a template."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from mercato.control.db import Database
from mercato.control.embedded import EmbeddedPostgres
from mercato.control.migrate import migrate

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a server of this test process; it need not survive a power cut."""
    given = os.environ.get("MERCATO_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Not under pytest's own directory: as root the server runs as another user, and every start of
    # pytest shuts that directory to others again.
    home = Path(tempfile.mkdtemp(prefix="mercato-test-"))
    server = EmbeddedPostgres(home)
    url = server.start()
    with psycopg.connect(url, autocommit=True) as conn:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            conn.execute(f"alter system set {setting}")
        conn.execute("select pg_reload_conf()")
    yield url
    server.stop()
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a database with the schema and nothing else."""
    name = f"template_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"create database {name}")
    migrate(_named(postgres_url, name))
    return name


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """The URL of a migrated database of this test alone."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"create database {name} template {template}")
        yield _named(postgres_url, name)
        conn.execute(f"drop database {name} with (force)")


@pytest.fixture
def pokes() -> list[str]:
    """Every topic that was poked after a commit, in order."""
    return []


@pytest.fixture
def db(database_url: str, pokes: list[str]) -> Iterator[Database]:
    """A migrated database, open."""
    database = Database(database_url, on_poke=pokes.extend)
    database.open()
    yield database
    database.close()


def _named(url: str, name: str) -> str:
    """The same server's URL for another database."""
    head, _, tail = url.partition("?")
    base, _, _ = head.rpartition("/")
    return f"{base}/{name}" + (f"?{tail}" if tail else "")
