"""Spending limits: how much an account lets itself spend, on what, in which time.

A limit is kept as credit is: before time is granted it must cover what that time will cost, and
what runs stops at a moment that is computed beforehand. A part of it is kept for storage until the
limit's window ends (or, where it never ends, for the deletion buffer), so that what is stopped
keeps its disk and still nothing is spent beyond the limit.

Windows are those of the calendar in UTC; a limit in total counts from when it was set.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from mercato.market.ids import AccountId
from mercato.market.meter import FOREVER_MS
from mercato.market.money import MS_PER_HOUR, NanoUsd, NanoUsdPerHour, accrued, dollars

MS_PER_DAY: Final = 24 * MS_PER_HOUR


class Scope(StrEnum):
    """What a limit is set on."""

    ACCOUNT = "account"
    """All that an account spends; a team is an account."""
    KEY = "key"
    """What was rented with one API key."""
    MEMBER = "member"
    """What one member of a team rents with any key, and the workers of endpoints that they made."""
    INSTANCE = "instance"
    """One instance or volume."""
    ENDPOINT = "endpoint"
    """The workers of one endpoint."""


class Period(StrEnum):
    """How long a limit lasts before it begins anew."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class Action(StrEnum):
    """What happens when a limit is reached."""

    NOTIFY = "notify"
    """The account is told, once in a window; nothing else."""
    STOP = "stop"
    """Nothing is granted beyond it, and what runs stops when it is reached."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One spending limit."""

    id: int
    account_id: AccountId
    scope: Scope
    scope_id: int
    """The account, API key, member's own account, contract or endpoint."""
    period: Period
    amount: NanoUsd
    action: Action
    set_at_ms: int

    def window(self, at_ms: int) -> "Window":
        """The window of this limit in which a moment lies."""
        return window(self.period, self.set_at_ms, at_ms)


class Window(msgspec.Struct, frozen=True):
    """A span of time in which a limit counts."""

    from_ms: int
    to_ms: int | None
    """None: it never ends."""


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent on a limit's scope in its present window, and what draws on it."""

    spent: NanoUsd
    burn: NanoUsdPerHour
    """What runs costs an hour."""
    storage_burn: NanoUsdPerHour
    """The part of it that goes on while instances are stopped."""
    promised: NanoUsdPerHour = NanoUsdPerHour(0)
    """What was told to run and does not cost anything yet: it will."""
    uncharged: NanoUsd = NanoUsd(0)
    """The part of what was spent that is traffic and has not been charged yet."""


class Care(msgspec.Struct, frozen=True, kw_only=True):
    """For how long ahead a limit must cover what it lets run."""

    horizon_ms: int
    deletion_buffer_ms: int


def window(period: Period, set_at_ms: int, at_ms: int) -> Window:
    """The calendar's window in which a moment lies."""
    match period:
        case Period.HOUR:
            from_ms = at_ms - at_ms % MS_PER_HOUR
            return Window(from_ms, from_ms + MS_PER_HOUR)
        case Period.DAY:
            from_ms = at_ms - at_ms % MS_PER_DAY
            return Window(from_ms, from_ms + MS_PER_DAY)
        case Period.MONTH:
            day = datetime.fromtimestamp(at_ms // 1_000, tz=UTC)
            first = datetime(day.year, day.month, 1, tzinfo=UTC)
            year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
            after = datetime(year, month, 1, tzinfo=UTC)
            return Window(int(first.timestamp()) * 1_000, int(after.timestamp()) * 1_000)
        case Period.TOTAL:
            return Window(set_at_ms, None)


def needs(
    limit: Limit, now: Spending, new_gpu: int, new_storage: int, at_ms: int, care: Care
) -> NanoUsd:
    """What a limit must have to grant something new: spent, and to be spent by all that runs.

    The greater of this window's need and what storage alone will need in the next ones.
    """
    burn = NanoUsdPerHour(now.burn + now.promised + new_gpu + new_storage)
    storage = NanoUsdPerHour(now.storage_burn + new_storage)
    within = limit.window(at_ms)
    if within.to_ms is None:
        kept = accrued(storage, care.deletion_buffer_ms)
        return NanoUsd(now.spent + accrued(burn, care.horizon_ms) + kept)
    horizon_ms = min(care.horizon_ms, within.to_ms - at_ms)
    rest_ms = within.to_ms - at_ms - horizon_ms
    needed = now.spent + accrued(burn, horizon_ms) + accrued(storage, rest_ms)
    return NanoUsd(max(needed, accrued(storage, within.to_ms - within.from_ms)))


def acts_at_ms(limit: Limit, now: Spending, at_ms: int, care: Care) -> int | None:
    """When to look at a limit again: when it is reached, or when its window ends.

    None when nothing runs that could reach it. For a limit that stops, reached means that what is
    left is what storage needs until the window ends.
    """
    if now.burn == 0:
        return None
    reached_ms = reached_at_ms(limit, now, at_ms, care)
    ends_ms = limit.window(at_ms).to_ms
    moments = [moment for moment in (reached_ms, ends_ms) if moment is not None]
    return min(moments, default=None)


def reached_at_ms(limit: Limit, now: Spending, at_ms: int, care: Care) -> int | None:
    """When a limit is reached at the present burn; before `at_ms` when it was passed.

    None when it is not reached in this window, or so late that no calendar reaches that far.
    """
    within = limit.window(at_ms)
    left, drawn = limit.amount - now.spent, int(now.burn)
    if limit.action is Action.STOP and now.burn > now.storage_burn:
        if within.to_ms is None:
            left -= accrued(now.storage_burn, care.deletion_buffer_ms)
        else:
            left -= accrued(now.storage_burn, within.to_ms - at_ms)
            drawn -= now.storage_burn
    if drawn == 0:
        return None
    reached_ms = at_ms + left * MS_PER_HOUR // drawn
    return reached_ms if reached_ms < (within.to_ms or FOREVER_MS) else None


def told(limit: Limit) -> str:
    """A limit in words: `$5.00 a day on instance 7`."""
    per = "in total" if limit.period is Period.TOTAL else f"per {limit.period.value}"
    where = (
        "the account" if limit.scope is Scope.ACCOUNT else f"{limit.scope.value} {limit.scope_id}"
    )
    return f"${dollars(limit.amount):.2f} {per} on {where}"
