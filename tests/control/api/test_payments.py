"""Payments through the API: a market that takes money by hand, and one with a Stripe account."""

from pathlib import Path

from mercato.control.clock import SystemClock
from tests.control.api.serving import Served, served
from tests.control.api.test_journey import eventually
from tests.control.payments.fake_stripe import SECRET, WEBHOOK_SECRET, stripe_at_work


def test_by_hand_the_operator_says_that_the_money_came(server: Served) -> None:
    begun = server.call("POST", "/api/v0/payments/", "renter", {"amount": 30})
    assert begun.status_code == 200, begun.text
    payment = begun.json()["payment"]
    assert (payment["state"], begun.json()["url"]) == ("waiting", None)
    path = f"/api/v0/admin/payments/{payment['id']}/"
    assert server.call("PUT", path, "renter", {"succeeded": True}).status_code == 403
    waiting = server.call("GET", "/api/v0/admin/payments/", "operator").json()["payments"]
    assert [one["id"] for one in waiting] == [payment["id"]]
    assert server.call("PUT", path, "operator", {"succeeded": True}).json()["state"] == "succeeded"
    assert server.call("PUT", path, "operator", {"succeeded": True}).status_code == 409
    assert server.call("GET", "/api/v0/users/current", "renter").json()["credit"] == 130
    little = server.call("POST", "/api/v0/payments/", "renter", {"amount": 1})
    assert (little.status_code, little.json()["error"]) == (400, "invalid_price")


def test_a_person_pays_through_stripe_and_tops_up_from_then_on(
    database_url: str, tmp_path: Path
) -> None:
    with (
        stripe_at_work() as stripe,
        served(
            database_url,
            tmp_path,
            stripe_key=SECRET,
            stripe_webhook_secret=WEBHOOK_SECRET,
            stripe_url=stripe.url,
        ) as server,
    ):
        once = {"Idempotency-Key": "pay-once"}
        body = {"amount": 30, "return_url": "http://market/paid"}
        first, again = (
            server.call("POST", "/api/v0/payments/", "renter", body, headers=once) for _ in range(2)
        )
        assert first.json() == again.json()
        assert first.json()["url"].startswith(stripe.url)
        [session] = stripe.of("checkout.session")
        stripe.pay(session["id"])
        path = "/api/v0/payments/notices/stripe"
        forged = server.call("POST", path, None, {"data": {}})
        assert forged.status_code == 400
        notice, signature = stripe.notice(session["id"], SystemClock().now_ms() // 1_000)
        told = server.call("POST", path, content=notice, headers={"Stripe-Signature": signature})
        assert told.status_code == 200, told.text

        def user() -> dict[str, object]:
            found: dict[str, object] = server.call("GET", "/api/v0/users/current", "renter").json()
            return found

        eventually(lambda: user()["credit"] == 130)
        assert (user()["has_billing"], user()["last4"]) == (True, "4242")
        wish = {"autobill_threshold": 20, "autobill_amount": 2}
        assert server.call("PUT", "/api/v0/users/", "renter", wish).status_code == 400
        wish["autobill_amount"] = 25
        assert server.call("PUT", "/api/v0/users/", "renter", wish).status_code == 200
        invoices = server.call("GET", "/api/v1/invoices/", "renter").json()["results"]
        assert [one["metadata"]["service"] for one in invoices] == ["credit", "stripe_payments"]


def test_where_earnings_go_is_kept_and_not_shown(server: Served) -> None:
    answer = server.call("PUT", "/api/v0/payments/payout/", "host", {"payout_to": "DE00 1234"})
    assert answer.status_code == 200, answer.text
    shown = server.call("GET", "/api/v0/payments/", "host")
    assert shown.json()["payout_to"] is True
    assert "DE00" not in shown.text
    none = server.call("POST", "/api/v0/payments/earnings/", "host", {"amount": 1})
    assert (none.status_code, none.json()["error"]) == (400, "insufficient_credit")
