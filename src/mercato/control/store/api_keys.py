"""API keys: only their SHA-256 is kept, with a short prefix by which a person knows them again."""

import hashlib
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ApiKeyId, ContractId, MachineId

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
    created_at_ms: int


class KeyOwner(msgspec.Struct, frozen=True, kw_only=True):
    """A key and what its account may."""

    key: ApiKey
    is_operator: bool
    is_host: bool


_COLUMNS = (
    "k.id, k.account_id, k.kind, k.name, k.prefix, k.permissions, k.contract_id, k.machine_id,"
    " k.created_at_ms"
)


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
) -> ApiKeyId:
    """Keep a new key; whoever made `secret` shows it once."""
    row = tx.one(
        "insert into api_keys (account_id, kind, name, hash, prefix, permissions, contract_id,"
        " machine_id, created_at_ms) values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning id",
        account,
        kind,
        name,
        digest(secret),
        secret[:PREFIX_LENGTH],
        None if permissions is None else Jsonb(permissions),
        contract,
        machine,
        now_ms,
    )
    assert row is not None
    return ApiKeyId(row["id"])


def owner_of(tx: Tx, secret: str) -> KeyOwner | None:
    """Whose key this is; None when nobody's, or no longer."""
    row = tx.one(
        f"select {_COLUMNS}, a.is_operator, a.is_host from api_keys k"  # noqa: S608 - the columns are fixed above
        " join accounts a on a.id = k.account_id"
        " where k.hash = %s and k.deleted_at_ms is null and a.deleted_at_ms is null",
        digest(secret),
    )
    if row is None:
        return None
    return KeyOwner(
        key=msgspec.convert(row, ApiKey),
        is_operator=row["is_operator"],
        is_host=row["is_host"],
    )


def of_account(tx: Tx, account: AccountId) -> list[ApiKey]:
    """The keys that an account made for itself, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from api_keys k where k.account_id = %s and k.kind = 'account'"  # noqa: S608 - the columns are fixed above
        " and k.deleted_at_ms is null order by k.id",
        account,
    )
    return [msgspec.convert(row, ApiKey) for row in rows]


def delete(tx: Tx, account: AccountId, key: ApiKeyId, now_ms: int) -> bool:
    """Take a key out of use at once; False when the account has no such key."""
    return (
        tx.run(
            "update api_keys set deleted_at_ms = %s where id = %s and account_id = %s"
            " and kind = 'account' and deleted_at_ms is null",
            now_ms,
            key,
            account,
        )
        > 0
    )


def delete_of_machine(tx: Tx, machine: MachineId, now_ms: int) -> None:
    """Take a machine's own keys out of use."""
    tx.run(
        "update api_keys set deleted_at_ms = %s where machine_id = %s and kind = 'machine'"
        " and deleted_at_ms is null",
        now_ms,
        machine,
    )
