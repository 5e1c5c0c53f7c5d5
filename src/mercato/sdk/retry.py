"""When a call is worth making again, and how long to wait first."""

from typing import Final

ATTEMPTS: Final = 5
FIRST_DELAY_S: Final = 0.2
GROWTH: Final = 2.0
RETRY_AFTER_MAX_S: Final = 60.0
"""A server that asks for a longer wait is believed: the caller is told instead of held."""

BUSY: Final = 429
UNWELL: Final = frozenset({502, 503, 504})


def worth_repeating(status: int, *, repeatable: bool) -> bool:
    """Say whether an answer with `status` may differ next time.

    A call that was refused for its rate did nothing, so even one that must not happen twice is
    made again; a 50x may have done its work before it failed.
    """
    return status == BUSY or (repeatable and status in UNWELL)


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
