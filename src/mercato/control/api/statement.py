"""Lists of money: what was charged or moved in a window of time, by conditions, order and page."""

from typing import Any, Final

import msgspec

from mercato.control.api import selecting
from mercato.market import errors
from mercato.market.money import MS_PER_S

PAGE_DEFAULT: Final = 20
PAGE_MAX: Final = 500


class ChargeRow(msgspec.Struct, kw_only=True):
    """What a contract cost over a span, and of what that is made; dollars and seconds."""

    id: int | None = None
    start: float
    end: float
    type: str
    source: str | None
    description: str
    amount: float
    metadata: dict[str, Any]
    items: list["ChargeRow"]


class Paged(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a window, and which page of them."""

    select_filters: dict[str, Any] | None = None
    """`{column: {operator: value}}`; the column that bounds the window has `gte` and `lte`, in
    seconds since the epoch."""
    latest_first: bool = False
    limit: int | None = None
    after_token: str | None = None


class Charges(msgspec.Struct, frozen=True, kw_only=True):
    """One page of charges or invoices."""

    success: bool = True
    results: list[ChargeRow]
    count: int
    """How many there are on this page."""
    total: int
    """How many there are on all pages."""
    next_token: str | None


def conditions_of(asked: Paged, window: str, columns: frozenset[str]) -> list[selecting.Condition]:
    """What the filters ask beside their window.

    Raises:
        InvalidQuery: naming the column or operator that is not known.
    """
    filters = asked.select_filters or {}
    return selecting.conditions(
        {name: tests for name, tests in filters.items() if name != window}, columns
    )


def by_start(asked: Paged) -> selecting.Order:
    """From the oldest, or from the latest."""
    direction = "desc" if asked.latest_first else "asc"
    return [("start", direction), ("id", direction)]


def page_of(
    found: list[dict[str, Any]],
    asked: Paged,
    conditions: list[selecting.Condition],
    order: selecting.Order,
) -> Charges:
    """A page of what meets the conditions, but for rows of nothing.

    Each of `found` has its columns, and the row itself as `row`.
    """
    limit = PAGE_DEFAULT if asked.limit is None else asked.limit
    if not 1 <= limit <= PAGE_MAX:
        raise errors.InvalidRequest(f"limit must be from 1 to {PAGE_MAX}.")
    chosen = [one for one in found if one["row"].amount and selecting.matches(one, conditions)]
    rows = selecting.ordered(chosen, order)
    rest = selecting.after(rows, asked.after_token, order)
    page = rest[:limit]
    return Charges(
        results=[one["row"] for one in page],
        count=len(page),
        total=len(rows),
        next_token=selecting.token_after(page[-1], order) if len(rest) > limit else None,
    )


def window_of(filters: dict[str, Any] | None, name: str, now_ms: int) -> tuple[int, int]:
    """Begin and end of the window that the filters name, in milliseconds.

    Raises:
        InvalidQuery: when they name none.
    """
    bounds = (filters or {}).get(name)
    if not isinstance(bounds, dict):
        raise errors.InvalidQuery(
            f'select_filters needs {{"{name}": {{"gte": …, "lte": …}}}} in seconds since 1970.'
        )
    try:
        begin_ms = int(float(bounds.get("gte", 0)) * MS_PER_S)
        last_s = float(bounds.get("lte", now_ms / MS_PER_S))
        # A whole second is meant to its end: clients round this very moment down.
        end_ms = int(last_s * MS_PER_S) + (MS_PER_S - 1 if last_s.is_integer() else 0)
    except (TypeError, ValueError, OverflowError):
        raise errors.InvalidQuery(f"The bounds of {name!r} must be numbers.") from None
    begin_ms = max(0, min(begin_ms, now_ms))
    return begin_ms, max(begin_ms, min(end_ms, now_ms))
