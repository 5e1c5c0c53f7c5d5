"""A real PostgreSQL for every test: one server a session, one database a test, from a template."""

from collections.abc import Iterator

import pytest

from mercato.control.db import Database
from tests.control.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def server_of_databases() -> Iterator[Postgres]:
    """A database server of this test process."""
    with postgres() as server:
        yield server


@pytest.fixture
def database_url(server_of_databases: Postgres) -> Iterator[str]:
    """The URL of a migrated database of this test alone."""
    with server_of_databases.fresh() as url:
        yield url


@pytest.fixture
def empty_database_url(server_of_databases: Postgres) -> Iterator[str]:
    """The URL of a database without a schema."""
    with server_of_databases.empty() as url:
        yield url


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
