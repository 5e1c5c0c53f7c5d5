"""Webhooks: what happens is posted, signed, until it is taken; nowhere it must not go."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from mercato.control.db import Database
from mercato.control.flows import noticing, renting
from mercato.control.flows.noticing import Wish
from mercato.control.loops.webhooks import webhook_loop
from mercato.control.messenger import Messenger, Unreachable
from mercato.control.store import webhooks
from mercato.market import errors
from mercato.market.notice import Notice, signature
from tests.control.market import T0, Market, open_market

SECRET = "whisper"


@dataclass
class Receiver:
    """A program that is told; what it answers next, and what it was told."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def kinds(self) -> list[str]:
        """What it was told, in order."""
        return [msgspec.json.decode(body, type=Notice).kind for _, body in self.told]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.told.append((dict(self.headers.items()), body))
            status = kept.answers.pop(0) if kept.answers else 200
            self.send_response(status)
            self.send_header("Location", kept.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://localhost:{server.server_port}/hook?a=b"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield kept
        server.shutdown()
        thread.join()


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db, webhooks_anywhere=True)


def subscribed(market: Market, receiver: Receiver, *kinds: str) -> int:
    wish = Wish(name="mine", url=receiver.url, kinds=list(kinds))
    sealed = market.house.box.seal(SECRET)
    return market.db.run_now(noticing.subscribe, market.renter, wish, sealed, T0).id


def posted(market: Market, now_ms: int) -> dict[str, int]:
    return webhook_loop(market.db, market.house).activate(now_ms)


def happen(market: Market) -> None:
    agent = market.machine(1)
    contract = market.rent(market.offer(agent, 1)).contract
    market.db.run_now(renting.destroy, market.renter, contract.id, T0 + 1_000)


def test_what_happens_is_posted_once_signed_and_in_order(
    market: Market, receiver: Receiver
) -> None:
    subscribed(market, receiver)
    happen(market)
    assert posted(market, T0 + 2_000) == {"taken": 2, "again": 0, "refused": 0}
    assert posted(market, T0 + 2_000) == {"taken": 0, "again": 0, "refused": 0}
    assert sorted(receiver.kinds()) == ["instance_destroyed", "instance_rented"]
    for headers, body in receiver.told:
        sent = int(headers["X-Vast-Timestamp"])
        assert headers["X-Vast-Signature-256"] == signature(SECRET, sent, body)
        assert headers["X-Vast-Delivery-Attempt"] == "1"
        assert headers["Host"] == receiver.url.split("/")[2]
        notice = msgspec.json.decode(body, type=Notice)
        assert notice.user_id == market.renter
        assert notice.instance_id is not None
        assert notice.event_id == headers["X-Vast-Event-Id"]


def test_only_what_was_asked_for_is_told_and_nobody_elses(
    market: Market, receiver: Receiver
) -> None:
    subscribed(market, receiver, "instance_destroyed")
    happen(market)
    posted(market, T0 + 2_000)
    assert receiver.kinds() == ["instance_destroyed"]


def test_it_is_posted_again_until_it_is_taken_or_refused(
    market: Market, receiver: Receiver
) -> None:
    number = subscribed(market, receiver, "instance_rented")
    receiver.answers = [503, 429, 200]
    happen(market)
    seen = []
    for seconds in (2, 3, 13, 20, 80, 90, 9_000):
        report = posted(market, T0 + seconds * 1_000)
        seen += [(seconds, name) for name, count in report.items() if count]
    assert seen == [(2, "again"), (13, "again"), (80, "taken")]
    [told] = market.db.run_now(webhooks.lately, number, 10)
    assert (told.attempts, told.status, told.next_at_ms) == (3, 200, None)


@pytest.mark.parametrize("status", [302, 400, 410])
def test_a_refusal_and_a_redirect_are_final(
    market: Market, receiver: Receiver, status: int
) -> None:
    subscribed(market, receiver, "instance_rented")
    receiver.answers = [status]
    happen(market)
    assert posted(market, T0 + 2_000)["refused"] == 1
    assert posted(market, T0 + 10**8)["taken"] == 0
    assert len(receiver.told) == 1


def test_it_is_given_up_after_a_day(market: Market, receiver: Receiver) -> None:
    subscribed(market, receiver, "instance_rented")
    receiver.answers = [500] * 99
    happen(market)
    for minutes in range(0, 48 * 60, 10):
        posted(market, T0 + 2_000 + minutes * 60_000)
    assert len(receiver.told) == 8


def test_a_test_is_posted_once_and_nothing_after_the_end(
    market: Market, receiver: Receiver
) -> None:
    number = subscribed(market, receiver)
    receiver.answers = [500]
    market.db.run_now(noticing.try_out, market.renter, number, T0)
    for seconds in (1, 1_000):
        posted(market, T0 + seconds * 1_000)
    assert receiver.kinds() == ["test"]
    happen(market)
    market.db.run_now(noticing.unsubscribe, market.renter, number, T0 + 3_000)
    assert not any(posted(market, T0 + 4_000).values())


def test_webhooks_are_few_and_ones_own(market: Market, receiver: Receiver) -> None:
    number = subscribed(market, receiver)
    for _ in range(3):
        subscribed(market, receiver)
    with pytest.raises(errors.TooMany):
        subscribed(market, receiver)
    with pytest.raises(errors.NotFound):
        market.db.run_now(noticing.unsubscribe, market.host, number, T0)
    changed = market.db.run_now(noticing.change, market.renter, number, name="other")
    assert (changed.name, changed.url) == ("other", receiver.url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://user:secret@example.com/",
        "https:///",
        "https://example.com:99999/",
        "https://" + "a" * 3_000,
        "nonsense",
    ],
)
def test_urls_that_cannot_be_are_named(url: str) -> None:
    assert Messenger().objection(url) is not None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fd00::1]",
        "2130706433",
    ],
)
def test_nothing_is_posted_to_an_address_that_is_not_public(host: str) -> None:
    with pytest.raises(Unreachable, match="not a public address"):
        Messenger().post(f"https://{host}/", b"{}", {})


def test_an_address_where_nobody_listens_is_unreachable(receiver: Receiver) -> None:
    headers: dict[str, Any] = {}
    assert Messenger(anywhere=True).post(receiver.url, b"{}", headers) == 200
    with pytest.raises(Unreachable):
        Messenger(anywhere=True).post("http://127.0.0.1:9/", b"{}", headers)
