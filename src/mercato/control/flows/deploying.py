"""Deployments: an account's code, and the endpoint, worker group and template that run it.

All of these are made and ended by the flows that anyone's are (serving.py, templating.py). A
version is all that its workers are made of: code, image, environment, hardware, disk. A new one is
only written down at first: its code has yet to be uploaded, and workers that are recruited in the
meantime run what the others do. Rolling it out gives the group the version's template and has its
workers renewed one after another, each once it has nothing left to do. The template names the code,
so that a worker's own says which version it was made as.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import serving, templating
from mercato.control.flows.house import House
from mercato.control.store import (
    deployments,
    endpoints,
    templates,
    worker_groups,
    workers,
)
from mercato.control.store.deployments import StoredDeployment, StoredVersion, Surroundings
from mercato.control.store.endpoints import StoredEndpoint
from mercato.control.store.worker_groups import StoredGroup
from mercato.market import errors
from mercato.market.ids import AccountId, ContractId, TemplateId
from mercato.market.limits import Scope
from mercato.serverless.endpoint import Endpoint, EndpointState, GroupId

VERSIONS_KEPT: Final = 10
"""Of each deployment: code that lies in the store, what runs and what is newest included."""
TEST_WORKERS: Final = 3
CLIENTS_RETURN_MS: Final = 300_000
"""How long clients may take to be heard again after nobody here could hear them: they speak every
minute, or sooner."""


class Action(StrEnum):
    """What putting a deployment came to; the client acts upon it."""

    CREATED = "created"
    EXISTS = "exists"
    """Its workers run this already, or will."""
    SCALED = "autoscale_update"
    """Only the endpoint's parameters have changed."""
    UPDATED = "soft_update"
    """There is a version to be rolled out once its code is there."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment should be."""

    name: str
    tag: str
    label: str | None
    made_of: Surroundings
    file_size: int
    ttl_ms: int | None
    scaling: dict[str, Any]
    """Parameters of its endpoint that are to be; the others stay, or begin at their defaults."""
    template: dict[str, Any]
    """What its workers run, but for the deployment's id in their environment."""


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a wish."""

    action: Action
    deployment: StoredDeployment
    version: StoredVersion
    """The newest."""
    evicted: tuple[int, ...] = ()
    """Versions whose code is not kept any more."""


def put(
    tx: Tx,
    account: AccountId,
    wish: Wish,
    key: str,
    now_ms: int,
    house: House,
    *,
    scopes: Mapping[Scope, int] = {},
) -> Put:
    """Make a deployment, or make it what it should be now.

    `key` is made by the caller: the endpoint's own, used when it is made. `scopes`: whose limits
    its workers count towards.

    Raises:
        AlreadyExists: when its endpoint's name is taken by another of the account's.
        InvalidRequest: when the name or a parameter cannot be.
        NotPermitted: when it would be changed, and a limit of `scopes` would not be asked.
    """
    tx.queue(f"account:{account}")
    found = deployments.named(tx, account, wish.name, wish.tag)
    endpoint = _served_by(tx, found)
    if found is None or endpoint is None:
        if found is not None:
            _end(tx, found, now_ms)  # its endpoint or its group was deleted under it
        return _create(tx, account, wish, key, now_ms, house, scopes)
    deployments.put(tx, found.id, wish.ttl_ms, now_ms)
    scaled = _scale(tx, endpoint, wish, now_ms)
    newest, evicted = _versioned(tx, found, wish, now_ms)
    action = Action.SCALED if scaled else Action.EXISTS
    if newest.id != found.rolled_version_id or deployments.is_mixed(tx, found.group_id):
        action = Action.UPDATED
    if action is not Action.EXISTS:
        serving.answers_for(tx, scopes, endpoint)
    return Put(
        action=action, deployment=mine(tx, account, found.id), version=newest, evicted=evicted
    )


def _create(
    tx: Tx,
    account: AccountId,
    wish: Wish,
    key: str,
    now_ms: int,
    house: House,
    scopes: Mapping[Scope, int],
) -> Put:
    parameters = _scaled(Endpoint(), wish)
    name = f"{wish.name}:{wish.tag}"
    endpoint = serving.create_endpoint(
        tx, account, name, parameters, key, now_ms, house, scopes=scopes
    )
    made = deployments.create(tx, account, wish.name, wish.tag, endpoint.id, wish.ttl_ms, now_ms)
    version = _write(tx, made, wish, _template(tx, account, made, wish, now_ms), now_ms)
    group = serving.create_group(
        tx,
        StoredGroup(
            id=GroupId(0),
            endpoint_id=endpoint.id,
            account_id=account,
            template_id=version.template_id,
            template_hash=version.template_hash,
            search_params=version.search_params,
            launch_args="",
            gpu_ram_mb=None,
            test_workers=TEST_WORKERS,
            version=1,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        ),
    )
    deployments.complete(tx, made, group.id, version.id)
    return Put(action=Action.CREATED, deployment=mine(tx, account, made), version=version)


def _served_by(tx: Tx, found: StoredDeployment | None) -> StoredEndpoint | None:
    """The endpoint of a deployment; None when it, or the group, is gone."""
    if found is None or worker_groups.get(tx, found.group_id) is None:
        return None
    return endpoints.get(tx, found.endpoint_id)


def _scaled(parameters: Endpoint, wish: Wish) -> Endpoint:
    """Parameters as wished; the most workers win over the least, as in every endpoint."""
    after = msgspec.structs.replace(parameters, **wish.scaling)
    return msgspec.structs.replace(after, workers_min=min(after.workers_min, after.workers_max))


def _scale(tx: Tx, endpoint: StoredEndpoint, wish: Wish, now_ms: int) -> bool:
    parameters = _scaled(endpoint.parameters, wish)
    if parameters == endpoint.parameters:
        return False
    serving.change_endpoint(tx, endpoint.account_id, endpoint.id, endpoint.name, parameters, now_ms)
    return True


def _versioned(
    tx: Tx, found: StoredDeployment, wish: Wish, now_ms: int
) -> tuple[StoredVersion, tuple[int, ...]]:
    """The version that is wished, written if need be; and those that are evicted for it."""
    standing = deployments.standing(tx, found.id)
    newest = standing[0]
    if newest.surroundings == wish.made_of:
        return newest, ()
    running = next(one for one in standing if one.id == found.rolled_version_id)
    if running.surroundings == wish.made_of:
        # Back to what runs: nobody wants any more what was never rolled out.
        unwanted = [one for one in standing if one.id > running.id]
        return running, _evict(tx, unwanted, now_ms)
    newest = _add(tx, found, wish, newest, now_ms)
    old = [one for one in standing[VERSIONS_KEPT - 1 :] if one.id != running.id]
    return newest, _evict(tx, old, now_ms)


def _add(
    tx: Tx, found: StoredDeployment, wish: Wish, before: StoredVersion, now_ms: int
) -> StoredVersion:
    """Write another version; on other hardware it runs under the same template."""
    made_of = msgspec.structs.replace(before.surroundings, search_params=wish.made_of.search_params)
    if made_of == wish.made_of:
        template = (before.template_id, before.template_hash)
    else:
        template = _template(tx, found.account_id, found.id, wish, now_ms)
    return _write(tx, found.id, wish, template, now_ms)


def _template(
    tx: Tx, account: AccountId, deployment: int, wish: Wish, now_ms: int
) -> tuple[TemplateId, str]:
    env = f"{wish.template['env']} -e DEPLOYMENT_ID={deployment}"
    body = {**wish.template, "env": env, "desc": f"Code {wish.made_of.file_hash}"}
    kept = templating.create(tx, account, body, now_ms)
    return kept.id, kept.hash_id


def _write(
    tx: Tx, deployment: int, wish: Wish, template: tuple[TemplateId, str], now_ms: int
) -> StoredVersion:
    version = StoredVersion(
        **msgspec.structs.asdict(wish.made_of),
        id=0,
        deployment_id=deployment,
        label=wish.label,
        file_size=wish.file_size,
        template_id=template[0],
        template_hash=template[1],
        created_at_ms=now_ms,
    )
    return deployments.add_version(tx, version)


def _evict(tx: Tx, old: Sequence[StoredVersion], now_ms: int) -> tuple[int, ...]:
    """Keep the code of these no longer, nor a template that no other has; their ids."""
    for version in old:
        deployments.evict(tx, version.id, now_ms)
        mine = templates.by_id(tx, version.template_id)
        if mine is not None and not deployments.runs_as(tx, mine.id):
            templates.delete(tx, mine.id, now_ms)
    return tuple(version.id for version in old)


def announce(
    tx: Tx, account: AccountId, deployment: int, version: int, file_size: int
) -> StoredVersion:
    """Have a version's code come in another size than was told: packed elsewhere, it may differ.

    Raises:
        NotFound: when the account has no such deployment, or it has no such version any more.
    """
    tx.queue(f"account:{account}")
    standing = deployments.standing(tx, mine(tx, account, deployment).id)
    found = next((one for one in standing if one.id == version), None)
    if found is None:
        raise errors.NotFound(f"Deployment {deployment} was changed meanwhile; deploy again.")
    deployments.announce(tx, found.id, file_size)
    return msgspec.structs.replace(found, file_size=file_size)


def roll_out(
    tx: Tx,
    account: AccountId,
    group: int,
    now_ms: int,
    *,
    there: int | None,
) -> int:
    """Have a group's workers made anew one after another; how many will be.

    They are made anew as the version `there`, whose code was seen in the store, while the
    deployment that they run has it. A newer one may have been put since: it is not looked for.

    Raises:
        NotFound: when the account has no such group.
    """
    tx.queue(f"account:{account}")
    mine = serving.my_group(tx, account, group)
    found = deployments.of_group(tx, mine.id)
    if found is not None:
        for version in deployments.standing(tx, found.id):
            if version.id == there and version.id > found.rolled_version_id:
                _run(tx, mine, version, now_ms)
    return serving.renew_group(tx, account, group, now_ms)


def cancel(tx: Tx, account: AccountId, group: int, now_ms: int) -> int:
    """Leave those workers of a group that were not made anew yet as they are; how many.

    When they run an earlier version of a deployment, that is its version again: what new workers
    run, and what is told.

    Raises:
        NotFound: when the account has no such group.
    """
    tx.queue(f"account:{account}")
    mine = serving.my_group(tx, account, group)
    before = deployments.left_behind(tx, mine.id)
    count = serving.cancel_renewal(tx, account, group, now_ms)
    if before is not None:
        _run(tx, serving.my_group(tx, account, group), before, now_ms)
    return count


def _run(tx: Tx, group: StoredGroup, version: StoredVersion, now_ms: int) -> None:
    """Have a group's workers be of a version from now on."""
    deployments.rolled(tx, version.deployment_id, version.id, now_ms)
    after = msgspec.structs.replace(
        group,
        template_id=version.template_id,
        template_hash=version.template_hash,
        search_params=version.search_params,
        updated_at_ms=now_ms,
    )
    worker_groups.change(tx, after)


def to_roll_out(tx: Tx, group: int) -> StoredVersion | None:
    """The version that a group's workers are still to be given; None when there is none."""
    found = deployments.of_group(tx, group)
    if found is None:
        return None
    newest = deployments.standing(tx, found.id)[0]
    return newest if newest.id != found.rolled_version_id else None


def running(
    tx: Tx, account: AccountId, worker: ContractId | None, deployment: int
) -> StoredVersion:
    """The version that workers fetch; a `worker` only that of its own deployment.

    Raises:
        NotFound: when the account has none such, or the worker does not run it.
    """
    found = mine(tx, account, deployment)
    if worker is not None:
        known = workers.get(tx, worker)
        if known is None or known.group_id != found.group_id:
            raise errors.NotFound(f"Instance {worker} is no worker of deployment {deployment}.")
    return next(
        one for one in deployments.versions(tx, found.id) if one.id == found.rolled_version_id
    )


def beat(tx: Tx, account: AccountId, deployment: int, now_ms: int) -> None:
    """Hear that a deployment is still wanted.

    Raises:
        NotFound: when the account has none such.
    """
    deployments.seen(tx, mine(tx, account, deployment).id, now_ms)


def set_state(
    tx: Tx,
    account: AccountId,
    deployment: int,
    state: EndpointState,
    now_ms: int,
    *,
    scopes: Mapping[Scope, int] = {},
) -> None:
    """Start or stop a deployment's endpoint.

    Raises:
        NotFound: when the account has no such deployment, or its endpoint is gone.
        NotPermitted: when it is to start, and a limit of `scopes` would not be asked.
    """
    found = mine(tx, account, deployment)
    endpoint = serving.my_endpoint(tx, account, found.endpoint_id)
    if state is EndpointState.ACTIVE:
        serving.answers_for(tx, scopes, endpoint)
    parameters = msgspec.structs.replace(endpoint.parameters, state=state)
    serving.change_endpoint(tx, account, endpoint.id, endpoint.name, parameters, now_ms)
    deployments.seen(tx, found.id, now_ms)


def delete(tx: Tx, account: AccountId, deployment: int, now_ms: int) -> list[ContractId]:
    """End a deployment with its endpoint and its templates; the workers that are destroyed.

    Raises:
        NotFound: when the account has none such.
    """
    return _end(tx, mine(tx, account, deployment), now_ms)


def delete_named(tx: Tx, account: AccountId, name: str, tag: str | None, now_ms: int) -> int:
    """End every deployment of a name, or the one of a tag; how many.

    Raises:
        NotFound: when there is none.
    """
    found = [
        one
        for one in deployments.of_account(tx, account)
        if one.name == name and tag in {None, one.tag}
    ]
    if not found:
        raise errors.NotFound(
            f"You have no deployment {name!r}{f' tagged {tag!r}' if tag else ''}."
        )
    for one in found:
        _end(tx, one, now_ms)
    return len(found)


def expire(tx: Tx, deployment: int, now_ms: int, listening_since_ms: int) -> int:
    """End a deployment that was not heard of for its time to live; 1, or 0 when it was.

    Whoever could not be heard while nobody listened has time to be heard again.
    """
    found = deployments.get(tx, deployment)
    if found is None or found.ttl_ms is None or found.seen_at_ms + found.ttl_ms >= now_ms:
        return 0
    if listening_since_ms + min(found.ttl_ms, CLIENTS_RETURN_MS) >= now_ms:
        return 0
    _end(tx, found, now_ms)
    return 1


def mine(tx: Tx, account: AccountId, deployment: int) -> StoredDeployment:
    """An account's deployment.

    Raises:
        NotFound: when it has none such.
    """
    found = deployments.get(tx, deployment)
    if found is None or found.account_id != account:
        raise errors.NotFound(f"You have no deployment {deployment}.")
    return found


def _end(tx: Tx, found: StoredDeployment, now_ms: int) -> list[ContractId]:
    tx.queue(f"account:{found.account_id}")
    ended: list[ContractId] = []
    if endpoints.get(tx, found.endpoint_id) is not None:
        ended = serving.delete_endpoint(tx, found.account_id, found.endpoint_id, now_ms)
    for template in sorted({one.template_id for one in deployments.versions(tx, found.id)}):
        if templates.by_id(tx, template) is not None:
            templates.delete(tx, template, now_ms)
    deployments.delete(tx, found.id, now_ms)
    return ended
