"""The demonstration's three accounts: operator, host, renter, with keys and test credit."""

import asyncio
from typing import Final

from mercato.cli.up.place import Keys
from mercato.cli.up.say import Say
from mercato.control.clock import SystemClock
from mercato.control.db import Database, Tx
from mercato.control.flows import paying
from mercato.control.store import accounts, api_keys
from mercato.market.ids import AccountId
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
    _account(tx, "operator", keys.operator, now_ms)
    _account(tx, "host", keys.host, now_ms)
    renter = _account(tx, "renter", keys.renter, now_ms)
    paying.add_credit(tx, renter, CREDIT, "mercato-up", now_ms, "test credit")


def _account(tx: Tx, role: str, key: str, now_ms: int) -> AccountId:
    email = f"{role}@localhost"
    known = accounts.find(tx, email)
    account = known.id if known else None
    if account is None:
        account = accounts.create(
            tx,
            email=email,
            username=role,
            is_operator=role == "operator",
            is_host=role == "host",
            now_ms=now_ms,
        )
        assert account is not None, email
    if api_keys.owner_of(tx, key) is None:
        api_keys.create(
            tx, account=account, kind="account", name=KEY_NAME, secret=key, now_ms=now_ms
        )
    return account
