"""Telling an account's own programs what happens: webhooks, and the notices posted to them.

Whatever records an event writes a notice for each webhook that wants it, in the same transaction
(store/events.py). The loop calls `begin`, posts what that answers, and hands the outcome to `end`.
"""

import msgspec

from mercato.control.db import Tx
from mercato.control.flows.house import House
from mercato.control.store import webhooks
from mercato.control.store.webhooks import StoredNotice, Webhook
from mercato.market import errors
from mercato.market.ids import AccountId
from mercato.market.money import MS_PER_S
from mercato.market.notice import (
    HOOKS_MAX,
    NAME_MAX,
    Answer,
    Notice,
    meant,
    retry_after_s,
    signature,
    slug_of,
    subject_of,
)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What to post, and where."""

    url: str
    body: bytes
    headers: dict[str, str]


# --- Webhooks -------------------------------------------------------------------------------------


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account wants to be told, and of which kinds of events; of all when it names none.

    The caller has checked the URL.
    """

    name: str
    url: str
    kinds: list[str] = []


def subscribe(tx: Tx, account: AccountId, wish: Wish, sealed: bytes, now_ms: int) -> Webhook:
    """Have an account told of what happens, signed with a secret that the caller made and sealed.

    Raises:
        TooMany: when the account has too many.
        TooLong: when the name is.
    """
    if len(wish.name) > NAME_MAX:
        raise errors.TooLong(f"A webhook's name has at most {NAME_MAX} characters.")
    tx.queue(f"account:{account}")
    if len(webhooks.of_account(tx, account)) >= HOOKS_MAX:
        raise errors.TooMany(f"An account has at most {HOOKS_MAX} webhooks; delete one first.")
    return webhooks.create(
        tx,
        account,
        name=wish.name,
        url=wish.url,
        kinds=wish.kinds,
        secret=sealed,
        now_ms=now_ms,
    )


def mine(tx: Tx, account: AccountId, webhook: int) -> Webhook:
    """The account's webhook.

    Raises:
        NotFound: when the account has none such.
    """
    found = webhooks.get(tx, webhook)
    if found is None or found.account_id != account:
        raise errors.NotFound(f"You have no webhook {webhook}.")
    return found


def change(
    tx: Tx,
    account: AccountId,
    webhook: int,
    *,
    name: str | None = None,
    url: str | None = None,
    kinds: list[str] | None = None,
    sealed: bytes | None = None,
) -> Webhook:
    """Give a webhook another name, URL, choice of kinds or secret; None leaves it.

    Raises:
        NotFound: when the account has none such.
        TooLong: when the name is.
    """
    if name is not None and len(name) > NAME_MAX:
        raise errors.TooLong(f"A webhook's name has at most {NAME_MAX} characters.")
    before = mine(tx, account, webhook)
    given = {"name": name, "url": url, "kinds": kinds, "secret": sealed}
    wanted = {field: value for field, value in given.items() if value is not None}
    after = msgspec.structs.replace(before, **wanted)
    webhooks.change(tx, after)
    return after


def unsubscribe(tx: Tx, account: AccountId, webhook: int, now_ms: int) -> None:
    """Have a webhook told nothing more.

    Raises:
        NotFound: when the account has none such.
    """
    webhooks.delete(tx, mine(tx, account, webhook).id, now_ms)


def try_out(tx: Tx, account: AccountId, webhook: int, now_ms: int) -> int:
    """Have a webhook told that this is a test, once; the notice's id.

    Raises:
        NotFound: when the account has none such.
    """
    found = mine(tx, account, webhook)
    tx.poke("loop:webhooks")
    return webhooks.test(tx, found.id, now_ms)


# --- Notices --------------------------------------------------------------------------------------


def begin(tx: Tx, number: int, now_ms: int, house: House) -> Letter | None:
    """What to post now; None when it need not be posted.

    When it must be posted again, should nobody say how it went, is written first.
    """
    tx.queue(f"notice:{number}")
    found = webhooks.notice(tx, number)
    if found is None or found.next_at_ms is None or found.next_at_ms > now_ms:
        return None
    attempts = found.attempts + 1
    webhooks.attempt(tx, number, attempts, _again_ms(found, attempts, now_ms))
    return _letter(found, attempts, now_ms, house)


def end(tx: Tx, number: int, status: int | None, problem: str, now_ms: int) -> Answer:
    """Take how posting a notice went: it was taken, is refused, or is posted again later."""
    tx.queue(f"notice:{number}")
    found = webhooks.notice(tx, number)
    assert found is not None, number
    answer = meant(status)
    again_ms = _again_ms(found, found.attempts, now_ms) if answer is Answer.AGAIN else None
    webhooks.posted(tx, number, status, problem, again_ms)
    return answer


def _again_ms(notice: StoredNotice, attempts: int, now_ms: int) -> int | None:
    wait_s = retry_after_s(attempts)
    if wait_s is None or notice.event_id is None:  # a test is made once
        return None
    return now_ms + wait_s * MS_PER_S


def _letter(notice: StoredNotice, attempts: int, now_ms: int, house: House) -> Letter:
    kind = notice.kind or "test"
    about = notice.contract_id or notice.machine_id
    told = Notice(
        event_id=f"{notice.webhook_id}-{notice.id}",
        user_id=notice.account_id,
        notif_type=slug_of(kind),
        subject=subject_of(kind, about),
        message=notice.message or "This is a test.",
        timestamp=(notice.at_ms or notice.created_at_ms) // MS_PER_S,
        kind=kind,
        reason=notice.reason or "",
        instance_id=notice.contract_id,
        machine_id=notice.machine_id,
    )
    body = msgspec.json.encode(told)
    sent_s = now_ms // MS_PER_S
    return Letter(
        url=notice.url,
        body=body,
        headers={
            "X-Vast-Event-Id": told.event_id,
            "X-Vast-Delivery-Attempt": str(attempts),
            "X-Vast-Timestamp": str(sent_s),
            "X-Vast-Signature-256": signature(house.box.open(notice.secret), sent_s, body),
            "User-Agent": "mercato",
        },
    )
