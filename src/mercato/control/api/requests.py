"""How many requests were answered, how, and in what time; by route, never by URL."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BOUNDS_MS: Final = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class Requests(Collector):
    """Counts of this process."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self._answered: Counter[tuple[str, str, str]] = Counter()
        self._within: Counter[int] = Counter()
        self._total_ms = 0

    def count(self, method: str, route: str, status: int, elapsed_ms: int) -> None:
        """Count one request that was answered."""
        with self._lock:
            self._answered[method, route, str(status)] += 1
            self._total_ms += elapsed_ms
            for bound in BOUNDS_MS:
                if elapsed_ms <= bound:
                    self._within[bound] += 1

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        with self._lock:
            answered, within, total_ms = dict(self._answered), dict(self._within), self._total_ms
        requests = CounterMetricFamily(
            "mercato_requests", "Requests answered.", labels=["method", "route", "status"]
        )
        for labels, count in sorted(answered.items()):
            requests.add_metric(list(labels), count)
        yield requests
        times = HistogramMetricFamily("mercato_request_seconds", "Time to answer a request.")
        buckets = [(f"{bound / 1_000:g}", float(within.get(bound, 0))) for bound in BOUNDS_MS]
        total = float(sum(answered.values()))
        times.add_metric([], buckets=[*buckets, ("+Inf", total)], sum_value=total_ms / 1_000)
        yield times
