"""A permission file written for the official service means the same here; keys reach no further."""

import dataclasses
from typing import Any

import httpx2
import pytest

from mercato.control.api.auth import authorize
from mercato.control.api.caller import Caller
from mercato.control.api.paths import Paths
from mercato.control.api.route import Route
from mercato.control.api.routes import ROUTES, SCOPED
from mercato.market import errors
from mercato.market.access import GRANTABLE, SCOPES, Permission
from mercato.market.ids import AccountId, ApiKeyId, ContractId
from tests.control.api.serving import Served

P = Permission
PATHS = Paths(ROUTES)

# The official service's categories and what belongs to each.
OFFICIAL = {
    P.INSTANCE_READ: """
        GET v1/instances, GET instances/filters, GET instances/1, GET instances/balance/1,
        PUT instances/request_logs/1, GET instances/pending-price-increases, GET volumes,
        GET commands/schedule_job, GET machines/maintenances, GET deployments, GET deployment/1,
        GET deployment/1/versions, GET deployment/1/download_url, GET instances/1/ssh
    """,
    P.INSTANCE_WRITE: """
        PUT instances/1, PUT instances, DELETE instances/1, DELETE instances, PUT asks/1,
        POST asks/bulk, PUT instances/reboot/1, PUT instances/recycle/1, PUT instances/prepay/1,
        PUT instances/bid_price/1, PUT instances/command/1, PUT instances/update_template/1,
        POST instances/take_snapshot/1, PUT instances/accept-price-increase,
        PUT instances/reject-price-increase, POST commands/schedule_job,
        PUT commands/schedule_job/1, DELETE commands/schedule_job/1, POST instances/1/ssh,
        DELETE instances/1/ssh/1, PUT volumes, POST volumes, DELETE volumes, POST volumes/copy,
        PUT network_volumes, POST network_volumes, PUT commands/copy_direct,
        DELETE commands/copy_direct, PUT commands/rsync, POST commands/rclone,
        DELETE commands/rclone, PUT deployments, DELETE deployments, DELETE deployment/1,
        POST deployment/1/start, POST deployment/1/stop, POST deployment/1/heartbeat
    """,
    P.USER_READ: """
        GET users/current, GET subaccounts, GET users/me/ipaddrs, GET users/cloud_integrations,
        GET secrets, GET tfa/status, GET ssh, GET auth/apikeys, GET auth/apikeys/1, GET template,
        GET clusters, GET overlay
    """,
    P.USER_WRITE: """
        PUT users, POST users, POST secrets, PUT secrets, DELETE secrets, POST tfa, DELETE tfa,
        POST tfa/confirm-new, POST tfa/sms, POST tfa/sms/resend, POST tfa/email,
        POST tfa/totp-setup, PUT tfa/update, POST tfa/authorize-new-method,
        PUT tfa/authorize-new-method, PUT tfa/regen-backup-codes, POST team, DELETE team, POST ssh,
        PUT ssh/1, DELETE ssh/1, POST auth/apikeys, DELETE auth/apikeys/1,
        PUT commands/reset_apikey, POST template, PUT v1/template, DELETE template, POST cluster,
        PUT cluster, DELETE cluster, DELETE cluster/remove_machine, POST overlay, PUT overlay,
        DELETE overlay
    """,
    P.BILLING_READ: """
        GET users/me/invoices, GET charges, GET v1/invoices, GET invoices,
        GET users/me/machine-earnings
    """,
    P.BILLING_WRITE: "PUT commands/transfer_credit",
    P.MACHINE_READ: """
        GET network_disk, GET machines, GET machines/1, GET machines/1/reports,
        GET metrics/gpu/current, GET metrics/gpu/history, GET metrics/gpu/locations
    """,
    P.MACHINE_WRITE: """
        POST volumes/unlist, POST network_volumes/unlist, POST network_disk,
        PUT machines/create_asks, DELETE machines/1/asks, PUT machines/create_bids,
        DELETE machines/1/defjob, PUT machines/1/minbid, PUT machines/1/dnotify,
        PUT machines/1/cancel_maint, PUT machines/1/cleanup, PUT machines/defrag_offers,
        POST machines/1/force_delete
    """,
    P.TEAM_READ: "GET team/members, GET team/roles/one, GET team/roles-full",
    P.TEAM_WRITE: """
        POST team/invite, DELETE team/members/1, POST team/roles, DELETE team/roles/one,
        PUT team/roles/1
    """,
    P.MISC: """
        GET audit_logs, GET benchmarks, GET endptjobs, POST endptjobs, GET endptjobs/1,
        PUT endptjobs/1, DELETE endptjobs/1,
        GET autojobs, POST autojobs, PUT autojobs/1, DELETE autojobs/1, GET workergroups,
        POST workergroups, DELETE workergroups/1
    """,
    # Whatever is on sale may be searched by everybody.
    P.PUBLIC: """
        GET gpu_names/unique, GET gpu_types, POST bundles, PUT search/asks, POST volumes/search
    """,
}
CALLS = [
    (call.strip(), permission)
    for permission, calls in OFFICIAL.items()
    for call in calls.split(",")
]


@pytest.mark.parametrize(("call", "permission"), CALLS, ids=str)
def test_a_call_needs_the_official_category(call: str, permission: Permission) -> None:
    method, _, path = call.partition(" ")
    version = "" if path.startswith("v1/") else "v0/"
    methods, _ = PATHS.find(f"/api/{version}{path}")
    assert methods is not None
    assert methods[method].permission is permission


def test_renting_by_a_query_needs_what_renting_needs() -> None:
    """The official service lets any key do it; here a key that may not rent may not do so."""
    methods, _ = PATHS.find("/api/v0/launch_instance")
    assert methods is not None
    assert methods["PUT"].permission is P.INSTANCE_WRITE


def test_every_name_is_of_a_route_in_its_category() -> None:
    named = {route.scope: route.permission for route in ROUTES if route.scope is not None}
    assert named == SCOPES
    assert len([route for route in ROUTES if route.scope is not None]) == len(SCOPED)


def caller(kind: str = "account", *categories: Permission, full: bool = False) -> Caller:
    return Caller(
        account=AccountId(1),
        key=ApiKeyId(1),
        kind=kind,
        is_operator=True,
        is_host=True,
        permissions=None if full else {one.value: {} for one in categories},
        contract=ContractId(7) if kind == "instance" else None,
    )


def may(route: Route, who: Caller | None, **arguments: object) -> bool:
    try:
        authorize(route, who, arguments)
    except (errors.NotPermitted, errors.NotAuthenticated):
        return False
    return True


GUARDED = [route for route in ROUTES if route.permission is not P.PUBLIC]


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
def test_a_key_reaches_what_it_was_given_and_no_further(route: Route) -> None:
    assert not may(route, None)
    assert may(route, caller(full=True))
    assert not may(route, caller("machine", full=True), id=7)
    grantable = route.permission in GRANTABLE
    needed = {route.permission} & GRANTABLE
    assert may(route, caller("account", *needed)) == (grantable or route.permission is P.ANYONE)
    assert not may(route, caller("account", *(GRANTABLE - needed))) or (
        route.permission is P.ANYONE
    )
    assert may(route, caller("instance"), id=7) == (route.own_instance or route.own_worker)
    assert may(route, caller("instance"), id=8) == route.own_worker


def test_an_instance_may_show_start_stop_label_destroy_and_read_itself() -> None:
    own = {f"{route.method} {route.path}" for route in ROUTES if route.own_instance}
    assert own == {
        "GET /api/v0/instances/{id}",
        "PUT /api/v0/instances/{id}",
        "DELETE /api/v0/instances/{id}",
        "PUT /api/v0/instances/request_logs/{id}",
    }
    workers = {f"{route.method} {route.path}" for route in ROUTES if route.own_worker}
    assert workers == {"GET /api/v0/deployment/{id}/download_url"}


ONE_MAY: dict[str, dict[str, Any]] = {
    "instance_read": {"api.instance.request_logs": {"constraints": {"id": {"eq": 1}}}},
    "instance_write": {"api.instance.reboot": {}},
}
"""What the official documentation shows, and one more."""
ONE_NAMES = frozenset(name for rules in ONE_MAY.values() for name in rules)


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
def test_a_key_for_single_routes_reaches_those_and_no_others(route: Route) -> None:
    who = dataclasses.replace(caller(), permissions=ONE_MAY)
    role = dataclasses.replace(caller(full=True), role=ONE_MAY)
    free = route.permission is P.ANYONE
    assert may(route, who, id=1) == (free or route.scope in ONE_NAMES)
    assert may(route, who, id=2) == (free or route.scope == "api.instance.reboot")
    assert may(route, who) == (free or route.scope == "api.instance.reboot")
    if route.permission is not P.OPERATOR:
        assert may(route, role, id=1) == may(route, who, id=1)


def made(server: Served, permissions: dict[str, Any]) -> httpx2.Response:
    body = {"name": "one", "permissions": {"api": permissions}}
    return server.call("POST", "/api/v0/auth/apikeys/", "renter", body)


def test_a_key_for_single_routes_does_those_alone(server: Served) -> None:
    key = made(server, ONE_MAY).json()["key"]
    for method, path, status in (
        ("PUT", "instances/request_logs/1", 404),
        ("PUT", "instances/request_logs/2", 403),
        ("PUT", "instances/reboot/2", 404),
        ("GET", "instances/1", 403),
        ("DELETE", "instances/1", 403),
        ("DELETE", "deployment/1", 403),
        ("GET", "deployment/1/download_url", 403),
    ):
        answer = server.call(method, f"/api/v0/{path}/", key, {} if method == "PUT" else None)
        assert answer.status_code == status, (path, answer.text)


@pytest.mark.parametrize(
    ("permissions", "says"),
    [
        ({"instance_read": {"api.instance.logs": {}}}, "api.instance.request_logs"),
        ({"instance_read": {"api.instance.reboot": {}}}, "api.instance.show"),
        ({"misc": {"api.endpoint.show": {}}}, "there are: none"),
        ({"instance_write": {"api.instance.reboot": {"params": {}}}}, "takes constraints"),
    ],
    ids=str,
)
def test_a_route_that_nobody_knows_is_refused(
    server: Served, permissions: dict[str, Any], says: str
) -> None:
    answer = made(server, permissions)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_permissions")
    assert says in answer.json()["msg"]


def test_a_stored_rule_with_an_unknown_name_gives_nothing() -> None:
    kept: dict[str, Any] = {"instance_write": {"api.whatever": {}, "": {}}}
    who = dataclasses.replace(caller(), permissions=kept)
    assert not any(may(r, who, id=1) for r in ROUTES if r.permission is P.INSTANCE_WRITE)
