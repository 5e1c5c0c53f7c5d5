"""The market's PostgreSQL: one's own, or an embedded one that is kept alive; migrated."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mercato.cli.errors import Trouble
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say
from mercato.control.embedded import (
    DatabaseDidNotStart,
    DataDirectoryInUse,
    EmbeddedPostgres,
)
from mercato.control.migrate import SchemaTooNew, migrate

LOOK_EVERY_S: Final = 1.0
CONNECT_S: Final = 10


@asynccontextmanager
async def database(place: Place, url: str | None, say: Say) -> AsyncIterator[str]:
    """A database at the present schema, for as long as this is held; its URL.

    Raises:
        Trouble: when it cannot be reached, started or migrated.
    """
    if url is not None:
        with say.step("database") as step:
            await asyncio.to_thread(_reach, url)
            step.outcome = f"{_name(url)}, {await _migrated(url)}"
        yield url
        return
    postgres = EmbeddedPostgres(place.database)
    ending = asyncio.Event()
    watch: asyncio.Task[None] | None = None
    try:
        with say.step("database") as step:
            url = await _start(postgres)
            step.outcome = f"PostgreSQL in {place.database}, {await _migrated(url)}"
        watch = asyncio.create_task(_keep(postgres, place.database / "postgres", ending, say))
        yield url
    finally:
        ending.set()
        if watch is not None:
            # Not cancelled: a server that is just being started again must be stopped too.
            await watch
        await asyncio.to_thread(postgres.stop)


async def _start(postgres: EmbeddedPostgres) -> str:
    starting = asyncio.create_task(asyncio.to_thread(postgres.start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # A thread cannot be cancelled; what it started is there to be stopped once it is done.
        with suppress(Exception):
            await starting
        raise
    except (DataDirectoryInUse, DatabaseDidNotStart) as error:
        raise Trouble(str(error)) from error


async def _migrated(url: str) -> str:
    try:
        applied = await asyncio.to_thread(migrate, url)
    except SchemaTooNew as error:
        raise Trouble(str(error)) from error
    except psycopg.Error as error:
        raise Trouble(f"the database cannot be migrated: {_first_line(error)}") from error
    return f"{len(applied)} migrations applied" if applied else "schema up to date"


def _reach(url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=CONNECT_S).close()
    except psycopg.Error as error:
        raise Trouble(
            f"the database {_name(url)} cannot be reached: {_first_line(error)}; check "
            "--database-url, or leave it out to have one started"
        ) from error


def _name(url: str) -> str:
    """A database's address without its password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise Trouble(f"--database-url is not a database address: {_first_line(error)}") from error
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


async def _keep(postgres: EmbeddedPostgres, home: Path, ending: asyncio.Event, say: Say) -> None:
    """Start the server again whenever it is gone, until the end."""
    while not ending.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), LOOK_EVERY_S)
        if ending.is_set() or await asyncio.to_thread(_alive, home):
            continue
        say.trouble("the database ended; started again")
        # Whatever is left of it is in nobody's way: it recovers by its own log.
        with suppress(Exception):
            await asyncio.to_thread(postgres.stop)
        try:
            await _start(postgres)
        except Trouble as trouble:
            say.trouble(trouble.message)


def _alive(home: Path) -> bool:
    try:
        process = int((home / "postmaster.pid").read_text().splitlines()[0])
        os.kill(process, 0)
    except (OSError, ValueError, IndexError):
        return False
    return True
