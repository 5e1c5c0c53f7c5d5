"""Spending limits: how much an account lets itself spend, on what, in which time."""

from typing import Any

import msgspec

from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.caller import Caller
from mercato.control.api.keys import ById
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import limiting
from mercato.control.flows.house import Rules
from mercato.control.store import limits, teams
from mercato.market import errors
from mercato.market.ids import AccountId
from mercato.market.limits import Action, Limit, Period, Scope, reached_at_ms
from mercato.market.money import NanoUsd, dollars, nano
from mercato.market.team import Kind

AMOUNT_MAX = 1e8


class LimitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A spending limit and how much of it is used; dollars, seconds since the epoch."""

    id: int
    scope: Scope
    scope_id: int
    period: Period
    amount: float
    action: Action
    spent: float
    """Since `window_start`."""
    remaining: float
    window_start: float
    window_end: float | None
    """When it begins anew; null when it does not."""
    reached_at: float | None
    """When it will be reached at the present rates; null when it will not in this window."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Every spending limit of the account."""

    success: bool = True
    limits: list[LimitRow]


class OneLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A spending limit that was set."""

    success: bool = True
    limit: LimitRow


class NewLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that is wanted."""

    amount: float
    period: Period
    scope: Scope = Scope.ACCOUNT
    scope_id: int | None = None
    """The API key, member, instance or endpoint; not needed for the account."""
    action: Action = Action.STOP


class OtherLimit(msgspec.Struct, frozen=True, kw_only=True):
    """Another amount or action for a limit."""

    id: int
    amount: float | None = None
    action: Action | None = None


async def list_limits(call: Call, asked: Nothing) -> Limits:  # noqa: ARG001 - nothing is asked
    """List the account's spending limits and how much of each is used."""
    rules = call.services.house.rules
    return Limits(limits=await call.services.db.run(rows, call.account, call.now_ms, rules))


def rows(tx: Tx, account: AccountId, now_ms: int, rules: Rules) -> list[LimitRow]:
    """Every spending limit of an account and how much of it is used."""
    return [_row(tx, limit, now_ms, rules) for limit in limits.of_account(tx, account)]


def _row(tx: Tx, limit: Limit, now_ms: int, rules: Rules) -> LimitRow:
    now, within = limiting.spending(tx, limit, now_ms), limit.window(now_ms)
    facts: dict[str, Any] = {
        "id": limit.id,
        "scope": limit.scope,
        "scope_id": limit.scope_id,
        "period": limit.period,
        "amount": dollars(limit.amount),
        "action": limit.action,
        "spent": dollars(now.spent),
        "remaining": dollars(max(0, limit.amount - now.spent)),
        "window_start": seconds(within.from_ms),
        "window_end": seconds(within.to_ms),
        "reached_at": seconds(reached_at_ms(limit, now, now_ms, limiting.care(rules))),
    }
    return LimitRow(**facts)


async def set_limit(call: Call, asked: NewLimit) -> OneLimit:
    """Set a spending limit on the account, an API key, a member, an instance or an endpoint."""
    number = int(call.account) if asked.scope is Scope.ACCOUNT else asked.scope_id
    if number is None:
        raise errors.InvalidRequest(f"scope_id must name the {asked.scope.value}.")
    wish = limiting.Wish(
        scope=asked.scope,
        scope_id=number,
        period=asked.period,
        amount=_nano(asked.amount),
        action=asked.action,
    )
    row = await call.services.db.run(
        _set, call.account, call.who, wish, call.now_ms, call.services.house.rules
    )
    return OneLimit(limit=row)


def _set(
    tx: Tx, account: AccountId, who: Caller, wish: limiting.Wish, now_ms: int, rules: Rules
) -> LimitRow:
    _may(tx, account, who)
    return _row(tx, limiting.set_limit(tx, account, wish, now_ms, rules), now_ms, rules)


async def change_limit(call: Call, asked: OtherLimit) -> OneLimit:
    """Give a spending limit another amount or action."""
    row = await call.services.db.run(
        _change, call.account, call.who, asked, call.now_ms, call.services.house.rules
    )
    return OneLimit(limit=row)


def _change(
    tx: Tx, account: AccountId, who: Caller, asked: OtherLimit, now_ms: int, rules: Rules
) -> LimitRow:
    _may(tx, account, who)
    before = limiting.mine(tx, account, asked.id)
    amount = before.amount if asked.amount is None else _nano(asked.amount)
    action = before.action if asked.action is None else asked.action
    changed = limiting.change(tx, account, asked.id, amount, action, now_ms, rules)
    return _row(tx, changed, now_ms, rules)


async def remove_limit(call: Call, asked: ById) -> Done:
    """Take a spending limit away."""
    await call.services.db.run(_remove, call.account, call.who, asked.id, call.now_ms)
    return Done(msg=f"Spending limit {asked.id} is taken away.")


def _remove(tx: Tx, account: AccountId, who: Caller, limit: int, now_ms: int) -> None:
    _may(tx, account, who)
    limiting.remove(tx, account, limit, now_ms)


def _may(tx: Tx, account: AccountId, who: Caller) -> None:
    """Who is limited cannot lift limits: they would hold nobody. A team's owner always can."""
    mine = set(who.scopes.items())
    role = None if who.member is None else teams.role_of(tx, account, who.member)
    if role is not None and role.kind is Kind.OWNER:
        mine = {(Scope.KEY, int(who.key))}
    for limit in limits.of_account(tx, account):
        if (limit.scope, limit.scope_id) in mine:
            what = "This API key has" if limit.scope is Scope.KEY else "You have"
            raise errors.NotPermitted(
                f"{what} a spending limit and cannot change limits; use another key, or ask whoever"
                " set it."
            )


def _nano(amount: float) -> NanoUsd:
    if not 0 < amount <= AMOUNT_MAX:
        raise errors.InvalidPrice(f"amount must be above 0 and at most {AMOUNT_MAX:g} dollars.")
    return NanoUsd(nano(amount))
