"""The calls of the public API about endpoints and worker groups, one function each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mercato.sdk.call import Call, done, many, one, whole
from mercato.sdk.errors import BadQuery

DAY_S: Final = 86_400
LATEST_S: Final = 253_402_300_800.0
"""The year 10000."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A stable address whose workers come and go with its load; names and defaults are the API's.

    Loads are in units a second, times in seconds.
    """

    id: int
    endpoint_name: str = ""
    api_key: str = ""
    """Its clients' key, good for this endpoint only."""
    endpoint_state: str = ""
    policy: str = ""
    min_load: float = 0
    min_cold_load: float = 0
    target_util: float = 0
    cold_mult: float = 0
    cold_workers: int = 0
    max_workers: int = 0
    max_queue_time: float = 0
    target_queue_time: float = 0
    inactivity_timeout: float | None = None
    late_weight: float = 0
    interruptible_share: float = 0
    created_at: float = 0


class WorkerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What some workers of an endpoint run, and on which offers."""

    id: int
    endpoint_id: int = 0
    endpoint_name: str = ""
    template_hash: str = ""
    template_id: int = 0
    search_params: str = ""
    launch_args: str = ""
    gpu_ram: float | None = None
    """Gigabytes."""
    test_workers: int = 0
    version: int = 0
    """Rises when workers must be made anew."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The id of what was made."""

    id: int


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted, and the workers that went with it."""

    deleted_workers: list[int] = []
    msg: str = ""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """An instance that serves an endpoint, as the engine sees it."""

    id: int
    status: str = ""
    workergroup_id: int = 0
    machine_id: int = 0
    gpu_name: str = ""
    cur_load: float = 0
    """Units of work that it has."""
    perf: float = 0
    """Units a second that it does."""
    measured_perf: float = 0
    reqs_working: int = 0
    slots: int = 0
    """Requests that it does at once."""
    started_at: float = 0
    loaded_at: float = 0
    url: str = ""
    error_msg: str = ""
    status_msg: str = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """One decision about an endpoint's workers, and why."""

    at: float
    kind: str
    """`rent`, `wake`, `sleep`, `update` or `destroy`."""
    worker_id: int | None = None
    offer_id: int | None = None
    reason: str = ""
    outcome: str = ""
    """`done`, or why it could not be."""


class Second(msgspec.Struct, frozen=True):
    """What was asked within one second: its time since the epoch, requests, their units."""

    at: int
    requests: int
    units: float


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """How much was asked of an endpoint, and what a worker of its costs in dollars an hour."""

    seconds: list[Second] = []
    """Those with requests, oldest first."""
    gpu_price: float | None = None
    """Awake; None when it has no worker."""
    storage_price: float | None = None

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(one.requests for one in self.seconds)


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers are made anew, or left as they are."""

    workers_to_update: int = 0


def endpoints() -> Call[list[Endpoint]]:
    """The account's endpoints."""
    return Call("GET", "/endptjobs/", many(Endpoint, "results"))


def create_endpoint(name: str, parameters: Mapping[str, Any] | None = None) -> Call[Made]:
    """Make an endpoint; `parameters` as the API names them (min_load, max_workers, ...)."""
    body = {**(parameters or {}), "endpoint_name": name}
    return Call("POST", "/endptjobs/", one(Made), body=body, repeatable=False)


def change_endpoint(endpoint: int, parameters: Mapping[str, Any]) -> Call[None]:
    """Change parameters of an endpoint, its name and state among them."""
    return Call("PUT", f"/endptjobs/{endpoint}/", done, body=dict(parameters))


def delete_endpoint(endpoint: int) -> Call[Deleted]:
    """Delete an endpoint with its worker groups; its workers are destroyed."""
    return Call("DELETE", f"/endptjobs/{endpoint}/", one(Deleted), body={})


def worker_groups() -> Call[list[WorkerGroup]]:
    """The account's worker groups."""
    return Call("GET", "/workergroups/", many(WorkerGroup, "results"))


def create_worker_group(endpoint: int, fields: Mapping[str, Any]) -> Call[Made]:
    """Give an endpoint a worker group; `fields` as the API names them (template_hash, ...)."""
    body = {**fields, "endpoint_id": endpoint}
    return Call("POST", "/workergroups/", one(Made), body=body, repeatable=False)


def change_worker_group(group: int, fields: Mapping[str, Any]) -> Call[None]:
    """Change a worker group; when what its workers run changed, they are made anew one by one."""
    return Call("PUT", f"/workergroups/{group}/", done, body=dict(fields))


def delete_worker_group(group: int) -> Call[Deleted]:
    """Delete a worker group; its workers are destroyed."""
    return Call("DELETE", f"/workergroups/{group}/", one(Deleted), body={})


def renew_workers(group: int, *, cancel: bool = False) -> Call[Renewal]:
    """Make a group's workers anew one after another, or leave the rest as they are."""
    body = {"workergroup_id": group, "cancel_update": cancel}
    # Each call raises the group's version, and an engine keeps no answers to repeat.
    return Call(
        *("POST", "/update_workers/", one(Renewal)),
        body=body,
        repeatable=cancel,
        once=not cancel,
        root=True,
    )


def decisions(
    endpoint: int, *, worker: int | None = None, limit: int | None = None
) -> Call[list[Decided]]:
    """What was decided about an endpoint's workers, or about one of them, the latest first."""
    return Call(
        "GET",
        f"/endptjobs/{endpoint}/decisions/",
        many(Decided, "decisions"),
        query={"worker_id": worker, "limit": limit},
    )


def traffic_of_day(endpoint: int, since: float, until: float) -> Call[Traffic]:
    """How much was asked of an endpoint between two times, a day apart at most."""
    query = {"since": since, "until": until}
    return Call("GET", f"/endptjobs/{endpoint}/traffic/", one(Traffic), query=query)


def joined(days: Sequence[Traffic]) -> Traffic:
    """The traffic of one day after another."""
    return Traffic(
        seconds=[second for day in days for second in day.seconds],
        gpu_price=days[-1].gpu_price if days else None,
        storage_price=days[-1].storage_price if days else None,
    )


def spans(since: float, until: float) -> list[tuple[float, float]]:
    """A span in parts of a day at most, in order; before the epoch there was nothing.

    Raises:
        BadQuery: when it has no beginning or no end.
    """
    if not (math.isfinite(since) and until < LATEST_S):
        raise BadQuery("traffic is asked for between two times", code="invalid_request")
    since = max(since, 0.0)
    parts: list[tuple[float, float]] = []
    while since < until:
        parts.append((since, min(until, since + DAY_S)))
        since = parts[-1][1]
    return parts


def endpoint_workers(endpoint: int) -> Call[list[Worker]]:
    """An endpoint's workers, as its engine sees them now."""
    return Call("POST", "/get_endpoint_workers/", many(Worker), body={"id": endpoint}, root=True)


def endpoint_logs(endpoint: int, *, tail: int | None = None) -> Call[dict[str, str]]:
    """What an endpoint's engine did and saw, by grain, from `info0` (coarse) to `debug`."""
    body = {"id": endpoint} | ({} if tail is None else {"tail": tail})
    return Call("POST", "/get_endpoint_logs/", whole, body=body, root=True)
