"""Accounts: people and teams who rent, host, own keys and money."""

from typing import Any, Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.ids import AccountId


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One account as it is stored."""

    id: AccountId
    email: str
    username: str
    fullname: str
    is_operator: bool
    is_host: bool
    parent_id: AccountId | None
    is_team: bool
    """People act in it as its members; its name is `username`."""
    profile: dict[str, Any]
    """What the owner set with `set user`: address, thresholds, phone number."""
    created_at_ms: int


TEAM_DOMAIN: Final = "teams.invalid"
"""Where no mail arrives: a team has an address because every account has one."""

_COLUMNS: Final[LiteralString] = (
    "id, email, username, fullname, is_operator, is_host, parent_id, is_team, profile,"
    " created_at_ms"
)


def create(  # noqa: PLR0913 - one argument for each column
    tx: Tx,
    *,
    email: str,
    username: str,
    now_ms: int,
    parent: AccountId | None = None,
    is_operator: bool = False,
    is_host: bool = False,
    password_hash: str | None = None,
) -> AccountId | None:
    """Make an account; None when the e-mail address has one already."""
    row = tx.one(
        "insert into accounts (email, username, is_operator, is_host, parent_id, password_hash,"
        " created_at_ms) values (%s, %s, %s, %s, %s, %s, %s)"
        " on conflict (email) do nothing returning id",
        email,
        username,
        is_operator,
        is_host,
        parent,
        password_hash,
        now_ms,
    )
    return AccountId(row["id"]) if row else None


def create_team(tx: Tx, name: str, now_ms: int) -> AccountId:
    """Make an account for a team."""
    row = tx.one(
        "insert into accounts (id, email, username, is_team, created_at_ms)"
        " overriding system value select n, 'team-' || n || '@' || %s, %s, true, %s"
        " from nextval(pg_get_serial_sequence('accounts', 'id')) n returning id",
        TEAM_DOMAIN,
        name,
        now_ms,
    )
    assert row is not None
    return AccountId(row["id"])


def get(tx: Tx, account: AccountId) -> Account | None:
    """An account by id; None when there is none."""
    row = tx.one(
        f"select {_COLUMNS} from accounts where id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        account,
    )
    return msgspec.convert(row, Account) if row else None


def find(tx: Tx, email: str) -> Account | None:
    """An account by e-mail address, whatever its case; None when there is none."""
    row = tx.one(
        f"select {_COLUMNS} from accounts where lower(email) = lower(%s)"  # noqa: S608 - the columns are fixed above
        " and deleted_at_ms is null",
        email,
    )
    return msgspec.convert(row, Account) if row else None


def everyone(tx: Tx) -> list[Account]:
    """All accounts, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from accounts where deleted_at_ms is null order by id"  # noqa: S608 - the columns are fixed above
    )
    return [msgspec.convert(row, Account) for row in rows]


def children(tx: Tx, parent: AccountId) -> list[Account]:
    """The subaccounts of an account, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from accounts where parent_id = %s"  # noqa: S608 - the columns are fixed above
        " and deleted_at_ms is null order by id",
        parent,
    )
    return [msgspec.convert(row, Account) for row in rows]


def update(
    tx: Tx, account: AccountId, *, email: str, username: str, fullname: str, profile: dict[str, Any]
) -> None:
    """Write what the owner can set."""
    tx.run(
        "update accounts set email = %s, username = %s, fullname = %s, profile = %s where id = %s",
        email,
        username,
        fullname,
        Jsonb(profile),
        account,
    )


def become_host(tx: Tx, account: AccountId) -> None:
    """Remember that the account accepted to be a host."""
    tx.run("update accounts set is_host = true where id = %s", account)


def delete(tx: Tx, account: AccountId, now_ms: int) -> None:
    """Have an account be no more: nobody acts for it, and its history is kept."""
    tx.run("update accounts set deleted_at_ms = %s where id = %s", now_ms, account)
