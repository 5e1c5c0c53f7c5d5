"""Spending limits: set, asked before time is granted, and kept by a moment to stop at.

What a limit lets run is decided by market/limits.py from what was spent and what runs. Nothing is
reserved in a row: the account's queue orders whoever asks, and what was granted before is seen as
running or told to run. When a limit will be reached is written whenever a rate changes, beside the
moment at which credit runs dry (metering.forecast); flows/enforcing.py acts on it.
"""

from collections.abc import Callable, Mapping
from typing import Concatenate, Final, ParamSpec, TypeVar

import msgspec

from mercato.control.db import Tx
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import api_keys, contracts, limits, teams
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.ids import AccountId, ContractId
from mercato.market.limits import (
    Action,
    Care,
    Limit,
    Period,
    Scope,
    Spending,
    acts_at_ms,
    needs,
    told,
)
from mercato.market.money import MS_PER_HOUR, NanoUsd, dollars, nano

P = ParamSpec("P")
T = TypeVar("T")

LIMITS_MAX: Final = 100
"""Of one account: every grant asks all that cover it."""

AMOUNT_MAX: Final = nano(100_000_000)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that somebody wants."""

    scope: Scope
    scope_id: int
    period: Period
    amount: NanoUsd
    action: Action


def care(rules: Rules) -> Care:
    """How far ahead the house's rules have a limit cover what it lets run."""
    return Care(horizon_ms=rules.horizon_ms, deletion_buffer_ms=rules.deletion_buffer_ms)


# --- Setting --------------------------------------------------------------------------------------


def set_limit(
    tx: Tx, account: AccountId, wish: Wish, now_ms: int, rules: Rules = STANDARD
) -> Limit:
    """Set a limit; one on the same thing and period with the same action takes the new amount.

    Raises:
        InvalidPrice: when the amount cannot be, or storage alone would pass it.
        NotFound: when what it is set on is not the account's.
        TooMany: when the account has too many.
    """
    _check(tx, account, wish)
    tx.queue(f"account:{account}")
    standing = limits.of_account(tx, account)
    for one in standing:
        if (one.scope, one.scope_id, one.period, one.action) == (
            wish.scope,
            wish.scope_id,
            wish.period,
            wish.action,
        ):
            return change(tx, account, one.id, wish.amount, one.action, now_ms, rules)
    if len(standing) >= LIMITS_MAX:
        raise errors.TooMany(f"An account has at most {LIMITS_MAX} spending limits.")
    made = limits.create(
        tx,
        Limit(
            id=0,
            account_id=account,
            scope=wish.scope,
            scope_id=wish.scope_id,
            period=wish.period,
            amount=wish.amount,
            action=wish.action,
            set_at_ms=now_ms,
        ),
    )
    _check_storage(tx, made, now_ms, rules)
    forecast(tx, account, now_ms, rules)
    return made


def change(
    tx: Tx,
    account: AccountId,
    limit_id: int,
    amount: NanoUsd,
    action: Action,
    now_ms: int,
    rules: Rules = STANDARD,
) -> Limit:
    """Give a limit another amount or action; what is spent stays spent.

    Raises:
        NotFound: when the account has no such limit.
        InvalidPrice: when the amount cannot be, or storage alone would pass it.
    """
    before = mine(tx, account, limit_id)
    _check_amount(amount)
    changed = msgspec.structs.replace(before, amount=amount, action=action)
    _check_storage(tx, changed, now_ms, rules)
    limits.change(tx, changed)
    forecast(tx, account, now_ms, rules)
    return changed


def remove(tx: Tx, account: AccountId, limit_id: int, now_ms: int) -> None:
    """Have a limit stand no longer.

    Raises:
        NotFound: when the account has no such limit.
    """
    limits.delete(tx, mine(tx, account, limit_id).id, now_ms)


def mine(tx: Tx, account: AccountId, limit_id: int) -> Limit:
    """The account's limit, with the account's queue held."""
    tx.queue(f"account:{account}")
    found = limits.get(tx, limit_id)
    if found is None or found.account_id != account:
        raise errors.NotFound(f"You have no spending limit {limit_id}.")
    return found


def _check(tx: Tx, account: AccountId, wish: Wish) -> None:
    _check_amount(wish.amount)
    if not _owns(tx, account, wish.scope, wish.scope_id):
        raise errors.NotFound(f"You have no {wish.scope.value} {wish.scope_id} to set a limit on.")


def _owns(tx: Tx, account: AccountId, scope: Scope, number: int) -> bool:
    match scope:
        case Scope.ACCOUNT:
            return number == account
        case Scope.KEY:
            return any(key.id == number for key in api_keys.of_account(tx, account))
        case Scope.MEMBER:
            return teams.role_of(tx, account, AccountId(number)) is not None
        case Scope.INSTANCE:
            return number in contracts.live_of(tx, account)
        case Scope.ENDPOINT:
            query = "select from endpoints where id = %s and account_id = %s"
            return tx.one(query, number, account) is not None


def _check_amount(amount: NanoUsd) -> None:
    if not 0 < amount <= AMOUNT_MAX:
        raise errors.InvalidPrice(
            f"A limit is above 0 and at most {dollars(AMOUNT_MAX):,.0f} dollars."
        )


def _check_storage(tx: Tx, limit: Limit, now_ms: int, rules: Rules) -> None:
    """Storage goes on when all is stopped: a limit that it alone would pass could not be kept."""
    if limit.action is not Action.STOP:
        return
    now = spending(tx, limit, now_ms)
    bare = Spending(spent=NanoUsd(0), burn=now.storage_burn, storage_burn=now.storage_burn)
    needed = needs(limit, bare, 0, 0, limit.window(now_ms).from_ms, care(rules))
    if needed > limit.amount:
        raise errors.InvalidPrice(
            f"Storage alone needs ${dollars(needed):.4f} of {told(limit)}; set at least that, or "
            "destroy what you no longer need first."
        )


# --- Asking ---------------------------------------------------------------------------------------


def spending(tx: Tx, limit: Limit, now_ms: int) -> Spending:
    """What was spent on a limit in its present window, and what draws on it."""
    return limits.spending(tx, limit, limit.window(now_ms).from_ms, now_ms)


def require(
    tx: Tx,
    account: AccountId,
    scopes: Mapping[Scope, int],
    *,
    gpu: int,
    storage: int,
    now_ms: int,
    rules: Rules = STANDARD,
) -> None:
    """See that every limit over something new can cover it; the account's queue is held.

    Raises:
        SpendingLimitReached: naming the limit, with the figures, when one cannot.
    """
    covering = {Scope.ACCOUNT: int(account), **scopes}
    for limit in limits.of_account(tx, account):
        if limit.action is not Action.STOP or covering.get(limit.scope) != limit.scope_id:
            continue
        now = spending(tx, limit, now_ms)
        needed = needs(limit, now, gpu, storage, now_ms, care(rules))
        if needed > limit.amount:
            raise errors.SpendingLimitReached(
                f"The spending limit of {told(limit)} cannot cover it: ${dollars(now.spent):.4f} "
                f"are spent, and ${dollars(needed):.4f} would be with the next "
                f"{rules.horizon_ms / MS_PER_HOUR:g} h of what runs and its storage. Raise limit "
                f"{limit.id}, or wait until it begins anew."
            )


def require_unlimited(tx: Tx, account: AccountId, scopes: Mapping[Scope, int]) -> None:
    """See that a caller may do what would let it spend more than the limits on it say.

    `scopes`: on whose behalf it acts in the account.

    Raises:
        NotPermitted: when one of them has a limit.
    """
    for limit in limits.of_account(tx, account):
        if scopes.get(limit.scope) == limit.scope_id:
            who = "This API key has" if limit.scope is Scope.KEY else "You have"
            raise errors.NotPermitted(
                f"{who} a spending limit: a limited key makes no other, nor itself anew, and who"
                " is limited gives no credit away. Use another key, or ask who set it."
            )


def answers_for(
    tx: Tx, account: AccountId, scopes: Mapping[Scope, int], contract: ContractId
) -> None:
    """See that what a contract costs counts towards every limit that a caller is under.

    `scopes`: on whose behalf the caller acts.

    Raises:
        NotPermitted: when a limit that stops them would not be asked.
    """
    limit = not_counted(tx, account, scopes, limits.scopes_of(tx, contract))
    if limit is not None:
        raise errors.NotPermitted(
            f"There is a spending limit on {limit.scope.value} {limit.scope_id}, and contract"
            f" {contract} does not count towards it, as another signed it: rent one of your"
            " own, or have it done by who is not limited."
        )


def not_counted(
    tx: Tx, account: AccountId, scopes: Mapping[Scope, int], counted: Mapping[Scope, int]
) -> Limit | None:
    """A limit that stops a caller, and that what counts towards `counted` does not count towards.

    `scopes`: on whose behalf the caller acts. None when there is no such limit.
    """
    elsewhere = scopes.items() - counted.items()
    found = limits.of_account(tx, account) if elsewhere else ()
    stopping = (one for one in found if one.action is Action.STOP)
    return next((one for one in stopping if (one.scope, one.scope_id) in elsewhere), None)


def on_behalf(
    scopes: Mapping[Scope, int],
    flow: Callable[Concatenate[Tx, AccountId, ContractId, P], T],
) -> Callable[Concatenate[Tx, AccountId, ContractId, P], T]:
    """A flow that can have a contract cost more, for a caller who must answer for what it costs.

    `scopes`: on whose behalf the caller acts. A lower price anybody may ask for. What the flow
    refuses it refuses first; it is undone when the caller may not (`answers_for`).
    """

    def answered(
        tx: Tx, account: AccountId, contract: ContractId, /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        before = contracts.find(tx, contract)
        done = flow(tx, account, contract, *args, **kwargs)
        if before is None or contracts.get(tx, contract).terms.gpu >= before.terms.gpu:
            answers_for(tx, account, scopes, contract)
        return done

    return answered


def left(tx: Tx, contract: Contract, now_ms: int) -> NanoUsd | None:
    """What a contract may still be charged for traffic that has moved; None when all of it.

    What passes a limit its renter does not pay: nobody could stop bytes that nobody had counted.
    """
    standing = [one for one in limits.of_account(tx, contract.renter) if one.action is Action.STOP]
    if not standing:
        return None
    scopes = {Scope.ACCOUNT: int(contract.renter), **limits.scopes_of(tx, contract.id)}
    rooms = []
    for limit in standing:
        if scopes.get(limit.scope) == limit.scope_id:
            now = spending(tx, limit, now_ms)
            rooms.append(limit.amount - (now.spent - now.uncharged))
    return NanoUsd(max(0, min(rooms))) if rooms else None


def forecast(tx: Tx, account: AccountId, now_ms: int, rules: Rules = STANDARD) -> None:
    """Write when each of an account's limits must be looked at; called as metering.forecast is.

    One that is due stays so until somebody has looked: what it had to stop ends at that moment.
    """
    for limit in limits.of_account(tx, account):
        due_ms = limits.looked_at_next(tx, limit.id)
        if due_ms is None or due_ms > now_ms:
            now = spending(tx, limit, now_ms)
            at_ms = acts_at_ms(limit, now, now_ms, care(rules))
            # What it would have stopped before it was so is not taken back.
            limits.look_at(tx, limit.id, None if at_ms is None else max(at_ms, now_ms))
        tx.poke("loop:limits")
