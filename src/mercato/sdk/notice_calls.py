"""The calls of the public API that tell what happens, one function each."""

from collections.abc import Sequence

import msgspec

from mercato.sdk.call import Call, done, many, one


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where a program of the account's is told of what happens."""

    id: int
    name: str = ""
    url: str = ""
    kinds: list[str] = []
    """Which kinds of events; empty: all."""
    secret: str | None = None
    """Signs what is posted; only in the answer that makes it."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A notice, and how posting it went."""

    id: int
    kind: str = ""
    attempts: int = 0
    status: int | None = None
    """Of the last answer; None when nobody answered."""
    problem: str | None = None
    next_at: float | None = None
    created_at: float | None = None


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to the account or what is its."""

    id: int
    kind: str = ""
    message: str = ""
    reason: str = ""
    instance_id: int | None = None
    machine_id: int | None = None
    created_at: float | None = None


def webhooks() -> Call[list[Webhook]]:
    """The account's webhooks."""
    return Call("GET", "/webhooks/", many(Webhook, "webhooks"))


def add_webhook(url: str, *, name: str = "", kinds: Sequence[str] = ()) -> Call[Webhook]:
    """Have a URL told of what happens; the secret that signs it is in this answer only."""
    body = {"url": url, "name": name, "kinds": list(kinds)}
    return Call("POST", "/webhooks/", one(Webhook, "webhook"), body=body, repeatable=False)


def change_webhook(
    webhook: int,
    *,
    url: str | None = None,
    name: str | None = None,
    kinds: Sequence[str] | None = None,
) -> Call[Webhook]:
    """Give a webhook another URL, name or choice of kinds; None leaves one as it is."""
    body = {"url": url, "name": name, "kinds": None if kinds is None else list(kinds)}
    return Call("PUT", f"/webhooks/{webhook}/", one(Webhook, "webhook"), body=body)


def remove_webhook(webhook: int) -> Call[None]:
    """Have a webhook told nothing more."""
    return Call("DELETE", f"/webhooks/{webhook}/", done, body={})


def test_webhook(webhook: int) -> Call[None]:
    """Have a webhook told that this is a test."""
    return Call("POST", f"/webhooks/{webhook}/test/", done, body={}, repeatable=False)


def rotate_webhook_secret(webhook: int) -> Call[Webhook]:
    """Give a webhook another secret, which is in this answer only."""
    path = f"/webhooks/{webhook}/rotate/"
    return Call("POST", path, one(Webhook, "webhook"), body={}, repeatable=False)


def told(webhook: int) -> Call[list[Told]]:
    """What a webhook was told lately, and how that went."""
    return Call("GET", f"/webhooks/{webhook}/notices/", many(Told, "notices"))


def notifications(*, limit: int = 50, before: int | None = None) -> Call[list[Notification]]:
    """What happened to the account and what is its, the latest first."""
    query = {"limit": limit, "before": before}
    return Call("GET", "/notifications/", many(Notification, "notifications"), query=query)
