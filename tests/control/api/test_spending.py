"""Spending limits through the API: set, shown, changed, taken away, and not by whom they bind."""

from mercato.sdk import Mercato
from tests.control.api.serving import Served


def test_limits_are_set_shown_changed_and_taken_away(server: Served) -> None:
    with Mercato(server.url, server.keys["renter"]) as market:
        made = market.set_limit(5, "day")
        assert (made.scope, made.amount, made.remaining) == ("account", 5, 5)
        assert market.set_limit(6, "day").id == made.id
        assert [(one.amount, one.period) for one in market.limits()] == [(6, "day")]
        path = f"/api/v0/limits/{made.id}/"
        changed = server.call("PUT", path, "renter", {"action": "notify"})
        assert changed.json()["limit"]["action"] == "notify"
        assert server.call("PUT", path, "other", {"amount": 1}).status_code == 404
        market.remove_limit(made.id)
        assert market.limits() == []


def test_what_cannot_be_a_limit_is_refused(server: Served) -> None:
    wrong = (
        {"amount": 0, "period": "day"},
        {"amount": 5, "period": "week"},
        {"amount": 5, "period": "day", "scope": "key"},
        {"amount": 5, "period": "day", "scope": "instance", "scope_id": 999},
    )
    for body in wrong:
        answer = server.call("POST", "/api/v0/limits/", "renter", body)
        assert answer.status_code in {400, 404}, answer.text
        assert answer.json()["msg"]


def test_a_key_with_a_limit_cannot_lift_it_nor_go_around_it(server: Served) -> None:
    with Mercato(server.url, server.keys["renter"]) as market:
        key = market.create_api_key("limited")
        assert key.key is not None
        limit = market.set_limit(1, "total", scope="key", scope_id=key.id)
    for method, path, body in (
        ("DELETE", f"/api/v0/limits/{limit.id}/", {}),
        ("PUT", f"/api/v0/limits/{limit.id}/", {"amount": 900}),
        ("POST", "/api/v0/limits/", {"amount": 900, "period": "day"}),
        ("POST", "/api/v0/auth/apikeys/", {"name": "without a limit"}),
        ("PUT", "/api/v0/commands/reset_apikey/", {}),
        ("PUT", "/api/v0/commands/transfer_credit/", {"recipient": "other", "amount": 5}),
        ("POST", "/api/v0/team/", {"team_name": "purse", "transfer_credit": 5}),
    ):
        answer = server.call(method, path, key.key, body)
        assert (answer.status_code, answer.json()["error"]) == (403, "not_authorized")
