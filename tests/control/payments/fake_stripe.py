"""A small Stripe on loopback: the part of its published API that we use, with its manners.

A POST repeated under its `Idempotency-Key` answers what it answered before; under the same key with
other parameters it is refused. It can lose answers, be busy, and decline cards on request.
"""

import contextlib
import hashlib
import hmac
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

SECRET = "sk_test_secret"
WEBHOOK_SECRET = "whsec_test"
DECLINED = "pm_declined"

Answer = tuple[int, dict[str, Any]]


@dataclass
class FakeStripe:
    """What it knows, and how it misbehaves next."""

    url: str = ""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    replies: dict[str, tuple[dict[str, str], Answer]] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    """What befalls the next requests: `lost` (done, answer lost), `busy` (429), `down` (500)."""
    asked: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Every object of a kind, in order."""
        return [one for one in self.objects.values() if one["object"] == kind]

    def pay(self, session: str, card: str = "pm_good") -> None:
        """A person pays on the page of a checkout."""
        made = self.objects[session]
        intent = self._create("pi", "payment_intent", {"status": "succeeded", "amount": "0"})
        intent["payment_method"] = {"id": card, "card": {"last4": "4242"}}
        made |= {"payment_status": "paid", "status": "complete", "customer": "cus_1"}
        made["payment_intent"] = intent

    def notice(self, session: str, at_s: int) -> tuple[bytes, str]:
        """The body and signature of the notice that a checkout was completed."""
        event = {
            "type": "checkout.session.completed",
            "data": {"object": {"id": session, "metadata": self.objects[session]["metadata"]}},
        }
        body = json.dumps(event).encode()
        signed = hmac.new(WEBHOOK_SECRET.encode(), f"{at_s}.".encode() + body, hashlib.sha256)
        return body, f"t={at_s},v1={signed.hexdigest()}"

    # --- Answers ----------------------------------------------------------------------------------

    def answer(self, method: str, path: str, form: dict[str, str], key: str | None) -> Answer:
        """What Stripe says."""
        if method == "GET":
            found = self.objects.get(path.rsplit("/", 1)[1])
            return (200, found) if found else (404, _error("invalid_request_error", "No such"))
        if key is None:
            return 400, _error("invalid_request_error", "test: a POST without a key")
        if key in self.replies:
            before, reply = self.replies[key]
            if before != form:
                return 400, _error("idempotency_error", "Keys can only be used with the same form.")
            return reply
        reply = self._post(path, form)
        self.replies[key] = form, reply
        return reply

    def _post(self, path: str, form: dict[str, str]) -> Answer:
        metadata = {"payment": form["metadata[payment]"]}
        match path:
            case "/v1/checkout/sessions":
                if not form.get("success_url"):
                    return 400, _error("invalid_request_error", "Missing: success_url")
                made = self._create("cs", "checkout.session", {"metadata": metadata})
                made |= {"status": "open", "payment_status": "unpaid", "payment_intent": None}
                made["url"] = f"{self.url}/pay/{made['id']}"
                made["amount_total"] = int(form["line_items[0][price_data][unit_amount]"])
            case "/v1/payment_intents":
                if form["payment_method"] == DECLINED:
                    failed = self._create("pi", "payment_intent", {"status": "canceled"})
                    error = _error("card_error", "Your card was declined.")
                    error["error"]["payment_intent"] = failed
                    return 402, error
                made = self._create("pi", "payment_intent", {"metadata": metadata, **form})
                made["status"] = "succeeded"
            case "/v1/transfers":
                if not form["destination"].startswith("acct_"):
                    return 400, _error("invalid_request_error", "No such destination")
                made = self._create("tr", "transfer", {"metadata": metadata, **form})
            case "/v1/refunds":
                made = self._create("re", "refund", {"metadata": metadata, **form})
                made["status"] = "succeeded"
            case _:
                return 404, _error("invalid_request_error", "Unrecognized request URL")
        return 200, made

    def _create(self, prefix: str, kind: str, facts: dict[str, Any]) -> dict[str, Any]:
        made = {**facts, "id": f"{prefix}_{next(self.numbers)}", "object": kind}
        self.objects[made["id"]] = made
        return made


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message}}


@contextlib.contextmanager
def stripe_at_work() -> Iterator[FakeStripe]:
    """A Stripe that listens on loopback while this is held."""
    fake = FakeStripe()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self._serve(dict(parse_qsl(self.rfile.read(length).decode())))

        def _serve(self, form: dict[str, str]) -> None:
            path = urlsplit(self.path).path
            with fake.lock:
                fake.asked.append(f"{self.command} {path}")
                trouble = fake.troubles.pop(0) if fake.troubles else ""
                if self.headers["Authorization"] != f"Bearer {SECRET}":
                    status, said = 401, _error("invalid_request_error", "Invalid API Key")
                elif trouble == "busy":
                    status, said = 429, _error("rate_limit_error", "Too many requests")
                elif trouble == "down":
                    status, said = 500, _error("api_error", "Something went wrong")
                else:
                    key = self.headers.get("Idempotency-Key")
                    status, said = fake.answer(self.command, path, form, key)
            if trouble == "lost":
                self.close_connection = True
                return
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
