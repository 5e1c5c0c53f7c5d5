"""Bytes that only a host counts: how many of them can have moved. Pure."""

from typing import Final

from mercato.market.money import MS_PER_S

LINK_BYTES_PER_S: Final = 100_000_000_000 // 8
"""100 Gbit/s in one direction: more than any machine's link to the world."""
SLACK_MS: Final = 5_000
"""A report may have been on its way for so much longer than the one before it."""


def believed(before: int, said: int, elapsed_ms: int, life_ms: int) -> int:
    """How many bytes are believed to have moved in all, of those that a host says.

    Counts never fall, and rise no faster than a link carries: neither in the time since they were
    `before`, nor in all the time since the contract was signed.
    """
    return max(before, min(said, before + _carried(elapsed_ms), _carried(life_ms)))


def _carried(span_ms: int) -> int:
    return LINK_BYTES_PER_S * (max(0, span_ms) + SLACK_MS) // MS_PER_S
