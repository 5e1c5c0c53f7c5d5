"""Serverless endpoints: their owners, parameters and keys."""

from collections.abc import Mapping
from typing import Any, Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.control.store.api_keys import digest
from mercato.market.ids import AccountId
from mercato.market.limits import Scope
from mercato.serverless.endpoint import Endpoint, EndpointId


class StoredEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint as it is stored."""

    id: EndpointId
    account_id: AccountId
    name: str
    parameters: Endpoint
    sealed_key: bytes
    key_hash: bytes
    member_id: AccountId | None
    """The member of a team who made it."""
    made_by_key: int | None
    created_at_ms: int
    updated_at_ms: int
    deleted_at_ms: int | None

    @property
    def scopes(self) -> dict[Scope, int]:
        """Whose limits its workers count towards, beside its account's."""
        of = {Scope.ENDPOINT: self.id, Scope.KEY: self.made_by_key, Scope.MEMBER: self.member_id}
        return {scope: int(number) for scope, number in of.items() if number is not None}


_COLUMNS: Final[LiteralString] = (
    "id, account_id, name, parameters, sealed_key, key_hash, member_id, made_by_key,"
    " created_at_ms, updated_at_ms, deleted_at_ms"
)


def create(  # noqa: PLR0913 - one argument for each column
    tx: Tx,
    account: AccountId,
    name: str,
    parameters: Endpoint,
    *,
    key: str,
    sealed_key: bytes,
    scopes: Mapping[Scope, int],
    now_ms: int,
) -> StoredEndpoint | None:
    """Write an endpoint; None when the account has one of that name."""
    row = tx.one(
        "insert into endpoints (account_id, name, parameters, sealed_key, key_hash,"  # noqa: S608 - the columns are fixed above
        " member_id, made_by_key, created_at_ms, updated_at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        f" on conflict (account_id, name) where deleted_at_ms is null do nothing"
        f" returning {_COLUMNS}",
        account,
        name,
        Jsonb(msgspec.to_builtins(parameters)),
        sealed_key,
        digest(key),
        scopes.get(Scope.MEMBER),
        scopes.get(Scope.KEY),
        now_ms,
        now_ms,
    )
    return _endpoint(row) if row else None


def get(tx: Tx, endpoint: int) -> StoredEndpoint | None:
    """An endpoint that was not deleted."""
    row = tx.one(
        f"select {_COLUMNS} from endpoints where id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        endpoint,
    )
    return _endpoint(row) if row else None


def of_account(tx: Tx, account: AccountId) -> list[StoredEndpoint]:
    """An account's endpoints, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from endpoints where account_id = %s and deleted_at_ms is null"  # noqa: S608 - the columns are fixed above
        " order by id",
        account,
    )
    return [_endpoint(row) for row in rows]


def everything(tx: Tx) -> list[StoredEndpoint]:
    """Every endpoint of the market."""
    rows = tx.all(f"select {_COLUMNS} from endpoints where deleted_at_ms is null order by id")  # noqa: S608 - the columns are fixed above
    return [_endpoint(row) for row in rows]


def change(tx: Tx, endpoint: EndpointId, name: str, parameters: Endpoint, now_ms: int) -> None:
    """Write other parameters."""
    tx.run(
        "update endpoints set name = %s, parameters = %s, updated_at_ms = %s where id = %s",
        name,
        Jsonb(msgspec.to_builtins(parameters)),
        now_ms,
        endpoint,
    )


def delete(tx: Tx, endpoint: EndpointId, now_ms: int) -> None:
    """Write that it is no more."""
    tx.run("update endpoints set deleted_at_ms = %s where id = %s", now_ms, endpoint)


def _endpoint(row: dict[str, Any]) -> StoredEndpoint:
    parameters = msgspec.convert(row["parameters"], Endpoint)
    stored = StoredEndpoint(
        **{**row, "parameters": msgspec.structs.replace(parameters, id=EndpointId(row["id"]))}
    )
    return msgspec.structs.replace(
        stored, sealed_key=bytes(stored.sealed_key), key_hash=bytes(stored.key_hash)
    )
