"""API keys: only their SHA-256 is kept, with a short prefix by which a person knows them again."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ApiKeyId, ContractId, MachineId
from mercato.market.team import Kind, rights

PREFIX_LENGTH = 8
"""How much of a key is kept readable: enough to recognise, too little to use."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key as it is stored."""

    id: ApiKeyId
    account_id: AccountId
    kind: str
    """`account`, `instance` or `machine`."""
    name: str
    prefix: str
    permissions: dict[str, Any] | None
    """None for all the rights of its account."""
    contract_id: ContractId | None
    machine_id: MachineId | None
    member_id: AccountId | None = None
    """The member whose key of a team it is; None for a key of one's own account."""
    team_name: str | None = None
    created_at_ms: int


class KeyOwner(msgspec.Struct, frozen=True, kw_only=True):
    """A key and what its account, or its member of a team, may."""

    key: ApiKey
    is_operator: bool
    is_host: bool
    role: Mapping[str, Any] | None
    """What the role of a team's member may; None for all, and for a key of one's own account."""


_COLUMNS: Final[LiteralString] = (
    "k.id, k.account_id, k.kind, k.name, k.prefix, k.permissions, k.contract_id, k.machine_id,"
    " k.member_id, case when a.is_team then a.username end as team_name, k.created_at_ms"
)
_KEYS: Final[LiteralString] = "api_keys k join accounts a on a.id = k.account_id"


def digest(secret: str) -> bytes:
    """What is stored in place of a key. Keys are long and random, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def create(  # noqa: PLR0913 - one argument for each column
    tx: Tx,
    *,
    account: AccountId,
    kind: str,
    name: str,
    secret: str,
    now_ms: int,
    permissions: dict[str, Any] | None = None,
    contract: ContractId | None = None,
    machine: MachineId | None = None,
    member: AccountId | None = None,
) -> ApiKeyId:
    """Keep a new key; whoever made `secret` shows it once."""
    row = tx.one(
        "insert into api_keys (account_id, kind, name, hash, prefix, permissions, contract_id,"
        " machine_id, member_id, created_at_ms) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " returning id",
        account,
        kind,
        name,
        digest(secret),
        secret[:PREFIX_LENGTH],
        None if permissions is None else Jsonb(permissions),
        contract,
        machine,
        member,
        now_ms,
    )
    assert row is not None
    return ApiKeyId(row["id"])


def owner_of(tx: Tx, secret: str) -> KeyOwner | None:
    """Whose key this is; None when nobody's, or no longer."""
    row = tx.one(
        f"select {_COLUMNS}, a.is_operator, a.is_host, r.kind as role_kind,"  # noqa: S608 - the columns are fixed above
        f" r.permissions as role_permissions from {_KEYS}"
        " left join team_members m on m.team_id = k.account_id and m.account_id = k.member_id"
        " left join team_roles r on r.id = m.role_id"
        " where k.hash = %s and k.deleted_at_ms is null and a.deleted_at_ms is null"
        " and (k.member_id is null or m.account_id is not null)",
        digest(secret),
    )
    if row is None:
        return None
    role = row["role_kind"]
    return KeyOwner(
        key=msgspec.convert(row, ApiKey),
        is_operator=row["is_operator"],
        is_host=row["is_host"],
        role=rights(Kind(role), row["role_permissions"]) if role else None,
    )


def is_off_market(tx: Tx, secret: str) -> bool:
    """Whether this was the key of a machine that was taken off the market."""
    return (
        tx.one(
            "select 1 from api_keys k join machines m on m.id = k.machine_id"
            " where k.hash = %s and m.deleted_at_ms is not null",
            digest(secret),
        )
        is not None
    )


def of_account(tx: Tx, account: AccountId) -> list[ApiKey]:
    """The keys that act for an account, oldest first; for a team, those of all its members."""
    rows = tx.all(
        f"select {_COLUMNS} from {_KEYS} where k.account_id = %s and k.kind = 'account'"  # noqa: S608 - the columns are fixed above
        " and k.deleted_at_ms is null order by k.id",
        account,
    )
    return [msgspec.convert(row, ApiKey) for row in rows]


def of_holder(tx: Tx, account: AccountId) -> list[ApiKey]:
    """The same, and those that the account has in teams as their member."""
    rows = tx.all(
        f"select {_COLUMNS} from {_KEYS} where %s in (k.account_id, k.member_id)"  # noqa: S608 - the columns are fixed above
        " and k.kind = 'account' and k.deleted_at_ms is null order by k.id",
        account,
    )
    return [msgspec.convert(row, ApiKey) for row in rows]


def delete(tx: Tx, holder: AccountId, key: ApiKeyId, now_ms: int) -> bool:
    """Take a key of `of_holder` out of use at once; False when it is none of those."""
    return (
        tx.run(
            "update api_keys set deleted_at_ms = %s where id = %s"
            " and %s in (account_id, member_id) and kind = 'account' and deleted_at_ms is null",
            now_ms,
            key,
            holder,
        )
        > 0
    )


def delete_of_member(tx: Tx, team: AccountId, member: AccountId, now_ms: int) -> None:
    """Take every key that a member has in a team out of use."""
    tx.run(
        "update api_keys set deleted_at_ms = %s where account_id = %s and member_id = %s"
        " and deleted_at_ms is null",
        now_ms,
        team,
        member,
    )


def delete_of_machine(tx: Tx, machine: MachineId, now_ms: int) -> None:
    """Take a machine's own keys out of use."""
    tx.run(
        "update api_keys set deleted_at_ms = %s where machine_id = %s and kind = 'machine'"
        " and deleted_at_ms is null",
        now_ms,
        machine,
    )
