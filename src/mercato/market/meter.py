"""Meters: one rate over one span of time, and what it has run up to.

A meter is written when it opens and when it closes; in between nothing is. What it costs is a
difference of two running totals, so charging often costs the same as charging seldom.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from mercato.market.ids import AccountId, ContractId, SegmentId
from mercato.market.money import MS_PER_HOUR, NanoUsd, NanoUsdPerHour, accrued

GPU: Final = "gpu"
DISK: Final = "disk"


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One span of one meter."""

    id: SegmentId
    contract_id: ContractId
    renter_id: AccountId
    kind: str
    """`gpu` or `disk`."""
    rate: NanoUsdPerHour
    """What it charges."""
    list_rate: NanoUsdPerHour
    """What it would charge had nothing been prepaid."""
    prepaid: bool
    """Whether it draws on the contract's deposit; otherwise on the renter's credit."""
    from_ms: int
    to_ms: int | None
    """None while it runs."""
    posted: NanoUsd
    """How much of it has been charged."""

    def run_up(self, at_ms: int) -> NanoUsd:
        """What it had come to at a moment: nothing before it began, no more after it ended."""
        return accrued(self.rate, self._elapsed(at_ms))

    def unposted(self, at_ms: int) -> NanoUsd:
        """What it had come to at a moment and has not been charged.

        What a clock that was ahead charged too early is not given back; what comes next is free
        until time has caught up.
        """
        return NanoUsd(max(0, self.run_up(at_ms) - self.posted))

    def saved(self, at_ms: int) -> NanoUsd:
        """What prepaying had saved at a moment."""
        elapsed_ms = self._elapsed(at_ms)
        return NanoUsd(accrued(self.list_rate, elapsed_ms) - accrued(self.rate, elapsed_ms))

    @property
    def posted_until_ms(self) -> int:
        """The first moment at which as much has run up as was charged: nothing is taken back."""
        if self.rate == 0:
            return self.from_ms
        return self.from_ms + -(-self.posted * MS_PER_HOUR // self.rate)

    def _elapsed(self, at_ms: int) -> int:
        until_ms = at_ms if self.to_ms is None else min(at_ms, self.to_ms)
        return max(0, until_ms - self.from_ms)


def last_covered_ms(amount: int, running: Iterable[Segment]) -> int | None:
    """The last moment at which what these meters have run up unposted is covered by `amount`.

    None when they cost nothing, or so little that no calendar reaches that far.
    """
    meters = [segment for segment in running if segment.rate]
    rate = sum(segment.rate for segment in meters)
    if rate == 0:
        return None
    # Were nothing rounded: sum(rate * (t - from) / hour - posted) = amount, solved for t. Each
    # meter rounds down, so the true moment is later, by less than a nano-dollar's time each.
    known = sum(segment.rate * segment.from_ms + segment.posted * MS_PER_HOUR for segment in meters)
    covered = max((known + amount * MS_PER_HOUR) // rate, *(segment.from_ms for segment in meters))
    beyond = max(covered, (known + (amount + len(meters)) * MS_PER_HOUR) // rate) + 1
    while beyond - covered > 1:
        middle = (covered + beyond) // 2
        if sum(segment.unposted(middle) for segment in meters) <= amount:
            covered = middle
        else:
            beyond = middle
    return covered if covered < FOREVER_MS else None


FOREVER_MS: Final = 1 << 53
"""A moment that never comes, and that JSON can still say."""
