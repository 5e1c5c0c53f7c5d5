"""Worker groups: what an endpoint's workers run, and on what hardware."""

from typing import Any, Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.control.store.templates import StoredTemplate
from mercato.market.ids import AccountId, TemplateId
from mercato.serverless.endpoint import EndpointId, GroupId


class StoredGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One worker group as it is stored."""

    id: GroupId
    endpoint_id: EndpointId
    account_id: AccountId
    template_id: TemplateId
    template_hash: str
    search_params: str
    """A query in the text language."""
    launch_args: str
    gpu_ram_mb: int | None
    test_workers: int
    version: int
    created_at_ms: int
    updated_at_ms: int
    deleted_at_ms: int | None = None


_COLUMNS: Final[LiteralString] = (
    "id, endpoint_id, account_id, template_id, template_hash, search_params, launch_args,"
    " gpu_ram_mb, test_workers, version, created_at_ms, updated_at_ms, deleted_at_ms"
)


def create(tx: Tx, group: StoredGroup) -> StoredGroup:
    """Write a group with what its template says now; the id is ignored, a new one comes back."""
    row = tx.one(
        "insert into worker_groups (endpoint_id, account_id, template_id, template_hash,"  # noqa: S608 - the columns are fixed above
        " template_body, search_params, launch_args, gpu_ram_mb, test_workers, created_at_ms,"
        " updated_at_ms) values (%s, %s, %s, %s, (select body from templates where hash_id = %s),"
        f" %s, %s, %s, %s, %s, %s) returning {_COLUMNS}",
        group.endpoint_id,
        group.account_id,
        group.template_id,
        group.template_hash,
        group.template_hash,
        group.search_params,
        group.launch_args,
        group.gpu_ram_mb,
        group.test_workers,
        group.created_at_ms,
        group.updated_at_ms,
    )
    return _group(row)


def get(tx: Tx, group: int) -> StoredGroup | None:
    """A group that was not deleted."""
    row = tx.one(
        f"select {_COLUMNS} from worker_groups where id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        group,
    )
    return _group(row) if row else None


def of_account(tx: Tx, account: AccountId) -> list[StoredGroup]:
    """An account's groups, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from worker_groups where account_id = %s and deleted_at_ms is null"  # noqa: S608 - the columns are fixed above
        " order by id",
        account,
    )
    return [_group(row) for row in rows]


def of_endpoint(tx: Tx, endpoint: EndpointId) -> list[StoredGroup]:
    """An endpoint's groups, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from worker_groups where endpoint_id = %s and deleted_at_ms is null"  # noqa: S608 - the columns are fixed above
        " order by id",
        endpoint,
    )
    return [_group(row) for row in rows]


def everything(tx: Tx) -> list[StoredGroup]:
    """Every group of the market."""
    rows = tx.all(f"select {_COLUMNS} from worker_groups where deleted_at_ms is null order by id")  # noqa: S608 - the columns are fixed above
    return [_group(row) for row in rows]


def template_of(tx: Tx, group: GroupId) -> StoredTemplate | None:
    """A group's template as it was when the group took it, whatever became of it since.

    None when it was changed before groups kept this.
    """
    row = tx.one(
        "select t.id, g.template_hash as hash_id, t.creator_id, t.name, g.template_body as body,"
        " t.private, t.count_created, t.recent_create_at_ms, t.created_at_ms, t.updated_at_ms"
        " from worker_groups g join templates t on t.id = g.template_id"
        " where g.id = %s and g.template_body is not null",
        group,
    )
    return msgspec.convert(row, StoredTemplate) if row else None


def change(tx: Tx, group: StoredGroup) -> None:
    """Write a group anew, but for its account and when it was made.

    Under another hash it keeps what the template of that hash says now.
    """
    tx.run(
        "update worker_groups set endpoint_id = %s, template_id = %s,"
        " template_body = coalesce(case when template_hash = %s then template_body end,"
        " (select body from templates where hash_id = %s)), template_hash = %s,"
        " search_params = %s, launch_args = %s, gpu_ram_mb = %s, test_workers = %s, version = %s,"
        " updated_at_ms = %s where id = %s",
        group.endpoint_id,
        group.template_id,
        *[group.template_hash] * 3,
        group.search_params,
        group.launch_args,
        group.gpu_ram_mb,
        group.test_workers,
        group.version,
        group.updated_at_ms,
        group.id,
    )


def delete(tx: Tx, group: GroupId, now_ms: int) -> None:
    """Write that it is no more."""
    tx.run("update worker_groups set deleted_at_ms = %s where id = %s", now_ms, group)


def _group(row: dict[str, Any] | None) -> StoredGroup:
    return msgspec.convert(row, StoredGroup)
