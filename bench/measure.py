"""What every benchmark here shares: timing one call many times, and telling it in one line."""

import time
from collections.abc import Callable, Sequence


def times_ms(call: Callable[[], object], runs: int, warm: int = 3) -> list[float]:
    """How long each of `runs` calls took, in milliseconds, after `warm` that do not count."""
    for _ in range(warm):
        call()
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        found.append((time.perf_counter() - began) * 1_000)
    return found


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` of them lie; the nearest rank."""
    ranked = sorted(samples)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def told(name: str, samples_ms: Sequence[float]) -> str:
    """One line: median, 99th percentile, how many."""
    return (
        f"{name:<44} p50 {quantile(samples_ms, 0.5):9.3f} ms   "
        f"p99 {quantile(samples_ms, 0.99):9.3f} ms   n={len(samples_ms)}"
    )
