"""Webhooks: where an account's own programs are told of what happens to it."""

import secrets
from typing import Final

import msgspec

from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.keys import ById
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import noticing
from mercato.control.messenger import Messenger
from mercato.control.store import events, webhooks
from mercato.control.store.webhooks import Told, Webhook
from mercato.market import errors
from mercato.market.ids import AccountId
from mercato.market.notice import slug_of, subject_of

NOTICES_SHOWN: Final = 100
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500
KINDS_MAX: Final = 64


class WebhookRow(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook."""

    id: int
    name: str
    url: str
    kinds: list[str]
    """Which kinds of events; empty: all."""
    created_at: float
    secret: str | None = None
    """Signs what is posted; only in the answer that makes it."""


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """The account's webhooks."""

    success: bool = True
    webhooks: list[WebhookRow]


class OneWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook."""

    success: bool = True
    webhook: WebhookRow


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is wanted."""

    url: str
    name: str = ""
    kinds: list[str] = []


class OtherWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a webhook."""

    id: int
    url: str | None = None
    name: str | None = None
    kinds: list[str] | None = None


def _row(webhook: Webhook, secret: str | None = None) -> WebhookRow:
    return WebhookRow(
        id=webhook.id,
        name=webhook.name,
        url=webhook.url,
        kinds=webhook.kinds,
        created_at=seconds(webhook.created_at_ms),
        secret=secret,
    )


async def list_webhooks(call: Call, asked: Nothing) -> Webhooks:  # noqa: ARG001 - nothing is asked
    """List the account's webhooks."""
    found = await call.services.db.run(webhooks.of_account, call.account)
    return Webhooks(webhooks=[_row(one) for one in found])


async def create_webhook(call: Call, asked: NewWebhook) -> OneWebhook:
    """Have a URL told of what happens to the account; the secret is shown this once."""
    _check(call, asked.url, asked.kinds)
    secret = secrets.token_urlsafe(32)
    made = await call.services.db.run(
        noticing.subscribe,
        call.account,
        noticing.Wish(name=asked.name, url=asked.url, kinds=asked.kinds),
        call.services.house.box.seal(secret),
        call.now_ms,
    )
    return OneWebhook(webhook=_row(made, secret))


async def change_webhook(call: Call, asked: OtherWebhook) -> OneWebhook:
    """Give a webhook another URL, name, or choice of kinds."""
    _check(call, asked.url, asked.kinds)
    changed = await call.services.db.run(
        noticing.change, call.account, asked.id, name=asked.name, url=asked.url, kinds=asked.kinds
    )
    return OneWebhook(webhook=_row(changed))


async def rotate_secret(call: Call, asked: ById) -> OneWebhook:
    """Give a webhook another secret, which is shown this once; the old one signs nothing more."""
    secret = secrets.token_urlsafe(32)
    sealed = call.services.house.box.seal(secret)
    changed = await call.services.db.run(noticing.change, call.account, asked.id, sealed=sealed)
    return OneWebhook(webhook=_row(changed, secret))


async def delete_webhook(call: Call, asked: ById) -> Done:
    """Have a webhook told nothing more."""
    await call.services.db.run(noticing.unsubscribe, call.account, asked.id, call.now_ms)
    return Done(msg=f"Webhook {asked.id} is deleted.")


async def test_webhook(call: Call, asked: ById) -> Done:
    """Have a webhook told that this is a test, once."""
    await call.services.db.run(noticing.try_out, call.account, asked.id, call.now_ms)
    return Done(msg=f"Webhook {asked.id} is told in a moment.")


def _check(call: Call, url: str | None, kinds: list[str] | None) -> None:
    messenger = Messenger(anywhere=call.services.house.rules.webhooks_anywhere)
    objection = None if url is None else messenger.objection(url)
    if objection is not None:
        raise errors.InvalidRequest(objection)
    if kinds is not None and len(kinds) > KINDS_MAX:
        raise errors.InvalidRequest(f"Name at most {KINDS_MAX} kinds of events, or none for all.")


# --- What was told --------------------------------------------------------------------------------


class NoticeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A notice and how posting it went."""

    id: int
    kind: str
    attempts: int
    status: int | None
    """Of the last answer; null when nobody answered."""
    problem: str | None
    next_at: float | None
    """When it is posted again; null when it was taken, refused or given up."""
    created_at: float


class Notices(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook's last notices, the latest first."""

    success: bool = True
    notices: list[NoticeRow]


async def list_notices(call: Call, asked: ById) -> Notices:
    """List what a webhook was told lately, and how that went."""
    found = await call.services.db.run(_lately, call.account, asked.id)
    rows = [
        NoticeRow(
            id=one.id,
            kind=one.kind or "test",
            attempts=one.attempts,
            status=one.status,
            problem=one.problem or None,
            next_at=seconds(one.next_at_ms),
            created_at=seconds(one.created_at_ms),
        )
        for one in found
    ]
    return Notices(notices=rows)


def _lately(tx: Tx, account: AccountId, webhook: int) -> list[Told]:
    return webhooks.lately(tx, noticing.mine(tx, account, webhook).id, NOTICES_SHOWN)


class NotificationsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which notifications."""

    limit: int = PAGE_DEFAULT
    before: int | None = None
    """Only those before this id."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to the account or what is its."""

    id: int
    kind: str
    notif_type: str
    subject: str
    message: str
    reason: str
    instance_id: int | None
    machine_id: int | None
    created_at: float


class Notifications(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, the latest first."""

    success: bool = True
    notifications: list[Notification]


async def list_notifications(call: Call, asked: NotificationsQuery) -> Notifications:
    """List what happened to the account and what is its, the latest first."""
    if not 1 <= asked.limit <= PAGE_MAX:
        raise errors.InvalidRequest(f"limit must be from 1 to {PAGE_MAX}.")
    found = await call.services.db.run(events.page, call.account, asked.before, asked.limit)
    return Notifications(
        notifications=[
            Notification(
                id=one.id,
                kind=one.kind,
                notif_type=slug_of(one.kind),
                subject=subject_of(one.kind, one.contract_id or one.machine_id),
                message=one.message,
                reason=one.reason,
                instance_id=one.contract_id,
                machine_id=one.machine_id,
                created_at=seconds(one.at_ms),
            )
            for one in found
        ]
    )
