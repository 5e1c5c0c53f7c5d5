"""Templates: the stored half of an instance's request."""

from typing import Any, Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.ids import AccountId, TemplateId


class StoredTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """One template as it is stored; `body` holds what its creator wrote."""

    id: TemplateId
    hash_id: str
    creator_id: AccountId
    name: str
    body: dict[str, Any]
    private: bool
    count_created: int
    recent_create_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int


_COLUMNS: Final[LiteralString] = (
    "id, hash_id, creator_id, name, body, private, count_created, recent_create_at_ms,"
    " created_at_ms, updated_at_ms"
)


def create(
    tx: Tx,
    *,
    creator: AccountId,
    hash_id: str,
    name: str,
    body: dict[str, Any],
    private: bool,
    now_ms: int,
) -> StoredTemplate:
    """Keep a new template."""
    row = tx.one(
        "insert into templates (hash_id, creator_id, name, body, private, created_at_ms,"  # noqa: S608 - the columns are fixed above
        f" updated_at_ms) values (%s, %s, %s, %s, %s, %s, %s) returning {_COLUMNS}",
        hash_id,
        creator,
        name,
        Jsonb(body),
        private,
        now_ms,
        now_ms,
    )
    return msgspec.convert(row, StoredTemplate)


def visible(tx: Tx, reader: AccountId) -> list[StoredTemplate]:
    """The reader's own templates and everybody's public ones, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from templates where deleted_at_ms is null"  # noqa: S608 - the columns are fixed above
        " and (creator_id = %s or not private) order by id",
        reader,
    )
    return [msgspec.convert(row, StoredTemplate) for row in rows]


def by_hash(tx: Tx, hash_id: str) -> StoredTemplate | None:
    """A template by its content hash, private or not: whoever knows the hash may launch it."""
    row = tx.one(
        f"select {_COLUMNS} from templates where hash_id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        hash_id,
    )
    return msgspec.convert(row, StoredTemplate) if row else None


def by_id(tx: Tx, template: TemplateId) -> StoredTemplate | None:
    """A template by its id."""
    row = tx.one(
        f"select {_COLUMNS} from templates where id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        template,
    )
    return msgspec.convert(row, StoredTemplate) if row else None


def replace(
    tx: Tx,
    template: TemplateId,
    *,
    hash_id: str,
    name: str,
    body: dict[str, Any],
    private: bool,
    now_ms: int,
) -> StoredTemplate:
    """Write the whole of a template anew, under its new hash."""
    row = tx.one(
        "update templates set hash_id = %s, name = %s, body = %s, private = %s,"  # noqa: S608 - the columns are fixed above
        f" updated_at_ms = %s where id = %s returning {_COLUMNS}",
        hash_id,
        name,
        Jsonb(body),
        private,
        now_ms,
        template,
    )
    return msgspec.convert(row, StoredTemplate)


def delete(tx: Tx, template: TemplateId, now_ms: int) -> None:
    """Take a template away; instances made from it keep what they have."""
    tx.run(
        "update templates set deleted_at_ms = %s, hash_id = hash_id || ':' || id where id = %s",
        now_ms,
        template,
    )


def count_use(tx: Tx, template: TemplateId, now_ms: int) -> None:
    """Count one more instance made from a template."""
    tx.run(
        "update templates set count_created = count_created + 1, recent_create_at_ms = %s"
        " where id = %s",
        now_ms,
        template,
    )
