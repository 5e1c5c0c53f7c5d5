"""Deployments and their versions: which code an endpoint's workers run."""

from typing import Any, Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, TemplateId
from mercato.serverless.endpoint import EndpointId, GroupId


class StoredDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment as it is stored."""

    id: int
    account_id: AccountId
    name: str
    tag: str
    endpoint_id: EndpointId
    group_id: GroupId
    rolled_version_id: int
    """What its workers run, or will as they are renewed."""
    ttl_ms: int | None
    seen_at_ms: int
    created_at_ms: int
    updated_at_ms: int


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a version is but when and under which template: equal ones are one version."""

    file_hash: str
    image: str
    env: str
    search_params: str
    storage_mb: int
    login_hash: bytes


class StoredVersion(Surroundings, frozen=True, kw_only=True):
    """One version as it is stored; what it is made of never changes."""

    id: int
    deployment_id: int
    label: str | None
    file_size: int
    """Of the archive that is there, or was announced last."""
    template_id: TemplateId
    template_hash: str
    created_at_ms: int
    evicted_at_ms: int | None = None

    @property
    def surroundings(self) -> Surroundings:
        """What tells it from another."""
        return msgspec.convert(self, Surroundings, from_attributes=True)

    @property
    def blob(self) -> str:
        """The name of its code in the store of uploads."""
        return f"deployment-{self.deployment_id}-{self.file_hash}.tar.gz"


_COLUMNS: Final[LiteralString] = (
    "id, account_id, name, tag, endpoint_id, group_id, rolled_version_id, ttl_ms, seen_at_ms,"
    " created_at_ms, updated_at_ms"
)
_VERSION: Final[LiteralString] = (
    "id, deployment_id, label, file_hash, file_size, image, env, search_params, storage_mb,"
    " login_hash, template_id, template_hash, created_at_ms, evicted_at_ms"
)


def create(
    tx: Tx,
    account: AccountId,
    name: str,
    tag: str,
    endpoint: EndpointId,
    ttl_ms: int | None,
    now_ms: int,
) -> int:
    """Write a deployment that has no group and no version yet; its id."""
    row = tx.one(
        "insert into deployments (account_id, name, tag, endpoint_id, ttl_ms, seen_at_ms,"
        " created_at_ms, updated_at_ms) values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
        account,
        name,
        tag,
        endpoint,
        ttl_ms,
        now_ms,
        now_ms,
        now_ms,
    )
    assert row is not None
    return int(row["id"])


def complete(tx: Tx, deployment: int, group: GroupId, version: int) -> None:
    """Write which group runs it, and what."""
    tx.run(
        "update deployments set group_id = %s, rolled_version_id = %s where id = %s",
        group,
        version,
        deployment,
    )


def get(tx: Tx, deployment: int) -> StoredDeployment | None:
    """A deployment that was not deleted."""
    row = tx.one(
        f"select {_COLUMNS} from deployments where id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        deployment,
    )
    return msgspec.convert(row, StoredDeployment) if row else None


def of_account(tx: Tx, account: AccountId) -> list[StoredDeployment]:
    """An account's deployments, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from deployments where account_id = %s and deleted_at_ms is null"  # noqa: S608 - the columns are fixed above
        " order by id",
        account,
    )
    return [msgspec.convert(row, StoredDeployment) for row in rows]


def named(tx: Tx, account: AccountId, name: str, tag: str) -> StoredDeployment | None:
    """An account's deployment of a name and a tag."""
    row = tx.one(
        f"select {_COLUMNS} from deployments where account_id = %s and name = %s and tag = %s"  # noqa: S608 - the columns are fixed above
        " and deleted_at_ms is null",
        account,
        name,
        tag,
    )
    return msgspec.convert(row, StoredDeployment) if row else None


def of_group(tx: Tx, group: int) -> StoredDeployment | None:
    """The deployment whose code a group's workers run."""
    row = tx.one(
        f"select {_COLUMNS} from deployments where group_id = %s and deleted_at_ms is null",  # noqa: S608 - the columns are fixed above
        group,
    )
    return msgspec.convert(row, StoredDeployment) if row else None


def silent(tx: Tx, now_ms: int) -> list[int]:
    """Deployments whose time to live is over."""
    rows = tx.all(
        "select id from deployments where deleted_at_ms is null and seen_at_ms + ttl_ms < %s"
        " order by id",
        now_ms,
    )
    return [row["id"] for row in rows]


def put(tx: Tx, deployment: int, ttl_ms: int | None, now_ms: int) -> None:
    """Write that it was put again, and how long it lives from now on."""
    tx.run(
        "update deployments set ttl_ms = %s, seen_at_ms = %s, updated_at_ms = %s where id = %s",
        ttl_ms,
        now_ms,
        now_ms,
        deployment,
    )


def seen(tx: Tx, deployment: int, now_ms: int) -> None:
    """Write that it was heard of."""
    tx.run("update deployments set seen_at_ms = %s where id = %s", now_ms, deployment)


def rolled(tx: Tx, deployment: int, version: int, now_ms: int) -> None:
    """Write which version its workers run from now on."""
    tx.run(
        "update deployments set rolled_version_id = %s, updated_at_ms = %s where id = %s",
        version,
        now_ms,
        deployment,
    )


def delete(tx: Tx, deployment: int, now_ms: int) -> None:
    """Write that it is no more, and that no code of it need be kept."""
    tx.run("update deployments set deleted_at_ms = %s where id = %s", now_ms, deployment)
    tx.run(
        "update deployment_versions set evicted_at_ms = %s"
        " where deployment_id = %s and evicted_at_ms is null",
        now_ms,
        deployment,
    )


# --- Versions -------------------------------------------------------------------------------------


def add_version(tx: Tx, version: StoredVersion) -> StoredVersion:
    """Write a version; the id in `version` is ignored, a new one comes back."""
    row = tx.one(
        "insert into deployment_versions (deployment_id, label, file_hash, file_size, image, env,"  # noqa: S608 - the columns are fixed above
        " search_params, storage_mb, login_hash, template_id, template_hash, created_at_ms)"
        f" values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning {_VERSION}",
        version.deployment_id,
        version.label,
        version.file_hash,
        version.file_size,
        version.image,
        version.env,
        version.search_params,
        version.storage_mb,
        version.login_hash,
        version.template_id,
        version.template_hash,
        version.created_at_ms,
    )
    return _version(row)


def versions(tx: Tx, deployment: int) -> list[StoredVersion]:
    """A deployment's versions, newest first, those that were evicted too."""
    rows = tx.all(
        f"select {_VERSION} from deployment_versions where deployment_id = %s order by id desc",  # noqa: S608 - the columns are fixed above
        deployment,
    )
    return [_version(row) for row in rows]


def standing(tx: Tx, deployment: int) -> list[StoredVersion]:
    """Those of them that were not evicted: what runs, what is newest, what one may go back to."""
    return [one for one in versions(tx, deployment) if one.evicted_at_ms is None]


def announce(tx: Tx, version: int, file_size: int) -> None:
    """Write in what size a version's code is to come."""
    tx.run("update deployment_versions set file_size = %s where id = %s", file_size, version)


def left_behind(tx: Tx, group: GroupId) -> StoredVersion | None:
    """What those of a group's workers run that are to be made anew, if it is an earlier version.

    None when that is kept no more, or when it differs in nothing that a worker is made of.
    """
    row = tx.one(
        f"select {_VERSION} from deployment_versions v where id = (select max(v.id)"  # noqa: S608 - the columns are fixed above
        "  from workers w join worker_groups g on g.id = w.group_id join instances i on i.id = w.id"
        "  join deployments d on d.group_id = g.id and d.deleted_at_ms is null"
        "  join deployment_versions v on v.deployment_id = d.id"
        "   and v.template_id = i.template_id and v.evicted_at_ms is null"
        " where g.id = %s and w.version < g.version and i.template_id <> g.template_id"
        "   and i.destroyed_at_ms is null and i.intended <> 'destroyed')",
        group,
    )
    return _version(row) if row else None


def is_mixed(tx: Tx, group: GroupId) -> bool:
    """Whether workers that are not to be made anew run something else than their group does now.

    So it is when an update was left in its midst.
    """
    row = tx.one(
        "select exists (select from workers w join worker_groups g on g.id = w.group_id"
        " join instances i on i.id = w.id where g.id = %s and w.version >= g.version"
        " and i.template_id <> g.template_id and i.destroyed_at_ms is null"
        " and i.intended <> 'destroyed') as mixed",
        group,
    )
    return row is not None and bool(row["mixed"])


def runs_as(tx: Tx, template: TemplateId) -> bool:
    """Whether a version that was not evicted is made by a template."""
    row = tx.one(
        "select exists (select from deployment_versions where template_id = %s"
        " and evicted_at_ms is null) as kept",
        template,
    )
    return row is not None and bool(row["kept"])


def evict(tx: Tx, version: int, now_ms: int) -> None:
    """Write that a version's code need not be kept."""
    tx.run("update deployment_versions set evicted_at_ms = %s where id = %s", now_ms, version)


def waste(tx: Tx, until_ms: int) -> list[StoredVersion]:
    """Versions whose code need not be kept since `until_ms`, and may still lie in the store."""
    rows = tx.all(
        f"select {_VERSION} from deployment_versions"  # noqa: S608 - the columns are fixed above
        " where evicted_at_ms <= %s and removed_at_ms is null order by id",
        until_ms,
    )
    return [_version(row) for row in rows]


def is_needed(tx: Tx, version: StoredVersion) -> bool:
    """Whether a version that was not evicted has the same code."""
    row = tx.one(
        "select exists (select from deployment_versions where deployment_id = %s"
        " and file_hash = %s and evicted_at_ms is null) as needed",
        version.deployment_id,
        version.file_hash,
    )
    return row is not None and bool(row["needed"])


def removed(tx: Tx, version: int, now_ms: int) -> None:
    """Write that a version's code lies in the store no more, or that another's is kept there."""
    tx.run("update deployment_versions set removed_at_ms = %s where id = %s", now_ms, version)


def _version(row: dict[str, Any] | None) -> StoredVersion:
    assert row is not None
    return StoredVersion(**{**row, "login_hash": bytes(row["login_hash"])})
