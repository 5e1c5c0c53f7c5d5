"""A standing order's life as one table: what each state means, and who is served first."""

from enum import Enum
from typing import Final

from mercato.market.money import MS_PER_HOUR, NanoUsdPerHour

LONGEST_MS: Final = 90 * 24 * MS_PER_HOUR
"""No order waits longer than ninety days."""


class OrderState(Enum):
    """Label, whether it still waits, what it means."""

    RESTING = ("resting", True, "waits for an offer that matches")
    FILLED = ("filled", False, "rented an offer")
    CANCELLED = ("cancelled", False, "was called off")
    EXPIRED = ("expired", False, "waited until its end")
    FAILED = ("failed", False, "could not rent what matched")

    def __init__(self, label: str, waits: bool, meaning: str) -> None:  # noqa: FBT001 - the columns of a table
        """Name the columns of the table above."""
        self.label = label
        self.waits = waits
        self.meaning = meaning


def rank(price_max: NanoUsdPerHour, order: int) -> tuple[float, int]:
    """Who is served first of those that an offer matches: the highest price, then the oldest."""
    return (-float(price_max), order)
