"""Serverless endpoints and worker groups, in the API's own names."""

from typing import Any, Final

import msgspec

from mercato.catalog.language import parse, parse_text, written
from mercato.control.api.auth import new_secret
from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.caller import Caller
from mercato.control.api.launch_args import parse_launch_args, worker_launch, worker_query
from mercato.control.api.offer_fields import OFFERS
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import serving, templating
from mercato.control.flows.house import House
from mercato.control.store import endpoints as stored
from mercato.control.store import worker_groups
from mercato.control.store.endpoints import StoredEndpoint
from mercato.control.store.templates import StoredTemplate
from mercato.control.store.worker_groups import StoredGroup
from mercato.market import errors
from mercato.market.ids import AccountId
from mercato.serverless.endpoint import Endpoint, EndpointId, EndpointState, GroupId, Policy
from mercato.wire.naming import PARAMETERS

TEST_WORKERS_DEFAULT: Final = 3
TEXT_MAX: Final = 16_384


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of an endpoint; null leaves one at its default or as it is."""

    min_load: float | None = None
    """Units a second that are always expected."""
    min_cold_load: float | None = None
    target_util: float | None = None
    cold_mult: float | None = None
    cold_workers: int | None = None
    max_workers: int | None = None
    max_queue_time: float | None = None
    target_queue_time: float | None = None
    inactivity_timeout: float | None = None
    policy: Policy | None = None
    late_weight: float | None = None
    interruptible_share: float | None = None


class Scaling(Parameters, frozen=True, kw_only=True):
    """An endpoint's name, parameters and state."""

    endpoint_name: str | None = None
    endpoint_state: EndpointState | None = None


class ScalingOf(Scaling, frozen=True, kw_only=True):
    """Other parameters for one endpoint."""

    id: int


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint."""

    id: int
    endpoint_name: str
    api_key: str
    """Its clients' key, good for this endpoint only."""
    user_id: int
    created_at: float
    min_load: float
    min_cold_load: float
    target_util: float
    cold_mult: float
    cold_workers: int
    max_workers: int
    max_queue_time: float
    target_queue_time: float
    inactivity_timeout: float | None
    endpoint_state: str
    policy: str
    late_weight: float
    interruptible_share: float


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """The account's endpoints."""

    success: bool = True
    results: list[EndpointRow]


class OneEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    success: bool = True
    result: EndpointRow


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """It was made; clients read its id under either name."""

    success: bool = True
    id: int
    result: int


class ByEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint by its id."""

    id: int


def _row(endpoint: StoredEndpoint, house: House) -> EndpointRow:
    ours = msgspec.structs.asdict(endpoint.parameters)
    shown: dict[str, Any] = {wire: ours[name] for wire, name in PARAMETERS.items()}
    return EndpointRow(
        id=endpoint.id,
        endpoint_name=endpoint.name,
        api_key=house.box.open(endpoint.sealed_key),
        user_id=endpoint.account_id,
        created_at=seconds(endpoint.created_at_ms),
        **shown,
    )


def changes_of(asked: Parameters) -> dict[str, Any]:
    """The parameters that are asked for, by our own names."""
    given = {name: getattr(asked, wire, None) for wire, name in PARAMETERS.items()}
    return {name: value for name, value in given.items() if value is not None}


def _over(parameters: Endpoint, asked: Scaling) -> Endpoint:
    return msgspec.structs.replace(parameters, **changes_of(asked))


async def list_endpoints(call: Call, asked: Nothing) -> Endpoints:  # noqa: ARG001 - nothing is asked
    """List the account's endpoints."""
    found = await call.services.db.run(stored.of_account, call.account)
    return Endpoints(results=[_row(one, call.services.house) for one in found])


async def show_endpoint(call: Call, asked: ByEndpoint) -> OneEndpoint:
    """Show one endpoint."""
    found = await call.services.db.run(serving.my_endpoint, call.account, asked.id)
    return OneEndpoint(result=_row(found, call.services.house))


async def create_endpoint(call: Call, asked: Scaling) -> Made:
    """Make an endpoint; it has workers once it has a worker group."""
    made = await call.services.db.run(
        serving.create_endpoint,
        call.account,
        asked.endpoint_name or f"endpoint-{call.request_id[:8]}",
        _over(Endpoint(), asked),
        new_secret(),
        call.now_ms,
        call.services.house,
        scopes=call.who.scopes,
    )
    return Made(id=made.id, result=made.id)


async def change_endpoint(call: Call, asked: ScalingOf) -> Done:
    """Change parameters of an endpoint, its state among them."""
    await call.services.db.run(_change, call.who, asked, call.now_ms)
    return Done(msg=f"Endpoint {asked.id} is changed.")


def _change(tx: Tx, who: Caller, asked: ScalingOf, now_ms: int) -> None:
    mine = serving.my_endpoint(tx, who.account, asked.id)
    name, after = asked.endpoint_name or mine.name, _over(mine.parameters, asked)
    if after.state is EndpointState.ACTIVE or after != msgspec.structs.replace(
        mine.parameters, state=after.state
    ):
        serving.answers_for(tx, who.scopes, mine)  # who does no more than stop it, spends nothing
    serving.change_endpoint(tx, who.account, mine.id, name, after, now_ms)


class DeletedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that is no more."""

    success: bool = True
    deleted_workers: list[int]
    failed_workers: list[int] = []
    msg: str


async def delete_endpoint(call: Call, asked: ByEndpoint) -> DeletedEndpoint:
    """Delete an endpoint with its worker groups; its workers are destroyed."""
    ended = await call.services.db.run(serving.delete_endpoint, call.account, asked.id, call.now_ms)
    return DeletedEndpoint(
        deleted_workers=list(ended),
        msg=f"Endpoint {asked.id} is deleted and {len(ended)} worker(s) with it.",
    )


# --- Worker groups --------------------------------------------------------------------------------


class GroupAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A worker group: what its workers run and on which offers."""

    endpoint_id: int | None = None
    endpoint_name: str | None = None
    template_hash: str | None = None
    template_id: int | None = None
    search_params: str | dict[str, Any] | list[Any] | None = None
    """A query in the text language, or as clients parse it."""
    launch_args: str | None = None
    """`--disk GB`, `--env "…"`, `--onstart-cmd "…"`: over those of the template."""
    gpu_ram: float | None = None
    """Gigabytes of video memory that the model needs."""
    test_workers: int | None = None


class GroupOf(GroupAsked, frozen=True, kw_only=True):
    """Changes of one group; null leaves a field as it is."""

    id: int


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """One worker group."""

    id: int
    endpoint_id: int
    endpoint_name: str
    user_id: int
    template_hash: str
    template_id: int
    search_params: str
    search_query: dict[str, Any]
    launch_args: str
    gpu_ram: float | None
    test_workers: int
    version: int
    """Rises when workers must be made anew."""
    created_at: float


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """The account's worker groups."""

    success: bool = True
    results: list[GroupRow]


class ByGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A worker group by its id."""

    id: int


async def list_groups(call: Call, asked: Nothing) -> Groups:  # noqa: ARG001 - nothing is asked
    """List the account's worker groups."""
    return Groups(results=await call.services.db.run(_groups, call.account))


def _groups(tx: Tx, account: AccountId) -> list[GroupRow]:
    names = {one.id: one.name for one in stored.of_account(tx, account)}
    return [
        GroupRow(
            id=one.id,
            endpoint_id=one.endpoint_id,
            endpoint_name=names.get(one.endpoint_id, ""),
            user_id=one.account_id,
            template_hash=one.template_hash,
            template_id=one.template_id,
            search_params=one.search_params,
            search_query=parse_text(one.search_params, OFFERS),
            launch_args=one.launch_args,
            gpu_ram=None if one.gpu_ram_mb is None else one.gpu_ram_mb / 1_000,
            test_workers=one.test_workers,
            version=one.version,
            created_at=seconds(one.created_at_ms),
        )
        for one in worker_groups.of_account(tx, account)
    ]


async def create_group(call: Call, asked: GroupAsked) -> Made:
    """Give an endpoint a worker group."""
    _refuse_login(call)
    made = await call.services.db.run(
        _create_group, call.who, asked, call.now_ms, call.services.house
    )
    return Made(id=made.id, result=made.id)


def _create_group(tx: Tx, who: Caller, asked: GroupAsked, now_ms: int, house: House) -> StoredGroup:
    template = templating.find(tx, who.account, asked.template_id, asked.template_hash)
    group = StoredGroup(
        id=GroupId(0),
        endpoint_id=_endpoint_of(tx, who, asked),
        account_id=who.account,
        template_id=template.id,
        template_hash=template.hash_id,
        search_params=search_text(asked.search_params or ""),
        launch_args=_checked_text(asked.launch_args or "", "launch_args"),
        gpu_ram_mb=None if asked.gpu_ram is None else _megabytes(asked.gpu_ram),
        test_workers=_test_workers(asked.test_workers),
        version=1,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )
    _check_workers(group, template, house)
    return serving.create_group(tx, group)


def _refuse_login(call: Call) -> None:
    """A group has no login of its own; without it the workers could not pull their image."""
    if call.arguments.get("docker_login_user") or call.arguments.get("docker_login_pass"):
        raise errors.InvalidRequest(
            "A worker group keeps no registry login (docker_login_…): put it into its template"
            " (create template --login), where it is kept sealed."
        )


def _check_workers(group: StoredGroup, template: StoredTemplate, house: House) -> None:
    """Refuse now what would be refused whenever a worker is wanted."""
    args = parse_launch_args(group.launch_args)
    worker_launch(args, template, house.box)
    parse(worker_query(group, args, template), OFFERS)


def _endpoint_of(tx: Tx, who: Caller, asked: GroupAsked) -> EndpointId:
    """The endpoint that is named, where the caller may have workers rented."""
    if asked.endpoint_id is not None:
        found = serving.my_endpoint(tx, who.account, asked.endpoint_id)
    else:
        found = _endpoint_named(tx, who.account, asked.endpoint_name)
    serving.answers_for(tx, who.scopes, found)
    return found.id


def _endpoint_named(tx: Tx, account: AccountId, name: str | None) -> StoredEndpoint:
    for one in stored.of_account(tx, account):
        if one.name == name:
            return one
    raise errors.NotFound(
        f"You have no endpoint {name!r}; name one with endpoint_name or endpoint_id."
    )


def _megabytes(gigabytes: float) -> int:
    if not 0 <= gigabytes <= 1_000_000:
        raise errors.InvalidRequest("gpu_ram is a number of gigabytes.")
    return round(gigabytes * 1_000)


def _test_workers(given: int | None) -> int:
    if given is None:
        return TEST_WORKERS_DEFAULT
    if not 0 <= given <= 100:
        raise errors.InvalidRequest("test_workers is from 0 to 100.")
    return given


def _checked_text(text: str, what: str) -> str:
    if len(text) > TEXT_MAX:
        raise errors.TooLong(f"{what} has at most {TEXT_MAX} characters.")
    return text


def search_text(given: str | dict[str, Any] | list[Any]) -> str:
    """A query in the text language, whatever form it came in.

    Raises:
        InvalidQuery: when it names no known field, operator or value.
    """
    if isinstance(given, list):
        text = " ".join(str(part) for part in given)
    elif isinstance(given, dict):
        text = written(given, OFFERS)
    else:
        text = given
    parse(parse_text(_checked_text(text, "search_params"), OFFERS), OFFERS)
    return text


async def change_group(call: Call, asked: GroupOf) -> Done:
    """Change a worker group; when what its workers run changed, they are updated one by one."""
    _refuse_login(call)
    await call.services.db.run(_change_group, call.who, asked, call.now_ms, call.services.house)
    return Done(msg=f"Worker group {asked.id} is changed.")


def _change_group(tx: Tx, who: Caller, asked: GroupOf, now_ms: int, house: House) -> None:
    mine = serving.my_group(tx, who.account, asked.id)
    serving.answers_for(tx, who.scopes, serving.my_endpoint(tx, who.account, mine.endpoint_id))
    changes: dict[str, Any] = {}
    template = None
    if asked.template_hash or asked.template_id is not None:
        template = templating.find(tx, who.account, asked.template_id, asked.template_hash)
        changes |= {"template_id": template.id, "template_hash": template.hash_id}
    if asked.endpoint_id is not None or asked.endpoint_name:
        changes["endpoint_id"] = _endpoint_of(tx, who, asked)
    if asked.search_params is not None:
        changes["search_params"] = search_text(asked.search_params)
    if asked.launch_args is not None:
        changes["launch_args"] = _checked_text(asked.launch_args, "launch_args")
    if asked.gpu_ram is not None:
        changes["gpu_ram_mb"] = _megabytes(asked.gpu_ram)
    if asked.test_workers is not None:
        changes["test_workers"] = _test_workers(asked.test_workers)
    after = msgspec.structs.replace(mine, **changes)
    if changes.keys() & {"template_hash", "launch_args", "search_params"}:
        _check_workers(after, template or templating.of_group(tx, mine), house)
    serving.change_group(tx, after, now_ms)


async def delete_group(call: Call, asked: ByGroup) -> DeletedEndpoint:
    """Delete a worker group; its workers are destroyed."""
    ended = await call.services.db.run(serving.delete_group, call.account, asked.id, call.now_ms)
    return DeletedEndpoint(
        deleted_workers=list(ended),
        msg=f"Worker group {asked.id} is deleted and {len(ended)} worker(s) are destroyed.",
    )
