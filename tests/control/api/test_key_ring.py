"""Whose a key is, as it is remembered for a moment."""

import asyncio
from pathlib import Path

import psycopg
import pytest

from mercato.control.api.auth import KeyRing
from mercato.control.clock import SystemClock
from mercato.control.db import Database
from mercato.control.store import api_keys
from mercato.market import errors
from tests.control.api.serving import served
from tests.control.api.test_journey import eventually
from tests.control.market import T0, open_market


async def test_what_is_looked_up_while_keys_change_is_not_believed_afterwards(
    db: Database, database_url: str
) -> None:
    renter = open_market(db).renter
    db.run_now(api_keys.create, account=renter, kind="account", name="", secret="secret", now_ms=T0)
    ring = KeyRing(db, SystemClock())
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        await conn.execute("lock table api_keys in access exclusive mode")
        asking = asyncio.create_task(ring.caller("secret"))
        async with asyncio.timeout(10):
            while not await _waits(database_url):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        ring.forget()
    assert (await asking).account == renter
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        await conn.execute("update api_keys set deleted_at_ms = %s", (T0,))
    with pytest.raises(errors.NotAuthenticated):
        await ring.caller("secret")


async def _waits(database_url: str) -> bool:
    """Whether anybody waits for a lock there."""
    asked = (
        "select 1 from pg_locks l join pg_database d on d.oid = l.database"
        " where not l.granted and d.datname = current_database()"
    )
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        return await (await conn.execute(asked)).fetchone() is not None


def test_who_was_deaf_has_its_engine_forget_keys_too(database_url: str, tmp_path: Path) -> None:
    with served(database_url, tmp_path, engine=True) as server:

        def status() -> int:
            return server.call("GET", "/v1/models", "renter").status_code

        eventually(lambda: status() == 200)
        with psycopg.connect(database_url) as conn:  # as through another server, unheard here
            conn.execute("update api_keys set deleted_at_ms = %s", (T0,))
        assert status() == 200
        server.plane._was_deaf()
        eventually(lambda: status() == 401)
