"""Refusals as clients need them: the right status, a code, words, the headers that belong to it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.control.api.serving import Served, served
from tests.control.api.test_endpoints import recruiter
from tests.control.api.test_journey import eventually

# Method, path, body → status, code, words: what the official documentation promises.
REFUSALS: list[tuple[str, str, Any, int, str, str]] = [
    ("GET", "/api/v0/nothing/", None, 404, "not_found", "There is nothing at"),
    ("GET", "/api/v9/users/current", None, 404, "not_found", "/docs"),
    ("DELETE", "/api/v0/users/current", None, 405, "method_not_allowed", "takes GET"),
    ("PATCH", "/api/v0/instances/1/", {}, 405, "method_not_allowed", "not PATCH"),
    ("GET", "/api/v0/instances/abc/", None, 400, "invalid_args", "must be a number"),
    ("GET", f"/api/v0/instances/{'9' * 5_000}/", None, 400, "invalid_args", "must be a number"),
    ("PUT", "/api/v0/instances/1/", {"state": "flying"}, 400, "invalid_args", "state"),
    ("PUT", "/api/v0/instances/1/", {}, 400, "invalid_args", "state: 'running' or 'stopped'"),
    ("PUT", "/api/v0/instances/99/", {"state": "running"}, 404, "no_such_instance", "99"),
    ("PUT", "/api/v0/instances/99/", {"label": "x" * 1_025}, 400, "label_too_long", "1024"),
    ("DELETE", "/api/v0/instances/99/", {}, 404, "no_such_instance", "99"),
    ("PUT", "/api/v0/instances/reboot/99/", {}, 404, "no_such_instance", "99"),
    ("PUT", "/api/v0/instances/request_logs/99/", {}, 404, "no_such_instance", "99"),
    ("PUT", "/api/v0/instances/command/99/", {"command": ""}, 400, "invalid_args", "empty"),
    ("DELETE", "/api/v0/instances/99/ssh/1/", {}, 404, "no_such_instance", "99"),
    ("PUT", "/api/v0/asks/99/", {"image": "x"}, 404, "no_such_ask", "no_such_ask: "),
    ("PUT", "/api/v0/asks/99/", {}, 400, "invalid_args", "image"),
    ("PUT", "/api/v0/asks/99/", {"image": "x", "disk": "big"}, 400, "invalid_args", "disk"),
    ("PUT", "/api/v0/asks/99/", {"image": "x", "price": 1e6}, 400, "invalid_price", "128"),
    ("POST", "/api/v0/asks/bulk/", {"ids": [], "image": "x"}, 400, "invalid_args", "ids"),
    ("PUT", "/api/v0/launch_instance/", {"q": {}, "image": "x"}, 404, "no_such_ask", "No offer"),
    ("POST", "/api/v0/bundles/", {"colour": {"eq": 1}}, 400, "invalid_request", "search key"),
    ("POST", "/api/v0/bundles/", {"num_gpus": {"0": 1}}, 400, "invalid_request", "search op"),
    ("GET", "/api/v1/instances/?limit=26", None, 400, "invalid_args", "from 1 to 25"),
    ("GET", "/api/v1/instances/?after_token=x", None, 400, "invalid_token", "after_token"),
    ("GET", "/api/v0/charges/", None, 400, "invalid_request", '"day"'),
    ("POST", "/api/v0/secrets/", {"key": "A"}, 400, "invalid_args", "value"),
    ("POST", "/api/v0/secrets/", {"key": "", "value": ""}, 400, "empty_input", "name"),
    ("POST", "/api/v0/secrets/", {"key": "A B", "value": ""}, 400, "invalid_characters", "letters"),
    ("POST", "/api/v0/secrets/", {"key": "A", "value": "x" * 40_000}, 400, "input_too_long", ""),
    ("POST", "/api/v0/secrets/", {"key": "ONE", "value": ""}, 400, "existing_key", "ONE"),
    ("PUT", "/api/v0/secrets/", {"key": "NO", "value": ""}, 400, "nonexistent_key", "NO"),
    ("POST", "/api/v0/ssh/", {"ssh_key": "~/.ssh/id.pub"}, 400, "invalid_args", "not the name"),
    ("DELETE", "/api/v0/ssh/99/", {}, 404, "no_such_ssh_key", "99"),
    ("POST", "/api/v0/auth/apikeys/", {"permissions": {}}, 400, "invalid_permissions", "api"),
    ("POST", "/api/v0/users/", {"email": "x", "username": "x"}, 400, "invalid_email", "x"),
    ("POST", "/api/v0/users/", {"email": "host@example.com", "username": "x"}, 409, "user_exists",
     "host@example.com"),
    ("PUT", "/api/v0/commands/transfer_credit/", {"recipient": "host@example.com", "amount": 0},
     400, "invalid_params", "0.01"),
    ("PUT", "/api/v0/commands/transfer_credit/", {"recipient": "no", "amount": 1}, 400,
     "invalid_recipient", "no"),
    ("PUT", "/api/v0/commands/transfer_credit/", {"recipient": "host@example.com", "amount": 1e4},
     400, "insufficient_balance", "100"),
    ("GET", "/api/v0/machines/99/", None, 404, "not_found", "99"),
    ("PUT", "/api/v0/machines/create_asks/", {"machine": 99}, 404, "not_found", "99"),
    ("GET", "/api/v0/admin/accounts/", None, 403, "not_authorized", "operator"),
    ("POST", "/api/v0/tfa/sms/", {}, 400, "not_available", "does not offer"),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(server_of_databases: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        server_of_databases.fresh() as url,
        served(url, tmp_path_factory.mktemp("server")) as running,
    ):
        running.call("POST", "/api/v0/secrets/", "renter", {"key": "ONE", "value": "1"})
        yield running


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "words"),
    REFUSALS,
    ids=lambda value: value[:60] if isinstance(value, str) else None,
)
def test_a_refusal(
    server: Served, method: str, path: str, body: Any, status: int, code: str, words: str
) -> None:
    answer = server.call(method, path, "renter", body)
    told = answer.json()
    assert (answer.status_code, told["error"], told["success"]) == (status, code, False), told
    assert words in told["msg"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


def test_a_method_that_is_not_taken_is_answered_with_those_that_are(server: Served) -> None:
    wrong = server.call("DELETE", "/api/v0/users/current", "renter")
    assert wrong.headers["allow"] == "GET, HEAD, OPTIONS"
    options = server.call("OPTIONS", "/api/v0/instances/1/")
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
    assert server.call("OPTIONS", "/api/v0/nothing").status_code == 404


def test_head_says_what_get_would(server: Served) -> None:
    get = server.call("GET", "/api/v0/users/current", "renter")
    head = server.call("HEAD", "/api/v0/users/current", "renter")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert server.call("HEAD", "/api/v0/users/current").status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not valid JSON"),
        (b'{"a": NaN}', 400, "not valid JSON"),
        (b'{"a": 1e999}', 400, "not valid JSON"),
        (b"[1]", 400, "must be a JSON object"),
        (b'"text"', 400, "must be a JSON object"),
        (b"\xff\xfe", 400, "not valid JSON"),
        (b'{"q": "\xff"}', 400, "not valid JSON"),
        (b'{"a":' * 100_000, 400, "not valid JSON"),
        (b" " * 1_048_577, 413, "larger than 1048576 bytes"),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else None,
)
def test_a_body_that_cannot_be_read(server: Served, body: bytes, status: int, words: str) -> None:
    answer = server.call("POST", "/api/v0/bundles/", "renter", content=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["msg"]


def test_an_empty_body_and_null_are_no_arguments(server: Served) -> None:
    for body in (b"", b"  ", b"null", b"{}"):
        assert server.call("POST", "/api/v0/bundles/", None, content=body).status_code == 200


def test_keys_are_read_from_header_query_and_body(server: Served) -> None:
    key, path = server.keys["renter"], "/api/v0/users/current"
    assert server.call("GET", path, "renter").status_code == 200
    assert server.call("GET", path, params={"api_key": key}).status_code == 200
    assert server.call("GET", path, None, {"api_key": key}).status_code == 200
    for secret in ("nobody-has-this", "\u00fc"):
        wrong = server.call("GET", path, params={"api_key": secret})
        assert (wrong.status_code, wrong.json()["msg"]) == (401, "Invalid user key")
        assert wrong.headers["www-authenticate"] == "Bearer"
    without = server.call("GET", path)
    assert (without.status_code, without.json()["error"]) == (401, "auth_error")
    # A wrong key is said even where none is needed: whoever sends one means to be known.
    assert server.call("POST", "/api/v0/bundles/", "nobody-has-this", {}).status_code == 401


def test_slashes_matter_nowhere(server: Served) -> None:
    for path in ("/api/v0/users/current", "/api/v0/users/current/", "//api//v0/users//current//"):
        answer = server.call("GET", path, "renter", follow_redirects=False)
        assert answer.status_code == 200, path
    put = server.call("PUT", "//api/v0//users", "renter", {"fullname": "R"}, follow_redirects=False)
    assert put.json()["fullname"] == "R"


def test_whoever_asks_too_often_is_told_when_to_come_back(
    database_url: str, tmp_path: Path
) -> None:
    with served(database_url, tmp_path, calls_per_s=0.5, calls_burst=3) as slow:
        path = "/api/v0/users/current"
        assert [slow.call("GET", path, "renter").status_code for _ in range(3)] == [200] * 3
        answer = slow.call("GET", path, "renter")
        assert (answer.status_code, answer.json()["error"]) == (429, "rate_limit_exceeded")
        assert answer.headers["retry-after"] in {"1", "2"}
        assert "try again in" in answer.json()["msg"]
        # Each key and each route counts for itself.
        assert slow.call("GET", path, "host").status_code == 200
        assert slow.call("GET", "/api/v0/ssh/", "renter").status_code == 200


def test_a_database_that_can_only_be_read_is_away_not_a_fault(
    database_url: str, tmp_path: Path
) -> None:
    with served(database_url, tmp_path) as server, psycopg.connect(database_url) as conn:
        conn.autocommit = True
        name = sql.Identifier(conn.info.dbname)
        switch = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        conn.execute(switch.format(name, sql.Literal("on")))
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

        def told() -> tuple[int, str]:
            answer = server.call("POST", "/api/v0/secrets/", "renter", {"key": "A", "value": "1"})
            return answer.status_code, str(answer.json().get("msg"))

        answers = {told() for _ in range(5)}
        assert {status for status, _ in answers} == {503}, answers
        assert all("Try again" in words for _, words in answers)
        with pytest.raises(ConnectionError):
            asyncio.run(recruiter(server).stand("one", ""))
        conn.execute(switch.format(name, sql.Literal("off")))
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        eventually(lambda: told()[0] == 200)
