"""How long a contract lasts: when it may go on at its own prices, and when its renter is warned."""

from typing import Final

from mercato.market.contract import Terms
from mercato.market.money import MS_PER_HOUR

WARNED_BEFORE_MS: Final = (MS_PER_HOUR, 24 * MS_PER_HOUR, 168 * MS_PER_HOUR)
"""A renter is warned an hour, a day and a week before a contract ends."""


def is_later(end_at_ms: int | None, than_ms: int | None) -> bool:
    """Whether one end is later than another; None is no end."""
    if than_ms is None:
        return False
    return end_at_ms is None or end_at_ms > than_ms


def asks_more(asked: Terms, terms: Terms) -> bool:
    """Whether any price that is asked is higher than the contract's (semantics 1.8, case 35)."""
    return (
        asked.gpu > terms.gpu
        or asked.disk > terms.disk
        or asked.up > terms.up
        or asked.down > terms.down
    )


def due_warning(end_at_ms: int, now_ms: int, warned_ms: int | None) -> int | None:
    """The warning that is due: how long before the end it belongs; None when none is.

    `warned_ms` is the last warning that was given for this end. Of several that are due only the
    latest is given.
    """
    left_ms = end_at_ms - now_ms
    if left_ms <= 0:
        return None
    stage = next((before for before in WARNED_BEFORE_MS if left_ms <= before), None)
    if stage is None or (warned_ms is not None and warned_ms <= stage):
        return None
    return stage
