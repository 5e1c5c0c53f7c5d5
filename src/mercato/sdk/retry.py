"""When a call is worth making again, and how long to wait first."""

from typing import Final

ATTEMPTS: Final = 5
FIRST_DELAY_S: Final = 0.2
GROWTH: Final = 2.0
RETRY_AFTER_MAX_S: Final = 60.0
"""A server that asks for a longer wait is believed: the caller is told instead of held."""

WORTH_REPEATING: Final = frozenset({429, 502, 503, 504})
"""Statuses after which the same call may be answered otherwise. A call that must not happen twice
carries an `Idempotency-Key`, by which the server knows its repetition."""

NOT_BEGUN: Final = frozenset({429, 503})
"""Those of a server that has not begun; behind the others it may have done what was asked."""


def delay_s(attempt: int, retry_after: str | None, luck: float) -> float | None:
    """Seconds to wait after the `attempt`-th failure (from 0); None when it is not worth it.

    `luck` in [0, 1) spreads callers that failed together.
    """
    if attempt + 1 >= ATTEMPTS:
        return None
    if retry_after is not None and retry_after.replace(".", "", 1).isdigit():
        asked = float(retry_after)
        return asked if asked <= RETRY_AFTER_MAX_S else None
    return FIRST_DELAY_S * GROWTH**attempt * (0.5 + luck / 2)
