"""Bring a database to the schema that this program knows: numbered SQL, once each, in order."""

import re
from importlib import resources
from typing import Final

import psycopg

LOCK: Final = 6_377_228
"""Names the advisory lock under which one process migrates and others wait."""

_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class SchemaTooNew(Exception):  # noqa: N818 - what is the matter, in the words of the operator
    """The database was written by a newer program than this one."""


def migrate(url: str) -> list[str]:
    """Apply what is missing, each file in its own transaction; the names of those applied.

    Raises:
        SchemaTooNew: when the database has migrations that this program does not know.
        psycopg.OperationalError: when the database cannot be reached.
    """
    files = migrations()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("select pg_advisory_lock(%s)", (LOCK,))
        conn.execute(
            "create table if not exists migrations (number integer primary key, name text not null)"
        )
        done = {row[0] for row in conn.execute("select number from migrations")}
        unknown = sorted(done - files.keys())
        if unknown:
            raise SchemaTooNew(
                f"the database has schema {unknown[-1]:04}, newer than this program's "
                f"{max(files):04}; start a newer Mercato on it"
            )
        applied = []
        for number in sorted(files.keys() - done):
            name, sql = files[number]
            with conn.transaction():
                conn.execute(sql)
                conn.execute("insert into migrations values (%s, %s)", (number, name))
            applied.append(name)
    return applied


def migrations() -> dict[int, tuple[str, str]]:
    """Name and SQL of every migration by number; numbers start at 1 and leave no gap."""
    found: dict[int, tuple[str, str]] = {}
    for file in resources.files("mercato.control.migrations").iterdir():
        match = _NAME.fullmatch(file.name)
        if match:
            number = int(match[1])
            assert number not in found, f"two migrations are numbered {number:04}"
            found[number] = (file.name, file.read_text(encoding="utf-8"))
    assert sorted(found) == list(range(1, len(found) + 1)), sorted(found)
    return found
