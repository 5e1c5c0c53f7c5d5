"""Every route has a permission; every refusal has a status."""

import msgspec

from mercato.control.api import errors as api_errors
from mercato.control.api import openapi
from mercato.control.api.route import Route
from mercato.control.api.routes import ROUTES
from mercato.market import errors
from mercato.market.access import Permission
from tests.control.api.serving import Served


def refusals(kind: type[errors.Refusal]) -> set[type[errors.Refusal]]:
    return {kind}.union(*(refusals(below) for below in kind.__subclasses__()))


def test_every_refusal_of_the_market_has_a_status_of_its_own() -> None:
    named = {one for one in refusals(errors.Refusal) if one.__module__ == errors.__name__}
    assert named <= set(api_errors.STATUS)
    assert all(400 <= api_errors.status_of(one("why")) < 500 for one in named)


def test_every_route_refuses_whoever_has_no_key(server: Served) -> None:
    for route in ROUTES:
        if route.permission is Permission.PUBLIC:
            continue
        path = route.path
        for name in ("{id}", "{key_id}", "{name}"):
            path = path.replace(name, "1")
        for shown in (path, f"{path}/", path.replace("/api/", "//api//")):
            answer = server.call(route.method, shown)
            assert answer.status_code == 401, (route.method, shown, answer.text)
            assert isinstance(answer.json()["msg"], str)
            assert answer.headers["content-type"] == "application/json"


def needs_more(route: Route) -> bool:
    """Whether it must be told something beside its path."""
    fields = msgspec.structs.fields(route.takes) if openapi.is_struct(route.takes) else ()
    return route.path == "/api/v0/charges" or any(field.required for field in fields)


def test_every_list_that_can_be_read_answers(server: Served) -> None:
    for route in ROUTES:
        if route.method == "GET" and "{" not in route.path and not needs_more(route):
            key = "operator" if route.permission is Permission.OPERATOR else "renter"
            needed = {"gpu_name": "RTX 4090", "price": 1, "hours": 1}
            answer = server.call("GET", route.path, key, params=needed)
            refused = route.handle.__name__ == "refuse"
            assert answer.status_code == (400 if refused else 200), (route.path, answer.text)


def test_paths_and_methods_that_are_not_there_are_said_in_json(server: Served) -> None:
    nothing = server.call("GET", "/api/v0/nothing/")
    assert (nothing.status_code, nothing.json()["error"]) == (404, "not_found")
    wrong = server.call("DELETE", "/api/v0/users/current")
    assert (wrong.status_code, wrong.json()["error"]) == (405, "method_not_allowed")
    broken = server.call("POST", "/api/v0/bundles/", content=b"{")
    assert (broken.status_code, broken.json()["error"]) == (400, "invalid_args")
    huge = server.call("POST", "/api/v0/bundles/", content=b" " * 3_000_000)
    assert huge.status_code == 413


def test_a_wrong_key_is_told_so_that_the_official_client_understands(server: Served) -> None:
    answer = server.call("GET", "/api/v0/users/current", "nobody-has-this")
    assert (answer.status_code, answer.json()["msg"]) == (401, "Invalid user key")
    in_query = server.call(
        "GET", "/api/v0/users/current", params={"api_key": server.keys["renter"]}
    )
    assert in_query.json()["credit"] == 100.0
