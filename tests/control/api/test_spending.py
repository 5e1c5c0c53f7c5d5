"""Spending limits through the API: set, shown, changed, taken away, and not by whom they bind."""

from typing import Any, Final

from mercato.control.clock import SystemClock
from mercato.sdk import Mercato
from mercato.sdk.shapes import Limit
from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served
from tests.control.api.test_quirks import eventually, offers, ok
from tests.control.market import hardware

RENTAL: Final = {"client_id": "me", "image": "debian", "disk": 1}


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


def limited_key(server: Served, dollars: float) -> tuple[str, Limit]:
    """A key of the renter's that may spend so much in all, and its limit."""
    with Mercato(server.url, server.keys["renter"]) as market:
        made = market.create_api_key("limited")
        assert made.key is not None
        return made.key, market.set_limit(dollars, "total", scope="key", scope_id=made.id)


def test_a_key_with_a_limit_cannot_lift_it_nor_go_around_it(server: Served) -> None:
    key, limit = limited_key(server, 1)
    for method, path, body in (
        ("DELETE", f"/api/v0/limits/{limit.id}/", {}),
        ("PUT", f"/api/v0/limits/{limit.id}/", {"amount": 900}),
        ("POST", "/api/v0/limits/", {"amount": 900, "period": "day"}),
        ("POST", "/api/v0/auth/apikeys/", {"name": "without a limit"}),
        ("PUT", "/api/v0/commands/reset_apikey/", {}),
        ("PUT", "/api/v0/commands/transfer_credit/", {"recipient": "other", "amount": 5}),
        ("POST", "/api/v0/team/", {"team_name": "purse", "transfer_credit": 5}),
    ):
        answer = server.call(method, path, key, body)
        assert (answer.status_code, answer.json()["error"]) == (403, "not_authorized")


def test_a_limited_key_makes_nothing_dearer_that_does_not_count_towards_its_limit(
    server: Served,
) -> None:
    key, limit = limited_key(server, 20)
    made = hardware()
    machine = join(server, of=made)
    with ScriptedAgent(server, machine, made).working():
        listing = {"machine": machine.machine, "price_gpu": 0.36, "price_min_bid": 0.1}
        ok(server, "PUT", "/machines/create_asks/", listing, key="host")
        first, second, third, *_ = [row["id"] for row in eventually(lambda: offers(server))]

        def rent(offer: int, by: str, **asked: Any) -> int:
            made = ok(server, "PUT", f"/asks/{offer}/", RENTAL | asked, key=by)
            return int(made["new_contract"])

        theirs = rent(first, "renter", target_state="stopped")
        bid = rent(second, "renter", price=0.3)
        own = rent(third, key, target_state="stopped")
        dearer: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("PUT", f"/instances/{theirs}/", {"state": "running"}),
            ("PUT", f"/instances/recycle/{theirs}/", {}),
            ("PUT", f"/instances/update_template/{theirs}/", {"image": "ubuntu"}),
            ("PUT", f"/instances/prepay/{theirs}/", {"amount": 1}),
            ("PUT", f"/instances/bid_price/{bid}/", {"price": 0.4}),
        )
        for method, path, body in dearer:
            refused = server.call(method, f"/api/v0{path}", key, body)
            assert (refused.status_code, refused.json()["error"]) == (403, "not_authorized"), path
            assert f"spending limit on key {limit.scope_id}" in refused.json()["msg"]
        gone = server.call("PUT", "/api/v0/instances/999/", key, {"state": "running"})
        assert gone.json()["error"] == "no_such_instance"
        ok(server, "PUT", f"/instances/bid_price/{bid}/", {"price": 0.2}, key=key)
        ok(server, "PUT", f"/instances/{own}/", {"state": "running"}, key=key)
        for method, path, body in dearer[:4]:
            ok(server, method, path, body)


def test_a_limited_key_accepts_no_higher_price_for_what_is_not_its_own(server: Served) -> None:
    key, _ = limited_key(server, 20)
    made = hardware()
    machine = join(server, of=made)
    with ScriptedAgent(server, machine, made).working():
        listing = {"machine": machine.machine, "price_gpu": 0.36}
        ends_s = SystemClock().now_ms() / 1_000 + 86_400
        sale = listing | {"end_date": ends_s}
        ok(server, "PUT", "/machines/create_asks/", sale, key="host")
        offer = eventually(lambda: offers(server))[0]["id"]
        ok(server, "PUT", f"/asks/{offer}/", RENTAL)
        dearer = listing | {"price_gpu": 0.72, "end_date": ends_s + 86_400}
        ok(server, "PUT", "/machines/create_asks/", dearer, key="host")
        asked = ok(server, "GET", "/instances/pending-price-increases/")
        [number] = [row["pending_price_increase_id"] for row in asked["pending_price_increases"]]
        which = {"pending_price_increase_id": number}
        path = "/api/v0/instances/accept-price-increase/"
        refused = server.call("PUT", path, key, which)
        assert (refused.status_code, refused.json()["error"]) == (403, "not_authorized")
        ok(server, "PUT", "/instances/reject-price-increase/", which, key=key)
