"""Money as a function of time: meters are opened and closed, and nothing is written in between.

A meter is a segment: one rate from one moment on. It is written when it opens and when it closes,
and then its charge is posted as a transfer named after the segment and what was posted before, so
that a repeated posting moves nothing. In between, what an account can still spend is computed:
what is in its purse, less what its open meters have run up to.

Whoever touches an account's meters stands in the account's queue (`Tx.queue`).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import limiting
from mercato.control.flows.charging import charge, move
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import (
    burns,
    contracts,
    deposits,
    events,
    instances,
    limits,
    purses,
    segments,
)
from mercato.control.store.events import Event
from mercato.market import credit, meter
from mercato.market.contract import Contract, Kind
from mercato.market.credit import Position
from mercato.market.errors import InsufficientCredit, SpendingLimitReached
from mercato.market.ids import AccountId
from mercato.market.instance import Reason
from mercato.market.ledger import credit_of, deposit_of, earnings_of
from mercato.market.limits import Scope
from mercato.market.meter import Segment, last_covered_ms
from mercato.market.money import (
    MS_PER_HOUR,
    NanoUsd,
    NanoUsdPerHour,
    accrued,
    dollars,
    transfer_cost,
)
from mercato.market.reserving import discounted
from mercato.market.usage import Metered, Moved, cost

GPU: Final = meter.GPU
DISK: Final = meter.DISK


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has, truthfully, at one moment."""

    purse: NanoUsd
    """Credit less what has been posted."""
    spendable: NanoUsd
    """The same less what open meters have run up to (`Position.spendable`)."""
    earnings: NanoUsd
    burn: NanoUsdPerHour
    """What its open meters draw from credit in an hour."""
    storage_burn: NanoUsdPerHour
    """The part of it that goes on while instances are stopped."""
    dry_at_ms: int | None
    """When nothing will be left at this burn; None when it costs nothing."""


# --- Meters ---------------------------------------------------------------------------------------


def open_meter(tx: Tx, contract: Contract, kind: str, from_ms: int) -> bool:
    """Start the meter of a contract's GPUs or disk; False when it runs already."""
    if segments.running(tx, contract.id, kind) is not None:
        return False
    tx.queue(f"account:{contract.renter}")
    listed = contract.terms.gpu if kind == GPU else contract.terms.storage
    deposit = deposits.of_contract(tx, contract.id)
    segments.start(
        tx,
        contract.id,
        contract.renter,
        kind,
        rate=listed if deposit is None else discounted(listed, deposit.discount_ppb),
        list_rate=listed,
        prepaid=deposit is not None,
        from_ms=from_ms,
    )
    return True


def close_meter(tx: Tx, contract: Contract, kind: str, to_ms: int, now_ms: int) -> bool:
    """Stop a meter at `to_ms`, or where it began when that is later, and post what it came to.

    Returns:
        False when it did not run.
    """
    return _close(tx, contract, kind, to_ms, now_ms) is not None


def reprice(tx: Tx, before: Contract, after: Contract, at_ms: int, now_ms: int) -> None:
    """Have the running meters of a contract go on at its amended rates from `at_ms` on."""
    post_bytes(tx, before, now_ms)
    for kind in (GPU, DISK):
        ended_ms = _close(tx, before, kind, at_ms, now_ms)
        if ended_ms is not None:
            open_meter(tx, after, kind, ended_ms)
    forecast(tx, after.renter, now_ms)


def settle(tx: Tx, contract: Contract, to_ms: int, now_ms: int) -> int:
    """Post what has run up and goes on; how many transfers that took. Needed only now and then."""
    tx.queue(f"account:{contract.renter}")
    posted = 0
    for kind in (GPU, DISK):
        segment = _running(tx, contract, kind, to_ms, now_ms)
        if segment is not None:
            posted += _post(tx, contract, segment, max(to_ms, segment.from_ms), now_ms)
    return posted + post_bytes(tx, contract, now_ms)


def use_up(tx: Tx, contract: Contract, to_ms: int, now_ms: int) -> bool:
    """Go on at the full price from the moment at which a contract's deposit was used up.

    Returns:
        False when it lasts until `to_ms`, or there is none.
    """
    tx.queue(f"account:{contract.renter}")
    running = [
        segment
        for kind in (GPU, DISK)
        if (segment := segments.running(tx, contract.id, kind)) is not None and segment.prepaid
    ]
    left = purses.balance(tx, deposit_of(contract.id))
    end_ms = last_covered_ms(left, running)
    if end_ms is None or end_ms >= to_ms:
        return False
    ended = [(segment.kind, _stop(tx, contract, segment, end_ms, now_ms)) for segment in running]
    end_deposit(tx, contract, now_ms)
    for kind, ended_ms in ended:
        open_meter(tx, contract, kind, ended_ms)
    events.record(
        tx,
        Event(
            account_id=contract.renter,
            contract_id=contract.id,
            kind="deposit_used_up",
            message="What was prepaid is used up; it goes on at the full price from your credit.",
            at_ms=now_ms,
        ),
    )
    return True


def end_deposit(tx: Tx, contract: Contract, now_ms: int) -> None:
    """Give back what is in a contract's deposit; it is on demand again."""
    left = purses.balance(tx, deposit_of(contract.id))
    deposit = deposits.of_contract(tx, contract.id)
    assert deposit is not None, contract
    if left > 0:
        move(
            tx,
            contract,
            NanoUsd(left),
            cause=f"refund:{contract.id}:{deposit.since_ms}",
            between=(deposit_of(contract.id), credit_of(contract.renter)),
            kind="refund",
            now_ms=now_ms,
        )
    deposits.end(tx, contract.id)
    terms = msgspec.structs.replace(contract.terms, kind=Kind.ON_DEMAND)
    contracts.amend(tx, contract.id, terms, "reservation", now_ms)


def post_bytes(tx: Tx, contract: Contract, now_ms: int) -> int:
    """Charge for the bytes an instance moved since they were last charged, what can be borne."""
    instance = instances.get(tx, contract.id)
    if instance is None:
        return 0
    posted = 0
    for way, price, total, before in (
        ("up", contract.terms.up, instance.up_bytes, instance.up_bytes_posted),
        ("down", contract.terms.down, instance.down_bytes, instance.down_bytes_posted),
    ):
        use = Moved(item=way, price=price, from_bytes=before, to_bytes=total)
        cause = f"bytes:{contract.id}:{way}:{before}"
        owed = cost(use)
        if owed > 0:
            free = max(0, timed(tx, contract.renter, now_ms).spendable)
            kept = _left_in_deposit(tx, contract, now_ms)
            # Bytes are not what was prepaid, but who prepaid all its credit pays for them too.
            prepaid = free < min(kept, owed)
            room = limiting.left(tx, contract, now_ms)
            allowed = NanoUsd(min(kept if prepaid else free, owed if room is None else room))
            charge(tx, contract, use, prepaid=prepaid, cause=cause, now_ms=now_ms, allowed=allowed)
            posted += 1
    if (instance.up_bytes, instance.down_bytes) != (
        instance.up_bytes_posted,
        instance.down_bytes_posted,
    ):
        instances.posted_bytes(tx, contract.id, instance.up_bytes, instance.down_bytes)
    return posted


def _left_in_deposit(tx: Tx, contract: Contract, now_ms: int) -> NanoUsd:
    """What of a contract's deposit its own meters have not run up; 0 when it has none."""
    if deposits.of_contract(tx, contract.id) is None:
        return NanoUsd(0)
    meters = [segments.running(tx, contract.id, kind) for kind in (GPU, DISK)]
    drawn = sum(one.unposted(now_ms) for one in meters if one is not None and one.prepaid)
    return NanoUsd(max(0, purses.balance(tx, deposit_of(contract.id)) - drawn))


def _close(tx: Tx, contract: Contract, kind: str, to_ms: int, now_ms: int) -> int | None:
    """Stop a meter and post what it came to; the moment up to which it was charged."""
    segment = _running(tx, contract, kind, to_ms, now_ms)
    return None if segment is None else _stop(tx, contract, segment, to_ms, now_ms)


def _stop(tx: Tx, contract: Contract, segment: Segment, to_ms: int, now_ms: int) -> int:
    end_ms = max(to_ms, segment.from_ms, segment.posted_until_ms)
    segments.stop(tx, segment.id, end_ms)
    _post(tx, contract, segment, end_ms, now_ms)
    return end_ms


def _running(tx: Tx, contract: Contract, kind: str, to_ms: int, now_ms: int) -> Segment | None:
    """The running meter that will be charged until `to_ms`: at the full price once it is due."""
    segment = segments.running(tx, contract.id, kind)
    if segment is None:
        return None
    tx.queue(f"account:{contract.renter}")
    if segment.prepaid and use_up(tx, contract, to_ms, now_ms):
        return segments.running(tx, contract.id, kind)
    return segment


def _post(tx: Tx, contract: Contract, segment: Segment, to_ms: int, now_ms: int) -> int:
    use = Metered(
        item=segment.kind,
        meter=segment.id,
        rate=segment.rate,
        from_ms=segment.from_ms,
        to_ms=to_ms,
        posted_before=segment.posted,
    )
    cause = f"segment:{segment.id}:{segment.posted}"
    amount = charge(tx, contract, use, prepaid=segment.prepaid, cause=cause, now_ms=now_ms)
    if amount > 0:
        segments.posted(tx, segment.id, NanoUsd(segment.posted + amount))
    return int(amount > 0)


# --- What an account has --------------------------------------------------------------------------


def position(tx: Tx, account: AccountId, now_ms: int) -> Position:
    """What an account can spend at `now_ms`, what draws on it, and what soon will.

    Bytes that were not charged yet take what is left, and no more: nobody owes the rest.
    """
    now = timed(tx, account, now_ms)
    bytes_take = min(_unposted_bytes(tx, account), max(0, now.spendable))
    return msgspec.structs.replace(now, spendable=NanoUsd(now.spendable - bytes_take))


def timed(tx: Tx, account: AccountId, now_ms: int) -> Position:
    """The same but for bytes that were not charged yet: what time alone has come to."""
    running = segments.running_of(tx, account)
    purse = purses.balance(tx, credit_of(account))
    left = deposits.left(tx, account) if any(meter.prepaid for meter in running) else {}
    return credit.position(purse, running, left, now_ms)


def balance(tx: Tx, account: AccountId, now_ms: int) -> Balance:
    """What an account has at `now_ms`."""
    now = position(tx, account, now_ms)
    return Balance(
        purse=NanoUsd(purses.balance(tx, credit_of(account))),
        spendable=now.spendable,
        earnings=NanoUsd(purses.balance(tx, earnings_of(account))),
        burn=now.burn,
        storage_burn=now.storage_burn,
        dry_at_ms=now.falls_to_ms(0),
    )


def forecast(tx: Tx, account: AccountId, now_ms: int, rules: Rules = STANDARD) -> None:
    """Write when the credit loop must act; called whenever the burn or the purse changed.

    That is when credit has run down to what is kept for the account's data (to nothing, when only
    storage runs) or to a threshold of the account's own; and for each deposit, when it is used up.
    """
    now = position(tx, account, now_ms)
    burns.rose(tx, account, now.spendable)
    acts_ms = credit.acts_at_ms(now, burns.thresholds(tx, account), rules.credit)
    burns.write(tx, account, now.burn, acts_ms)
    deposits.forecast(tx, account, {deposit.contract: deposit.ends_ms for deposit in now.due})
    limiting.forecast(tx, account, now_ms, rules)
    tx.poke("loop:credit")


class NewRates(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is about to owe by the hour, on top of what already runs."""

    gpu: int = 0
    storage: int = 0
    scopes: Mapping[Scope, int] = {}
    """On whose behalf, beside the account's: their spending limits are asked as well."""


def require_credit(
    tx: Tx, account: AccountId, new: NewRates, now_ms: int, rules: Rules = STANDARD
) -> None:
    """See that an account can cover the horizon of its whole burn, and the deletion buffer.

    Raises:
        InsufficientCredit: with the figures, when it cannot.
        SpendingLimitReached: when a limit that it set for itself cannot.
    """
    tx.queue(f"account:{account}")
    if new.gpu == 0 and new.storage == 0:
        return
    now = position(tx, account, now_ms)
    burn, needed = _needed(tx, account, now, new, rules)
    if now.spendable < needed:
        raise InsufficientCredit(
            f"This would cost ${dollars(burn):.4f}/h in all; starting needs "
            f"${dollars(needed):.4f} of credit ({rules.horizon_ms / MS_PER_HOUR:g} h of it and "
            f"{rules.deletion_buffer_ms / MS_PER_HOUR:g} h of storage), and the account has "
            f"${dollars(now.spendable):.4f}. Add credit first."
        )
    limiting.require(
        tx,
        account,
        new.scopes,
        gpu=new.gpu,
        storage=new.storage,
        now_ms=now_ms,
        rules=rules,
    )


def uncommitted(tx: Tx, account: AccountId, now_ms: int, rules: Rules = STANDARD) -> NanoUsd:
    """What of an account's credit nothing that runs, or was told to run, needs within the horizon.

    Below zero when what runs is no longer covered.
    """
    now = position(tx, account, now_ms)
    _, needed = _needed(tx, account, now, NewRates(), rules)
    return NanoUsd(now.spendable - needed)


def unaffordable(tx: Tx, contract: Contract, now_ms: int, rules: Rules = STANDARD) -> Reason | None:
    """Why a contract that was told to run cannot be given its GPUs now; None when it can.

    Credit is no question while a deposit pays for them.
    """
    draws = gpu_on_credit(tx, contract, rules) > 0
    if draws and uncommitted(tx, contract.renter, now_ms, rules) < 0:
        return Reason.NO_CREDIT
    scopes = limits.scopes_of(tx, contract.id)
    try:
        limiting.require(tx, contract.renter, scopes, gpu=0, storage=0, now_ms=now_ms, rules=rules)
    except SpendingLimitReached:
        return Reason.SPENDING_LIMIT
    return None


def _needed(
    tx: Tx, account: AccountId, now: Position, new: NewRates, rules: Rules
) -> tuple[NanoUsdPerHour, NanoUsd]:
    """The burn that an account would have, and the credit that must cover it."""
    promised = _promised_gpu(tx, account, rules)
    burn = NanoUsdPerHour(now.burn_within(rules.horizon_ms) + promised + new.gpu + new.storage)
    storage = NanoUsdPerHour(now.storage_burn + new.storage)
    horizon, buffer = rules.horizon_ms, rules.deletion_buffer_ms
    return burn, NanoUsd(accrued(burn, horizon) + accrued(storage, buffer))


def gpu_on_credit(tx: Tx, contract: Contract, rules: Rules) -> NanoUsdPerHour:
    """What a contract's GPUs draw on credit in an hour; nothing while its deposit lasts."""
    if contract.terms.kind is not Kind.RESERVED:
        return contract.terms.gpu
    deposit = deposits.of_contract(tx, contract.id)
    if deposit is None:
        return contract.terms.gpu
    hourly = NanoUsdPerHour(contract.terms.gpu + contract.terms.storage)
    covered = accrued(discounted(hourly, deposit.discount_ppb), rules.horizon_ms)
    left = purses.balance(tx, deposit_of(contract.id))
    return NanoUsdPerHour(0) if left >= covered else contract.terms.gpu


def _promised_gpu(tx: Tx, account: AccountId, rules: Rules) -> int:
    """GPU rates of what is told to run and does not bill yet: they will."""
    rows = tx.all(
        "select i.id, c.gpu_rate, c.kind from instances i"
        " join contracts_now c on c.id = i.id where i.renter_id = %s and i.intended = 'running'"
        " and i.destroyed_at_ms is null and not exists (select from segments s"
        " where s.contract_id = i.id and s.kind = 'gpu' and s.to_ms is null)",
        account,
    )
    return sum(
        gpu_on_credit(tx, contracts.get(tx, row["id"]), rules)
        if row["kind"] == Kind.RESERVED
        else int(row["gpu_rate"])
        for row in rows
    )


def _unposted_bytes(tx: Tx, account: AccountId) -> int:
    rows = tx.all(
        "select i.up_bytes, i.up_bytes_posted, i.down_bytes, i.down_bytes_posted, c.up_price,"
        " c.down_price from instances i join contracts_now c on c.id = i.id where i.renter_id = %s"
        " and i.destroyed_at_ms is null"
        " and (i.up_bytes, i.down_bytes) <> (i.up_bytes_posted, i.down_bytes_posted)",
        account,
    )
    return sum(
        transfer_cost(row[f"{way}_price"], row[f"{way}_bytes"])
        - transfer_cost(row[f"{way}_price"], row[f"{way}_bytes_posted"])
        for row in rows
        for way in ("up", "down")
    )
