"""A real PostgreSQL for tests: one server, and as many migrated databases as are wanted."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mercato.control.embedded import EmbeddedPostgres
from mercato.control.migrate import migrate
from tests import invariants

_HASTY: Final = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "autovacuum = off",
    "jit = off",
)
"""A test's database need not survive a power cut."""

ROOM_BYTES: Final = 2_000_000_000

_TEMPLATES: Final = itertools.count()
"""Servers of one process may turn out to be the same one."""


class Postgres:
    """A server and a template with the schema, the guards of the laws, and nothing else."""

    def __init__(self, url: str, template: str | None = None) -> None:
        """Make the template, unless there is one; `url` names any database of the server."""
        self.url = url
        self._numbers = itertools.count()
        self._left: list[str] = []
        self.template = template or f"template_{os.getpid()}_{next(_TEMPLATES)}"
        if template is None:
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute(f"create database {self.template}")
            migrate(self._named(self.template))
            with psycopg.connect(self._named(self.template), autocommit=True) as conn:
                invariants.guard(conn)

    @contextmanager
    def fresh(self, like: str | None = None) -> Iterator[str]:
        """The URL of a new database, dropped later; a copy of `like`, which must be idle."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        template = self.template if like is None else str(conninfo_to_dict(like)["dbname"])
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"create database {name} template {template} strategy file_copy")
            # Those of before, and not this one at its end: dropping a database that connections
            # have only just left takes a tenth of a second.
            while self._left:
                conn.execute(f"drop database {self._left.pop()} with (force)")
        yield self._named(name)
        self._left.append(name)

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a new database without a schema, dropped at the end."""
        name = f"empty_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"create database {name}")
            yield self._named(name)
            conn.execute(f"drop database {name} with (force)")

    def _named(self, name: str) -> str:
        """The same server's URL for another database."""
        head, _, tail = self.url.partition("?")
        base, _, _ = head.rpartition("/")
        return f"{base}/{name}" + (f"?{tail}" if tail else "")


def _home() -> Path:
    """Where a server may live: in memory when there is room, as making databases is then quick."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    return Path(tempfile.mkdtemp(prefix="mercato-test-", dir=memory if roomy else None))


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server for as long as this is held: the given one, or one of our own."""
    given = os.environ.get("MERCATO_TEST_DATABASE_URL")
    if given:
        yield Postgres(given)
        return
    home = _home()
    server = EmbeddedPostgres(home)
    url = server.start()
    try:
        with psycopg.connect(url, autocommit=True) as conn:
            for setting in _HASTY:
                conn.execute(f"alter system set {setting}")
            conn.execute("select pg_reload_conf()")
        yield Postgres(url)
    finally:
        server.stop()
        shutil.rmtree(home)
