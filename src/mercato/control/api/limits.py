"""How often one key may use one route: a token bucket for each pair, in memory."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

BUCKETS_MAX: Final = 100_000
"""More pairs than this and the longest unused is forgotten: it is full again by then."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_ms: int


class RateLimits:
    """The buckets of this process.

    Each replica counts for itself: the limit protects a server, it is no quota.
    """

    def __init__(self, *, per_s: float, burst: int) -> None:
        """Let every pair use `burst` at once and `per_s` a second for ever; 0 is no limit."""
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def wait_s(self, who: str, route: str, now_ms: int) -> float:
        """Take a token: 0 when there was one, otherwise the seconds until there is."""
        if self._per_s <= 0:
            return 0.0
        pair = (who, route)
        bucket = self._buckets.get(pair)
        if bucket is None:
            bucket = self._buckets[pair] = _Bucket(float(self._burst), now_ms)
            if len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(pair)
        elapsed_s = max(0, now_ms - bucket.at_ms) / 1_000
        bucket.tokens = min(float(self._burst), bucket.tokens + elapsed_s * self._per_s)
        bucket.at_ms = now_ms
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / self._per_s
