"""Payments through Stripe: its published HTTP API, version 2024-06-20, form-encoded.

Checkout sessions take a first payment and keep the card; payment intents charge a kept card while
its owner is away; transfers pay hosts to their connected accounts; refunds give back. Every POST
carries the payment's key as `Idempotency-Key`, so that one whose answer was lost can be repeated.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from mercato.control.payments.provider import (
    Ask,
    Method,
    NoAnswer,
    NotFromProvider,
    Outcome,
)
from mercato.market.payment import CENT, Purpose, State

VERSION: Final = "2024-06-20"
TIMEOUT_S: Final = 20.0
SKEW_MAX_S: Final = 300
"""A notice signed longer ago than this is a replay."""

_INTENT: Final = {
    "succeeded": State.SUCCEEDED,
    "processing": State.WAITING,
    "requires_action": State.FAILED,  # its owner is away
    "requires_payment_method": State.FAILED,
    "canceled": State.FAILED,
}
_REFUND: Final = {"succeeded": State.SUCCEEDED, "pending": State.WAITING, "failed": State.FAILED}


class Stripe:
    """One Stripe account."""

    name = "stripe"

    def __init__(
        self, secret_key: str, webhook_secret: str = "", url: str = "https://api.stripe.com"
    ) -> None:
        """Ask with `secret_key`; believe notices that are signed with `webhook_secret`."""
        self._webhook_secret = webhook_secret
        self._http = httpx2.Client(
            base_url=url,
            timeout=TIMEOUT_S,
            headers={"Authorization": f"Bearer {secret_key}", "Stripe-Version": VERSION},
        )

    def make(self, ask: Ask) -> Outcome:
        """Make a payment, or begin a checkout."""
        match ask.purpose:
            case Purpose.CHECKOUT:
                return self._check_out(ask)
            case Purpose.TOP_UP:
                return self._charge(ask)
            case Purpose.PAYOUT:
                return self._pay_out(ask)
            case Purpose.REFUND:
                return self._refund(ask)

    def look(self, ask: Ask) -> Outcome:
        """What became of it."""
        match ask.purpose:
            case Purpose.CHECKOUT:
                path = f"/v1/checkout/sessions/{ask.reference}"
                query = {"expand[]": "payment_intent.payment_method"}
                return _session(self._get(path, query))
            case Purpose.TOP_UP:
                return _intent(self._get(f"/v1/payment_intents/{ask.reference}"))
            case Purpose.PAYOUT:
                return Outcome(state=State.SUCCEEDED, reference=ask.reference)
            case Purpose.REFUND:
                return _refund(self._get(f"/v1/refunds/{ask.reference}"))

    def noticed(self, body: bytes, signature: str, now_ms: int) -> int | None:
        """The payment that a signed notice is about; what became of it is asked for anew."""
        parts = [part.partition("=") for part in signature.split(",")]
        times = [value for name, _, value in parts if name == "t" and value.isdigit()]
        if not self._webhook_secret or not times:
            raise NotFromProvider("The notice is not signed.")
        signed = f"{times[0]}.".encode() + body
        wanted = hmac.new(self._webhook_secret.encode(), signed, hashlib.sha256).hexdigest()
        given = [value for name, _, value in parts if name == "v1"]
        if not any(hmac.compare_digest(wanted, one) for one in given):
            raise NotFromProvider("The notice's signature is not Stripe's.")
        if abs(now_ms / 1_000 - int(times[0])) > SKEW_MAX_S:
            raise NotFromProvider("The notice is too old.")
        event = json.loads(body)
        named = str(event.get("data", {}).get("object", {}).get("metadata", {}).get("payment", ""))
        return int(named) if named.isdigit() else None

    # --- The four kinds ---------------------------------------------------------------------------

    def _check_out(self, ask: Ask) -> Outcome:
        form = {
            "mode": "payment",
            "success_url": ask.return_url,
            "cancel_url": ask.return_url,
            "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": "usd",
            "line_items[0][price_data][unit_amount]": _cents(ask),
            "line_items[0][price_data][product_data][name]": "Credit",
            "payment_intent_data[setup_future_usage]": "off_session",
        }
        if ask.method.customer:
            form["customer"] = ask.method.customer
        else:
            form |= {"customer_creation": "always", "customer_email": ask.email}
        return _session(self._post("/v1/checkout/sessions", ask, form))

    def _charge(self, ask: Ask) -> Outcome:
        form = {
            "amount": _cents(ask),
            "currency": "usd",
            "customer": ask.method.customer,
            "payment_method": ask.method.card,
            "off_session": "true",
            "confirm": "true",
        }
        return _intent(self._post("/v1/payment_intents", ask, form))

    def _pay_out(self, ask: Ask) -> Outcome:
        form = {"amount": _cents(ask), "currency": "usd", "destination": ask.method.payout_to}
        made = self._post("/v1/transfers", ask, form)
        failure = _failure(made)
        if failure:
            return Outcome(state=State.FAILED, failure=failure)
        return Outcome(state=State.SUCCEEDED, reference=made["id"])

    def _refund(self, ask: Ask) -> Outcome:
        form = {"amount": _cents(ask), "payment_intent": ask.reference}
        return _refund(self._post("/v1/refunds", ask, form))

    # --- HTTP -------------------------------------------------------------------------------------

    def _post(self, path: str, ask: Ask, form: Mapping[str, str]) -> dict[str, Any]:
        named = {**form, "metadata[payment]": str(ask.payment)}
        return self._send("POST", path, data=named, headers={"Idempotency-Key": ask.key})

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        return self._send("GET", path, params=query)

    def _send(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The decoded answer; that of a refusal of this payment too."""
        try:
            answer = self._http.request(method, path, **request)
            said = answer.json()
        except (httpx2.HTTPError, ValueError) as problem:
            raise NoAnswer(f"{type(problem).__name__}: {problem}") from problem
        # 401 and 403 are the operator's trouble, 409 and 429 pass: no payment fails of them.
        # That a key was used for another form does not say what became of that one.
        error = said.get("error") if isinstance(said, dict) else None
        if isinstance(error, dict) and error.get("type") == "idempotency_error":
            raise NoAnswer(str(error.get("message")))
        if answer.status_code in {200, 400, 402, 404} and isinstance(said, dict):
            return said
        raise NoAnswer(f"HTTP {answer.status_code}")


def _cents(ask: Ask) -> str:
    return str(ask.amount // CENT)


def _failure(said: Mapping[str, Any]) -> str:
    error = said.get("error")
    return "" if error is None else str(error.get("message") or error.get("code") or "refused")


def _intent(said: Mapping[str, Any]) -> Outcome:
    failure = _failure(said)
    if failure:
        intent = said["error"].get("payment_intent") or {}
        return Outcome(state=State.FAILED, reference=intent.get("id", ""), failure=failure)
    state = _INTENT.get(said["status"], State.WAITING)
    why = f"The card needs its owner ({said['status']})." if state is State.FAILED else ""
    return Outcome(state=state, reference=said["id"], failure=why)


def _session(said: Mapping[str, Any]) -> Outcome:
    failure = _failure(said)
    if failure:
        return Outcome(state=State.FAILED, failure=failure)
    reference = said["id"]
    if said.get("status") == "expired":
        return Outcome(state=State.FAILED, reference=reference, failure="Nobody paid in time.")
    intent = said.get("payment_intent")
    if said.get("payment_status") != "paid" or not isinstance(intent, dict):
        return Outcome(state=State.WAITING, reference=reference, url=said.get("url") or "")
    card = intent.get("payment_method") or {}
    method = Method(
        customer=said.get("customer") or "",
        card=card.get("id", ""),
        card_label=(card.get("card") or {}).get("last4", ""),
    )
    # A refund takes back the intent, not the session.
    return Outcome(state=State.SUCCEEDED, reference=intent["id"], method=method)


def _refund(said: Mapping[str, Any]) -> Outcome:
    failure = _failure(said)
    if failure:
        return Outcome(state=State.FAILED, failure=failure)
    state = _REFUND.get(said["status"], State.WAITING)
    return Outcome(
        state=state,
        reference=said["id"],
        failure=str(said.get("failure_reason") or "") if state is State.FAILED else "",
    )
