"""Payments: money that comes in from outside or goes out, through somebody who is not us.

A payment is wanted before anybody is asked for it, so that one whose answer was lost is asked for
again under the same name and not twice. The table says which state may follow which.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from mercato.market.money import NANO, NanoUsd, nano

CENT: Final = NANO // 100

PAY_IN_MIN: Final = nano(5)
"""The least that can be paid in, as documented."""
PAYOUT_MIN: Final = nano(20)
"""The least that is paid out, as documented."""
PAYOUT_AFTER: Final = timedelta(days=7)
"""A payout that is announced on a Friday is paid on the next."""
FRIDAY: Final = 4


class Purpose(StrEnum):
    """What a payment is for."""

    CHECKOUT = "checkout"
    """Somebody pays in, on the provider's own page."""
    TOP_UP = "top_up"
    """The saved card is charged because credit fell below the account's threshold."""
    PAYOUT = "payout"
    """A host is paid what its machines earned."""
    REFUND = "refund"
    """A payment goes back where it came from."""

    @property
    def comes_in(self) -> bool:
        """Whether it adds credit; otherwise money leaves."""
        return self in {Purpose.CHECKOUT, Purpose.TOP_UP}


class State(StrEnum):
    """How far a payment is."""

    WANTED = "wanted"
    """Nobody was asked yet."""
    ASKED = "asked"
    """The provider is being asked, or its answer was lost: it is asked again by the same name."""
    WAITING = "waiting"
    """The provider has it and waits for somebody: a person, a bank."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"


NEXT: Final[Mapping[State, frozenset[State]]] = {
    State.WANTED: frozenset({State.ASKED, State.FAILED}),
    State.ASKED: frozenset({State.ASKED, State.WAITING, State.SUCCEEDED, State.FAILED}),
    State.WAITING: frozenset({State.ASKED, State.WAITING, State.SUCCEEDED, State.FAILED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
}
"""Which state may follow which."""

ENDED: Final = frozenset(state for state, following in NEXT.items() if not following)

RETRIES_S: Final = (5, 30, 120, 600, 3_600)
"""How long to wait before a payment whose answer was lost is asked for again; the last for ever."""


def retry_after_s(attempts: int) -> int:
    """How long to wait after so many attempts."""
    return RETRIES_S[min(max(attempts, 1), len(RETRIES_S)) - 1]


def whole_cents(amount: int) -> NanoUsd:
    """An amount rounded down to cents, which is all that payment providers know."""
    return NanoUsd(amount - amount % CENT)


def payday(at_ms: int) -> tuple[int, int]:
    """The Friday, 0:00 UTC, on which a payout is announced at a moment, and when it is paid."""
    today = datetime.fromtimestamp(at_ms // 1_000, tz=UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    friday = today - timedelta(days=(today.weekday() - FRIDAY) % 7)
    return int(friday.timestamp()) * 1_000, int((friday + PAYOUT_AFTER).timestamp()) * 1_000


def payout_of(earnings: int) -> NanoUsd | None:
    """What is paid out of earnings; None when it is too little."""
    amount = whole_cents(earnings)
    return amount if amount >= PAYOUT_MIN else None
