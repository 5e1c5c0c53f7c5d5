"""Serverless endpoints and their workers, as the market sees them.

An endpoint is its owner's wish; its workers are ordinary contracts of its owner, rented, started,
stopped and destroyed by the flows that anyone's are (renting.py). What is decided about them is the
engine's business (serverless/); here it is carried out and written down.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import limiting, renting
from mercato.control.flows.house import House
from mercato.control.flows.renting import Minted, RentRequest, Signed
from mercato.control.store import (
    deployments,
    endpoints,
    instances,
    templates,
    worker_groups,
    workers,
)
from mercato.control.store.endpoints import StoredEndpoint
from mercato.control.store.worker_groups import StoredGroup
from mercato.control.store.workers import StoredWorker
from mercato.market import errors
from mercato.market.ids import AccountId, ContractId, OfferId
from mercato.market.instance import Reason
from mercato.market.launch import Launch
from mercato.market.limits import Scope
from mercato.serverless.endpoint import Endpoint, EndpointState, GroupId
from mercato.wire.naming import out_of_bounds

NAME_MAX: Final = 100
TOPIC: Final = "serverless"
"""Poked whenever an endpoint, a group or the set of workers changed."""


# --- Endpoints ------------------------------------------------------------------------------------


def create_endpoint(  # noqa: PLR0913 - an endpoint has these parts, each named
    tx: Tx,
    account: AccountId,
    name: str,
    parameters: Endpoint,
    key: str,
    now_ms: int,
    house: House,
    *,
    scopes: Mapping[Scope, int] = {},
) -> StoredEndpoint:
    """Make an endpoint; it has no workers before it has a group.

    `key` is made by the caller: its clients' own, good for this endpoint only. `scopes`: whose
    limits its workers count towards.

    Raises:
        AlreadyExists: when the account has one of that name.
        InvalidRequest: when the name or a parameter cannot be.
    """
    parameters = _checked(name, parameters)
    made = endpoints.create(
        tx,
        account,
        name,
        parameters,
        key=key,
        sealed_key=house.box.seal(key),
        scopes=scopes,
        now_ms=now_ms,
    )
    if made is None:
        raise errors.AlreadyExists(f"You have an endpoint {name!r} already; take another name.")
    tx.poke(TOPIC)
    return made


def change_endpoint(
    tx: Tx, account: AccountId, endpoint: int, name: str, parameters: Endpoint, now_ms: int
) -> None:
    """Give an endpoint other parameters.

    Raises:
        NotFound: when the account has none such.
        AlreadyExists: when another has that name.
        InvalidRequest: when the name or a parameter cannot be.
    """
    parameters = _checked(name, parameters)
    mine = my_endpoint(tx, account, endpoint)
    if any(one.name == name and one.id != mine.id for one in endpoints.of_account(tx, account)):
        raise errors.AlreadyExists(f"You have an endpoint {name!r} already; take another name.")
    endpoints.change(tx, mine.id, name, parameters, now_ms)
    tx.poke(TOPIC)


def delete_endpoint(tx: Tx, account: AccountId, endpoint: int, now_ms: int) -> list[ContractId]:
    """End an endpoint, its groups and its workers; the workers that are destroyed.

    Raises:
        NotFound: when the account has none such.
    """
    mine = my_endpoint(tx, account, endpoint)
    ended: list[ContractId] = []
    for group in worker_groups.of_endpoint(tx, mine.id):
        ended += _end_group(tx, group, now_ms)
    endpoints.delete(tx, mine.id, now_ms)
    tx.poke(TOPIC)
    return ended


def my_endpoint(tx: Tx, account: AccountId, endpoint: int) -> StoredEndpoint:
    """An account's endpoint.

    Raises:
        NotFound: when it has none such.
    """
    found = endpoints.get(tx, endpoint)
    if found is None or found.account_id != account:
        raise errors.NotFound(f"You have no endpoint {endpoint}.")
    return found


def answers_for(tx: Tx, scopes: Mapping[Scope, int], endpoint: StoredEndpoint) -> None:
    """See that what an endpoint's workers cost counts towards every limit that a caller is under.

    `scopes`: on whose behalf the caller acts.

    Raises:
        NotPermitted: when a limit that stops them would not be asked.
    """
    limit = limiting.not_counted(tx, endpoint.account_id, scopes, endpoint.scopes)
    if limit is not None:
        raise errors.NotPermitted(
            f"There is a spending limit on {limit.scope.value} {limit.scope_id}, and the workers of"
            f" endpoint {endpoint.id} do not count towards it, as another made it: make one of your"
            " own (deploy under another name or tag), or have it done by who is not limited."
        )


def _checked(name: str, endpoint: Endpoint) -> Endpoint:
    """Parameters that can be; the most workers win over the least."""
    if not name or len(name) > NAME_MAX or not name.isprintable() or "/" in name:
        raise errors.InvalidRequest(
            f"An endpoint's name has 1 to {NAME_MAX} printable characters and no slash."
        )
    wrong = out_of_bounds(endpoint)
    if wrong is not None:
        raise errors.InvalidRequest(wrong)
    return endpoint.fitting()


# --- Groups ---------------------------------------------------------------------------------------


def create_group(tx: Tx, group: StoredGroup) -> StoredGroup:
    """Give an endpoint workers of a template on hardware that a query finds.

    Raises:
        NotFound: when the account has no such endpoint.
    """
    my_endpoint(tx, group.account_id, group.endpoint_id)
    made = worker_groups.create(tx, group)
    tx.poke(TOPIC)
    return made


def change_group(tx: Tx, wanted: StoredGroup, now_ms: int) -> StoredGroup:
    """Write a group anew; its workers are updated one after another when what they run changed.

    Raises:
        NotFound: when the account has no such group, or not the endpoint that it is to serve.
        Conflict: when a deployment's would serve another endpoint.
    """
    before = my_group(tx, wanted.account_id, wanted.id)
    my_endpoint(tx, wanted.account_id, wanted.endpoint_id)
    if wanted.endpoint_id != before.endpoint_id and deployments.of_group(tx, before.id) is not None:
        raise errors.Conflict(
            f"Worker group {before.id} runs a deployment, which ends with endpoint"
            f" {before.endpoint_id}: it serves no other."
        )
    runs = (before.template_hash, before.launch_args)
    version = before.version + (runs != (wanted.template_hash, wanted.launch_args))
    after = msgspec.structs.replace(wanted, version=version, updated_at_ms=now_ms)
    worker_groups.change(tx, after)
    tx.poke(TOPIC)
    return after


def delete_group(tx: Tx, account: AccountId, group: int, now_ms: int) -> list[ContractId]:
    """End a group and its workers; the workers that are destroyed.

    Raises:
        NotFound: when the account has none such.
    """
    ended = _end_group(tx, my_group(tx, account, group), now_ms)
    tx.poke(TOPIC)
    return ended


def renew_group(tx: Tx, account: AccountId, group: int, now_ms: int) -> int:
    """Have a group's workers made anew, one after another; how many will be.

    They run the account's own template as it is now, and somebody else's as the group took it.

    Raises:
        NotFound: when the account has none such.
    """
    mine = my_group(tx, account, group)
    template = templates.by_id(tx, mine.template_id)
    if template is not None and template.creator_id == account:
        mine = msgspec.structs.replace(mine, template_hash=template.hash_id)
    worker_groups.change(
        tx, msgspec.structs.replace(mine, version=mine.version + 1, updated_at_ms=now_ms)
    )
    tx.poke(TOPIC)
    return len(workers.of_group(tx, mine.id))


def cancel_renewal(tx: Tx, account: AccountId, group: int, now_ms: int) -> int:
    """Leave those workers that were not made anew yet as they are; how many."""
    mine = my_group(tx, account, group)
    old = [worker for worker in workers.of_group(tx, mine.id) if worker.version < mine.version]
    for worker in old:
        tx.run("update workers set version = %s where id = %s", mine.version, worker.id)
    worker_groups.change(tx, msgspec.structs.replace(mine, updated_at_ms=now_ms))
    tx.poke(TOPIC)
    return len(old)


def my_group(tx: Tx, account: AccountId, group: int) -> StoredGroup:
    """An account's worker group.

    Raises:
        NotFound: when it has none such.
    """
    found = worker_groups.get(tx, group)
    if found is None or found.account_id != account:
        raise errors.NotFound(f"You have no worker group {group}.")
    return found


def _end_group(tx: Tx, group: StoredGroup, now_ms: int) -> list[ContractId]:
    ended = workers.of_group(tx, group.id)
    for worker in ended:
        renting.destroy(tx, group.account_id, worker.id, now_ms, Reason.USER)
    worker_groups.delete(tx, group.id, now_ms)
    return [worker.id for worker in ended]


# --- Workers --------------------------------------------------------------------------------------


class Recruit(msgspec.Struct, frozen=True, kw_only=True):
    """A worker to be rented: where, as what, and why."""

    group: GroupId
    offer: OfferId
    request: RentRequest
    token: str
    """By which its reports are known; it finds it in its environment as MASTER_TOKEN."""
    reason: str


def recruit(tx: Tx, wanted: Recruit, minted: Minted, now_ms: int, house: House) -> Signed:
    """Rent a worker for its endpoint's owner, as anyone rents.

    Raises:
        NotFound: when the group is gone.
        Conflict: when its endpoint has as many workers as it may have, or is not active.
        NoSuchOffer, OfferTaken, InsufficientCredit, …: as renting.rent does.
    """
    group = worker_groups.get(tx, wanted.group)
    if group is None:
        raise errors.NotFound(f"There is no worker group {wanted.group} any more.")
    endpoint = _with_room(tx, group)
    request = msgspec.structs.replace(wanted.request, bills_loading=True, scopes=endpoint.scopes)
    signed = renting.rent(tx, group.account_id, wanted.offer, request, now_ms, minted, house=house)
    workers.create(
        tx, signed.contract.id, group.id, group.version, wanted.token, wanted.reason, now_ms
    )
    tx.poke(TOPIC)
    return signed


def _with_room(tx: Tx, group: StoredGroup) -> StoredEndpoint:
    """A group's endpoint, which may have one more worker; whoever recruits for it waits in turn.

    The engine counts as well, but two of them may, while an endpoint moves from one to the other.
    """
    tx.queue(f"endpoint:{group.endpoint_id}")
    endpoint = _active(tx, group)
    there, most = workers.count(tx, endpoint.id), endpoint.parameters.workers_max
    if there >= most:
        raise errors.Conflict(
            f"Endpoint {endpoint.id} has {there} worker(s) and may have {most}: release one, or "
            "raise its max_workers."
        )
    return endpoint


def _active(tx: Tx, of: StoredGroup | StoredWorker) -> StoredEndpoint:
    """The endpoint of a group or worker; who suspended or stopped it gets none that runs."""
    endpoint = my_endpoint(tx, of.account_id, of.endpoint_id)
    state = endpoint.parameters.state
    if state is not EndpointState.ACTIVE:
        raise errors.Conflict(
            f"Endpoint {endpoint.id} is {state.value}: no worker of it is rented or woken."
        )
    return endpoint


def wake(tx: Tx, worker: ContractId, now_ms: int, house: House) -> None:
    """Start a worker that sleeps.

    Raises:
        NotFound: when it is gone.
        Conflict: when its endpoint is not active.
        InsufficientCredit, …: as renting.start does.
    """
    mine = _worker(tx, worker)
    _active(tx, mine)
    renting.start(tx, mine.account_id, worker, now_ms, house.rules, Reason.ENDPOINT)
    tx.poke(TOPIC)


def put_to_sleep(tx: Tx, worker: ContractId, now_ms: int) -> None:
    """Stop a worker; its disk, with the model on it, stays."""
    renting.stop(tx, _worker(tx, worker).account_id, worker, now_ms, Reason.ENDPOINT)
    tx.poke(TOPIC)


def reboot(tx: Tx, worker: ContractId, now_ms: int, house: House) -> None:
    """Restart a worker that fails, or start it again when it ended by itself."""
    mine = _worker(tx, worker)
    instance = instances.get(tx, worker)
    if instance is not None and instance.reason in {Reason.EXITED, Reason.FAILED}:
        renting.start(tx, mine.account_id, worker, now_ms, house.rules, Reason.ENDPOINT)
    else:
        renting.reboot(tx, mine.account_id, worker, now_ms)
    tx.poke(TOPIC)


def renew(
    tx: Tx, worker: ContractId, launch: Launch, token: str, now_ms: int, house: House
) -> None:
    """Make a worker anew for the present version of its group."""
    mine = _worker(tx, worker)
    group = worker_groups.get(tx, mine.group_id)
    if group is None:
        raise errors.NotFound(f"There is no worker group {mine.group_id} any more.")
    renting.update(
        tx,
        mine.account_id,
        worker,
        launch,
        (group.template_id, group.template_hash),
        now_ms,
        house=house,
    )
    workers.renewed(tx, worker, group.version, token)
    tx.poke(TOPIC)


def release(tx: Tx, worker: ContractId, now_ms: int) -> None:
    """Give a worker back for good."""
    renting.destroy(tx, _worker(tx, worker).account_id, worker, now_ms, Reason.ENDPOINT)
    tx.poke(TOPIC)


def _worker(tx: Tx, worker: ContractId) -> StoredWorker:
    found = workers.get(tx, worker)
    if found is None:
        raise errors.NotFound(f"There is no worker {worker} any more.")
    return found
