"""Deployments of serverless code (`@remote`), in the API's own names."""

import asyncio
import hashlib
import hmac
import re
from typing import Any, Final

import msgspec

from mercato.control.api import bootstrapping
from mercato.control.api.auth import new_secret
from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.endpoints import Parameters, changes_of, search_text
from mercato.control.api.templates import TemplateBody, body_of
from mercato.control.api.times import seconds
from mercato.control.blobs.blobs import Form
from mercato.control.db import Tx
from mercato.control.flows import deploying
from mercato.control.flows.deploying import Wish
from mercato.control.store import deployments as stored
from mercato.control.store import endpoints, workers
from mercato.control.store.deployments import StoredDeployment, StoredVersion, Surroundings
from mercato.market import errors
from mercato.market.access import Permission
from mercato.market.ids import AccountId
from mercato.serverless.endpoint import EndpointState

STORAGE_GB_DEFAULT: Final = 50.0
STORAGE_GB_MAX: Final = 100_000.0
NAME_MAX: Final = 64
TAG_MAX: Final = 32
LABEL_MAX: Final = 256
TTL_S_MAX: Final = 10 * 365 * 86_400.0

_HASH: Final = re.compile(r"[0-9a-f]{64}")


class DeploymentAsked(Parameters, frozen=True, kw_only=True):
    """A deployment as it should be; parameters of its endpoint that are null stay as they are."""

    name: str
    image: str
    file_hash: str
    """SHA-256 of the code, as its deployer tells it, in hexadecimal digits."""
    file_size: int
    """Bytes of the archive with the code."""
    env: str | None = None
    """Docker flags: `-e NAME=VALUE -p 3000:3000`."""
    tag: str = "default"
    """Tells deployments of one name apart."""
    search_params: str | dict[str, Any] | list[Any] | None = None
    storage: float | None = None
    """Gigabytes of disk for each worker."""
    ttl: float | None = None
    """It ends by itself so many seconds after it was heard of last; null: never."""
    version_label: str | None = None
    docker_login_user: str | None = None
    docker_login_pass: str | None = None
    docker_login_repo: str | None = None


class DeploymentPut(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it."""

    success: bool = True
    action: str
    """`created`, `exists`, `autoscale_update`, or `soft_update`: upload, then update workers."""
    deployment_id: int
    endpoint_id: int
    workergroup_id: int
    upload_url: str | None
    """Where to POST the code, with every field first and then `file`; null when it is there."""
    upload_fields: dict[str, str] | None
    evicted_versions: list[int]


class DeploymentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment."""

    id: int
    name: str
    tag: str
    image: str
    endpoint_id: int
    endpoint_state: str | None
    """Null when its endpoint was deleted; deploying it again makes another."""
    workergroup_id: int
    worker_count: int
    file_hash: str
    s3_key: str
    """The name of the code in the store of uploads."""
    current_version_id: int
    """What its workers run, or will as they are updated."""
    last_healthy_version_id: int | None = None
    storage: float
    ttl: float | None
    created_at: float
    updated_at: float
    env: str
    search_params: str
    last_client_heartbeat: float


class Deployments(msgspec.Struct, frozen=True, kw_only=True):
    """The account's deployments."""

    success: bool = True
    deployments: list[DeploymentRow]


class OneDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    success: bool = True
    deployment: DeploymentRow


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a deployment."""

    id: int
    version_label: str | None
    file_hash: str
    file_size: int
    image: str
    env: str
    search_params: str
    storage: float
    s3_key: str
    created_at: float
    is_current: bool
    is_evicted: bool
    """Its code is not kept any more."""


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's versions, newest first."""

    success: bool = True
    versions: list[VersionRow]


class ByDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment by its id."""

    id: int


class ByName(msgspec.Struct, frozen=True, kw_only=True):
    """Deployments by their name, and their tag unless all are meant."""

    name: str
    tag: str | None = None


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many it concerned."""

    success: bool = True
    count: int
    msg: str


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """The state that its endpoint has now."""

    success: bool = True
    endpoint_state: str
    msg: str


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """Where the code can be fetched for a while."""

    success: bool = True
    download_url: str


async def put_deployment(call: Call, asked: DeploymentAsked) -> DeploymentPut:
    """Make a deployment, or make it what it should be; says whether code is to be uploaded."""
    if not call.who.may(Permission.MISC):
        # Said before anything is made or uploaded, and not when the client goes on from there.
        raise errors.NotPermitted(
            "To deploy needs the permission 'misc' beside 'instance_write', for its endpoint and"
            " for updating its workers; this API key, or your role in this team, lacks it."
        )
    done = await call.services.db.run(
        deploying.put,
        call.account,
        _wish(call, asked),
        new_secret(),
        call.now_ms,
        call.services.house,
        scopes=call.who.scopes,
    )
    form = await _form(call, done.version, asked.file_size)
    return DeploymentPut(
        action=done.action.value,
        deployment_id=done.deployment.id,
        endpoint_id=done.deployment.endpoint_id,
        workergroup_id=done.deployment.group_id,
        upload_url=form.url if form else None,
        upload_fields=form.fields if form else None,
        evicted_versions=list(done.evicted),
    )


async def _form(call: Call, version: StoredVersion, file_size: int) -> Form | None:
    """How to bring a version's code in an archive of this size; None when it is there."""
    blobs = call.services.blobs
    if await asyncio.to_thread(blobs.has, version.blob, call.now_ms):
        return None
    if version.file_size != file_size:
        version = await call.services.db.run(
            deploying.announce, call.account, version.deployment_id, version.id, file_size
        )
    return blobs.form(version.blob, version.file_size, call.reached, call.now_ms)


def _wish(call: Call, asked: DeploymentAsked) -> Wish:
    _check(asked, call.services.upload_bytes_max)
    storage = STORAGE_GB_DEFAULT if asked.storage is None else asked.storage
    env = asked.env or ""
    login = "\0".join(
        (
            asked.docker_login_user or "",
            asked.docker_login_pass or "",
            asked.docker_login_repo or "",
        )
    )
    key = call.services.house.box.derived("mercato registry logins")
    return Wish(
        name=asked.name,
        tag=asked.tag,
        label=asked.version_label,
        made_of=Surroundings(
            file_hash=asked.file_hash,
            image=asked.image.strip(),
            env=env,
            search_params=search_text(asked.search_params or ""),
            storage_mb=round(storage * 1_000),
            login_hash=hmac.digest(key, login.encode(), hashlib.sha256),
        ),
        file_size=asked.file_size,
        ttl_ms=None if asked.ttl is None else round(asked.ttl * 1_000),
        scaling=changes_of(asked),
        template=body_of(
            call,
            TemplateBody(
                name=f"{asked.name}:{asked.tag}",
                image=asked.image.strip(),
                env=f"{env} -e IS_DEPLOYMENT=true".strip(),
                onstart=bootstrapping.ONSTART,
                runtype="ssh",
                docker_login_user=asked.docker_login_user,
                docker_login_pass=asked.docker_login_pass,
                docker_login_repo=asked.docker_login_repo,
                recommended_disk_space=storage,
            ),
        ),
    )


def _check(asked: DeploymentAsked, bytes_max: int) -> None:
    for what, text, length in (("name", asked.name, NAME_MAX), ("tag", asked.tag, TAG_MAX)):
        if not text.strip() or len(text) > length or not text.isprintable() or "/" in text:
            raise errors.InvalidRequest(
                f"A deployment's {what} has 1 to {length} printable characters and no slash."
            )
    if asked.version_label is not None and len(asked.version_label) > LABEL_MAX:
        raise errors.TooLong(f"version_label has at most {LABEL_MAX} characters.")
    if not _HASH.fullmatch(asked.file_hash):
        raise errors.InvalidRequest("file_hash is a SHA-256 in 64 hexadecimal digits.")
    if not 0 < asked.file_size <= bytes_max:
        raise errors.InvalidRequest(f"file_size is from 1 to {bytes_max} bytes here.")
    if asked.storage is not None and not 0.001 <= asked.storage <= STORAGE_GB_MAX:
        raise errors.InvalidRequest(f"storage is at most {STORAGE_GB_MAX:.0f} GB and above 0.")
    if asked.ttl is not None and not 0.001 <= asked.ttl <= TTL_S_MAX:
        raise errors.InvalidRequest("ttl is a number of seconds above 0, at most ten years.")


async def list_deployments(call: Call, asked: Nothing) -> Deployments:  # noqa: ARG001 - nothing is asked
    """List the account's deployments."""
    return Deployments(deployments=await call.services.db.run(_rows, call.account))


async def show_deployment(call: Call, asked: ByDeployment) -> OneDeployment:
    """Show one deployment."""
    return OneDeployment(deployment=await call.services.db.run(_shown, call.account, asked.id))


def _rows(tx: Tx, account: AccountId) -> list[DeploymentRow]:
    return [_row(tx, one) for one in stored.of_account(tx, account)]


def _shown(tx: Tx, account: AccountId, deployment: int) -> DeploymentRow:
    return _row(tx, deploying.mine(tx, account, deployment))


def _row(tx: Tx, one: StoredDeployment) -> DeploymentRow:
    endpoint = endpoints.get(tx, one.endpoint_id)
    version = next(v for v in stored.versions(tx, one.id) if v.id == one.rolled_version_id)
    return DeploymentRow(
        id=one.id,
        name=one.name,
        tag=one.tag,
        image=version.image,
        endpoint_id=one.endpoint_id,
        endpoint_state=endpoint.parameters.state.value if endpoint else None,
        workergroup_id=one.group_id,
        worker_count=len(workers.of_group(tx, one.group_id)),
        file_hash=version.file_hash,
        s3_key=version.blob,
        current_version_id=version.id,
        storage=version.storage_mb / 1_000,
        ttl=None if one.ttl_ms is None else one.ttl_ms / 1_000,
        created_at=seconds(one.created_at_ms),
        updated_at=seconds(one.updated_at_ms),
        env=version.env,
        search_params=version.search_params,
        last_client_heartbeat=seconds(one.seen_at_ms),
    )


async def list_versions(call: Call, asked: ByDeployment) -> Versions:
    """List a deployment's versions, newest first."""
    return Versions(versions=await call.services.db.run(_versions, call.account, asked.id))


def _versions(tx: Tx, account: AccountId, deployment: int) -> list[VersionRow]:
    mine = deploying.mine(tx, account, deployment)
    return [
        VersionRow(
            id=one.id,
            version_label=one.label,
            file_hash=one.file_hash,
            file_size=one.file_size,
            image=one.image,
            env=one.env,
            search_params=one.search_params,
            storage=one.storage_mb / 1_000,
            s3_key=one.blob,
            created_at=seconds(one.created_at_ms),
            is_current=one.id == mine.rolled_version_id,
            is_evicted=one.evicted_at_ms is not None,
        )
        for one in stored.versions(tx, mine.id)
    ]


async def delete_deployment(call: Call, asked: ByDeployment) -> Counted:
    """Delete a deployment with its endpoint; its workers are destroyed."""
    ended = await call.services.db.run(deploying.delete, call.account, asked.id, call.now_ms)
    said = f"Deployment {asked.id} is deleted and {len(ended)} worker(s) with it."
    return Counted(count=1, msg=said)


async def delete_deployments(call: Call, asked: ByName) -> Counted:
    """Delete deployments by name: of all tags, or of one."""
    count = await call.services.db.run(
        deploying.delete_named, call.account, asked.name, asked.tag, call.now_ms
    )
    return Counted(count=count, msg=f"{count} deployment(s) named {asked.name!r} are deleted.")


async def start_deployment(call: Call, asked: ByDeployment) -> Stated:
    """Have a deployment's endpoint scaled and served again."""
    return await _set(call, asked.id, EndpointState.ACTIVE)


async def stop_deployment(call: Call, asked: ByDeployment) -> Stated:
    """Put a deployment's workers to sleep; nothing is deleted."""
    return await _set(call, asked.id, EndpointState.STOPPED)


async def _set(call: Call, deployment: int, state: EndpointState) -> Stated:
    await call.services.db.run(
        deploying.set_state,
        call.account,
        deployment,
        state,
        call.now_ms,
        scopes=call.who.scopes,
    )
    return Stated(endpoint_state=state.value, msg=f"Deployment {deployment} is {state.value}.")


async def beat(call: Call, asked: ByDeployment) -> Done:
    """Say that a deployment with a time to live is still wanted."""
    await call.services.db.run(deploying.beat, call.account, asked.id, call.now_ms)
    return Done()


async def download_url(call: Call, asked: ByDeployment) -> Download:
    """Tell where a deployment's code is; the key of one of its workers will do."""
    version = await call.services.db.run(
        deploying.running, call.account, call.who.contract, asked.id
    )
    blobs = call.services.blobs
    if not await asyncio.to_thread(blobs.has, version.blob, call.now_ms):
        raise errors.Conflict(f"The code of deployment {asked.id} was not uploaded yet.")
    return Download(download_url=blobs.link(version.blob, call.reached, call.now_ms))
