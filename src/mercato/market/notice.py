"""Notices: how what happened is told to a program of the account's own.

A notice is posted to the account's webhooks, signed, again until it is taken: at least once, so
its reader knows it by its id. The headers and the fields are those of Vast.ai's webhooks.
"""

import hashlib
import hmac
from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

HOOKS_MAX: Final = 4
"""Webhooks of one account, as documented."""
URL_MAX: Final = 2_048
NAME_MAX: Final = 120
TIMEOUT_S: Final = 10.0

RETRIES_S: Final = (10, 60, 300, 1_800, 7_200, 21_600, 43_200)
"""How long to wait before each further attempt: a day in all, then it is given up."""

SLUGS: Final[Mapping[str, str]] = {
    "credit_added": "payment_receipt",
    "payment_received": "payment_receipt",
    "credit_moved": "credit_transfer",
    "credit_low": "low_credit",
    "team_invited": "team_invitation",
    "instance_rented": "instance_created",
    "instance_destroyed": "instance_deleted",
    "instance_outbid": "outbid",
    "contract_ending": "expiring_soon",
    "maintenance_announced": "maintenance_scheduled",
    "machine_offline": "offline",
    "machine_online": "back_online",
    "machine_deverified": "verification_failed",
}
"""The names that the API the world knows has for what happens; others keep ours."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted; times in seconds since the epoch."""

    event_id: str
    user_id: int
    notif_type: str
    subject: str
    message: str
    timestamp: int
    kind: str
    """What happened, in our own word; `notif_type` is Vast.ai's where it has one."""
    reason: str
    instance_id: int | None
    machine_id: int | None


class Answer(Enum):
    """What an answer, or none, means for a notice."""

    TAKEN = "taken"
    AGAIN = "again"
    REFUSED = "refused"


def slug_of(kind: str) -> str:
    """The short name of what happened."""
    return SLUGS.get(kind, kind)


def subject_of(kind: str, about: int | None) -> str:
    """A line that says what a notice is about."""
    words = kind.replace("_", " ").capitalize()
    return words if about is None else f"{words}: {about}"


def meant(status: int | None) -> Answer:
    """What a status means; None: nobody answered. Redirects are not followed, and are refusals."""
    if status is None or status in {408, 429} or status >= 500:
        return Answer.AGAIN
    return Answer.TAKEN if 200 <= status < 300 else Answer.REFUSED


def retry_after_s(attempt: int) -> int | None:
    """How long to wait after an attempt, the first being 1; None when it was the last."""
    return RETRIES_S[attempt - 1] if attempt <= len(RETRIES_S) else None


def signature(secret: str, timestamp_s: int, body: bytes) -> str:
    """Proves that a notice is the market's: HMAC-SHA256 of `<timestamp>.<body>`."""
    signed = f"{timestamp_s}.".encode() + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
