"""Lists and objects in one another, far too deep, are refused; nothing is done for them."""

import base64
from typing import Any

import pytest

from tests.control.api.serving import Served


def raw(server: Served, method: str, path: str, body: str) -> tuple[int, Any]:
    """What the server makes of a body as it is written."""
    headers = {"Authorization": f"Bearer {server.keys['renter']}"}
    answer = server.client.request(method, server.url + path, content=body, headers=headers)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("depth", [150, 400, 600, 971, 5_000])
def test_no_body_is_too_deep_to_be_refused(server: Served, depth: int) -> None:
    lists, objects = "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth
    for method, path, body in (
        ("POST", "/api/v0/bundles/", f'{{"extra_ids":{lists}}}'),
        ("PUT", "/api/v0/users/", f'{{"wise_email":{lists}}}'),
        ("POST", "/api/v0/template/", f'{{"name":"a","image":"b","volume_info":{objects}}}'),
        ("POST", "/api/v0/auth/apikeys/", f'{{"name":"deep","more":{objects}}}'),
    ):
        status, told = raw(server, method, path, body)
        assert (status, told["error"]) == (400, "invalid_args"), (path, told)
    keys = server.call("GET", "/api/v0/auth/apikeys/", "renter").json()["apikeys"]
    assert [one["name"] for one in keys] == ["test"]
    found = server.call("GET", "/api/v0/template/", "renter").json()["templates"]
    assert found == []


def test_no_text_that_holds_json_is_too_deep_to_be_refused(server: Served) -> None:
    token = base64.urlsafe_b64encode(b"[" * 3_000).decode()
    page = server.call("GET", "/api/v1/instances/", "renter", params={"after_token": token})
    assert (page.status_code, page.json()["error"]) == (400, "invalid_token")
    body = {"name": "a", "image": "b", "extra_filters": "[" * 5_000}
    template = server.call("POST", "/api/v0/template/", "renter", body)
    assert (template.status_code, template.json()["error"]) == (400, "invalid_args")
    for order in ('[["id",[]]]', '[{"col":"id","dir":{}}]'):
        ordered = server.call("GET", "/api/v1/instances/", "renter", params={"order_by": order})
        assert (ordered.status_code, ordered.json()["success"]) == (400, False)
