"""The demonstration's three accounts: operator, host, renter, with keys and test credit."""

import asyncio
from typing import Final

from mercato.cli.up.place import Keys
from mercato.cli.up.say import Say
from mercato.control.clock import SystemClock
from mercato.control.db import Database, Tx
from mercato.control.flows import paying
from mercato.control.flows.opening import open_account
from mercato.market.money import NanoUsd, nano

CREDIT: Final = NanoUsd(nano(100))
"""What the renter begins with, in play money."""

KEY_NAME: Final = "mercato up"


async def bootstrap(database_url: str, keys: Keys, say: Say) -> None:
    """Make sure that the accounts, their keys and the credit are there; again changes nothing."""
    with say.step("accounts") as step:
        await asyncio.to_thread(_write, database_url, keys)
        step.outcome = "operator@, host@ and renter@localhost, keys in keys.json"


def _write(database_url: str, keys: Keys) -> None:
    database = Database(database_url, connections_max=1, on_poke=lambda _topics: None)
    database.open()
    try:
        database.run_now(_accounts, keys, SystemClock().now_ms())
    finally:
        database.close()


def _accounts(tx: Tx, keys: Keys, now_ms: int) -> None:
    open_account(tx, "operator@localhost", keys.operator, KEY_NAME, now_ms, is_operator=True)
    open_account(tx, "host@localhost", keys.host, KEY_NAME, now_ms, is_host=True)
    renter = open_account(tx, "renter@localhost", keys.renter, KEY_NAME, now_ms)
    paying.add_credit(tx, renter, CREDIT, "mercato-up", now_ms, "test credit")
