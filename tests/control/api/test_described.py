"""The API describes itself: valid OpenAPI 3.1, and a page on which every route can be read."""

import html
import re

import pytest
import schemathesis

from mercato.control.api import documentation, openapi
from mercato.control.api.route import Route
from mercato.control.api.routes import ROUTES
from mercato.market.access import Permission

DOCUMENT = openapi.describe(ROUTES)
PAGE = documentation.page(ROUTES)


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_it_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    ids = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids)) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_every_route_says_who_may_use_it(route: Route) -> None:
    operation = DOCUMENT["paths"][openapi.shown(route.path)][route.method.lower()]
    assert operation["x-permission"] == route.permission.value
    assert (operation["security"] == []) == (route.permission is Permission.PUBLIC)
    assert operation["summary"]
    if route.permission not in {Permission.PUBLIC, Permission.OPERATOR}:
        assert route.permission.value in operation["description"]


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_every_route_can_be_read_on_the_page(route: Route) -> None:
    path = html.escape(openapi.shown(route.path))
    heading = f"<summary><b>{route.method}</b> <code>{path}</code>"
    assert PAGE.count(heading) == 1
    told = PAGE.partition(heading)[2].partition("</details>")[0]
    assert f"({route.permission.value})" in told
    if openapi.is_struct(route.takes):
        for name in route.takes.__struct_encode_fields__:
            assert f"<code>{name}</code>" in told


def test_the_page_needs_nothing_else_and_shows_no_path_of_the_code() -> None:
    assert not re.search(r"<script|<link|<img|https?://", PAGE)
    assert "mercato." not in PAGE
    for group in openapi.groups(ROUTES):
        assert f'<h2 id="{group}">' in PAGE
