"""Money as a function of time: meters are opened and closed, and nothing is written in between.

A meter is a segment: one rate from one moment on. It is written when it opens and when it closes,
and then its charge is posted as a transfer named after the segment and what was posted before, so
that a repeated posting moves nothing. In between, what an account can still spend is computed:
what is in its purse, less what its open meters have run up to.

Whoever touches an account's meters stands in the account's queue (`Tx.queue`).
"""

from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import burns, instances, purses, segments, transfers
from mercato.control.store.segments import StoredSegment
from mercato.control.store.transfers import StoredTransfer
from mercato.market.contract import Contract
from mercato.market.errors import InsufficientCredit
from mercato.market.ids import AccountId, Cause, ContractId
from mercato.market.money import (
    MS_PER_HOUR,
    NanoUsd,
    NanoUsdPerHour,
    accrued,
    dollars,
    fee_of,
    transfer_cost,
)

GPU: Final = "gpu"
DISK: Final = "disk"


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has, truthfully, at one moment."""

    purse: NanoUsd
    """Credit less what has been posted."""
    spendable: NanoUsd
    """The same less what open meters have run up to; may be a little below zero when credit ran
    out between two looks: the house makes good for it when the meters close."""
    earnings: NanoUsd
    burn: NanoUsdPerHour
    """What all its open meters cost an hour."""
    storage_burn: NanoUsdPerHour
    """The part of it that goes on while instances are stopped."""
    dry_at_ms: int | None
    """When nothing will be left at this burn; None when it costs nothing."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a bill. Lines of adjoining ranges sum exactly to what is charged in all."""

    contract: ContractId
    kind: str
    """`gpu`, `disk`, `up` or `down`."""
    start_ms: int
    end_ms: int
    quantity: float
    """Hours for `gpu` and `disk`, bytes for `up` and `down`."""
    rate: int
    """Nano-dollars for an hour, or for a gigabyte."""
    amount: NanoUsd


# --- Meters ---------------------------------------------------------------------------------------


def open_meter(tx: Tx, contract: Contract, kind: str, from_ms: int) -> bool:
    """Start the meter of a contract's GPUs or disk; False when it runs already."""
    if segments.running(tx, contract.id, kind) is not None:
        return False
    tx.queue(f"account:{contract.renter}")
    rate = contract.terms.gpu if kind == GPU else contract.terms.storage
    segments.start(tx, contract.id, contract.renter, kind, rate, from_ms)
    return True


def close_meter(tx: Tx, contract: Contract, kind: str, to_ms: int, now_ms: int) -> bool:
    """Stop a meter at `to_ms`, or where it began when that is later, and post what it came to.

    Returns:
        False when it did not run.
    """
    return _close(tx, contract, kind, to_ms, now_ms) is not None


def _close(tx: Tx, contract: Contract, kind: str, to_ms: int, now_ms: int) -> int | None:
    """The same; the moment up to which it was charged."""
    segment = segments.running(tx, contract.id, kind)
    if segment is None:
        return None
    tx.queue(f"account:{contract.renter}")
    end_ms = max(to_ms, segment.from_ms, _posted_until(segment))
    segments.stop(tx, segment.id, end_ms)
    _post_segment(tx, contract, segment, end_ms, now_ms)
    return end_ms


def reprice(tx: Tx, before: Contract, after: Contract, at_ms: int, now_ms: int) -> None:
    """Have the running meters of a contract go on at its amended rates from `at_ms` on."""
    post_bytes(tx, before, now_ms)
    for kind in (GPU, DISK):
        ended_ms = _close(tx, before, kind, at_ms, now_ms)
        if ended_ms is not None:
            open_meter(tx, after, kind, ended_ms)
    forecast(tx, after.renter, now_ms)


def settle(tx: Tx, contract: Contract, now_ms: int) -> int:
    """Post what has run up and goes on; how many transfers that took. Needed only now and then."""
    tx.queue(f"account:{contract.renter}")
    posted = 0
    for kind in (GPU, DISK):
        segment = segments.running(tx, contract.id, kind)
        if segment is not None:
            posted += _post_segment(tx, contract, segment, max(now_ms, segment.from_ms), now_ms)
    return posted + post_bytes(tx, contract, now_ms)


def post_bytes(tx: Tx, contract: Contract, now_ms: int) -> int:
    """Charge for the bytes an instance moved since they were last charged."""
    instance = instances.get(tx, contract.id)
    if instance is None:
        return 0
    posted = 0
    for way, price, total, before in (
        ("up", contract.terms.up, instance.up_bytes, instance.up_bytes_posted),
        ("down", contract.terms.down, instance.down_bytes, instance.down_bytes_posted),
    ):
        amount = NanoUsd(transfer_cost(price, total) - transfer_cost(price, before))
        if amount > 0:
            about = {"item": way, "from_bytes": before, "to_bytes": total, "price": price}
            _charge(tx, contract, amount, f"bytes:{contract.id}:{way}:{before}", about, now_ms)
            posted += 1
    if (instance.up_bytes, instance.down_bytes) != (
        instance.up_bytes_posted,
        instance.down_bytes_posted,
    ):
        instances.posted_bytes(tx, contract.id, instance.up_bytes, instance.down_bytes)
    return posted


def _posted_until(segment: StoredSegment) -> int:
    """The first moment at which as much has run up as was posted: money is never taken back."""
    if segment.rate == 0:
        return segment.from_ms
    return segment.from_ms + -(-segment.posted * MS_PER_HOUR // segment.rate)


def _post_segment(
    tx: Tx, contract: Contract, segment: StoredSegment, to_ms: int, now_ms: int
) -> int:
    amount = NanoUsd(accrued(segment.rate, to_ms - segment.from_ms) - segment.posted)
    if amount <= 0:
        return 0
    about = {
        "item": segment.kind,
        "rate": segment.rate,
        "from_ms": segment.from_ms,
        "to_ms": to_ms,
        "posted_before": segment.posted,
    }
    _charge(tx, contract, amount, f"segment:{segment.id}:{segment.posted}", about, now_ms)
    segments.posted(tx, segment.id, NanoUsd(segment.posted + amount))
    return 1


def _charge(
    tx: Tx,
    contract: Contract,
    amount: NanoUsd,
    cause: str,
    about: dict[str, object],
    now_ms: int,
) -> None:
    """Move a charge from renter to host and house; no purse falls below its floor.

    What a purse lacks (the server was down when it ran dry) the house gives: the host is paid for
    what was delivered, and the books still sum to zero.
    """
    payer = purses.credit_of(contract.renter)
    fee = fee_of(amount, contract.terms.platform_fee_ppm)
    short = NanoUsd(max(0, amount - purses.balance(tx, payer)))
    moves = (
        (f"{cause}:goodwill", purses.FEES, payer, short, "goodwill"),
        (cause, payer, purses.earnings_of(contract.host), NanoUsd(amount - fee), "charge"),
        (f"{cause}:fee", payer, purses.FEES, fee, "fee"),
    )
    for name, debit, credit, part, kind in moves:
        if part > 0:
            transfers.move(
                tx,
                StoredTransfer(
                    cause=Cause(name),
                    debit=debit,
                    credit=credit,
                    amount=part,
                    kind=kind,
                    account_id=contract.renter,
                    contract_id=contract.id,
                    at_ms=now_ms,
                    about=about,
                ),
            )


# --- What an account has --------------------------------------------------------------------------


def balance(tx: Tx, account: AccountId, now_ms: int) -> Balance:
    """What an account has at `now_ms`."""
    purse = NanoUsd(purses.balance(tx, purses.credit_of(account)))
    spendable = int(purse) - _unposted_bytes(tx, account)
    burn = storage_burn = 0
    for segment in segments.running_of(tx, account):
        spendable -= accrued(segment.rate, max(0, now_ms - segment.from_ms)) - segment.posted
        burn += segment.rate
        storage_burn += segment.rate if segment.kind == DISK else 0
    dry_at_ms = None if burn == 0 else now_ms + max(0, spendable) * MS_PER_HOUR // burn
    return Balance(
        purse=purse,
        spendable=NanoUsd(spendable),
        earnings=NanoUsd(purses.balance(tx, purses.earnings_of(account))),
        burn=NanoUsdPerHour(burn),
        storage_burn=NanoUsdPerHour(storage_burn),
        dry_at_ms=dry_at_ms,
    )


def forecast(tx: Tx, account: AccountId, now_ms: int, rules: Rules = STANDARD) -> None:
    """Write when the credit loop must act; called whenever the burn or the purse changed.

    That is when credit has run down to what is kept for the account's data or, when only storage
    runs, to nothing.
    """
    now = balance(tx, account, now_ms)
    act_at_ms = now.dry_at_ms
    if now.burn > now.storage_burn:
        above = now.spendable - accrued(now.storage_burn, rules.deletion_buffer_ms)
        act_at_ms = now_ms + max(0, above) * MS_PER_HOUR // now.burn
    burns.write(tx, account, now.burn, act_at_ms)
    tx.poke("loop:credit")


class NewRates(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is about to owe by the hour, on top of what already runs."""

    gpu: int = 0
    storage: int = 0


def require_credit(
    tx: Tx, account: AccountId, new: NewRates, now_ms: int, rules: Rules = STANDARD
) -> None:
    """See that an account can cover the horizon of its whole burn, and the deletion buffer.

    Raises:
        InsufficientCredit: with the figures, when it cannot.
    """
    tx.queue(f"account:{account}")
    if new.gpu == 0 and new.storage == 0:
        return
    now = balance(tx, account, now_ms)
    promised = _promised_gpu(tx, account)
    burn = NanoUsdPerHour(now.burn + promised + new.gpu + new.storage)
    storage = NanoUsdPerHour(now.storage_burn + new.storage)
    needed = accrued(burn, rules.horizon_ms) + accrued(storage, rules.deletion_buffer_ms)
    if now.spendable < needed:
        raise InsufficientCredit(
            f"This would cost ${dollars(burn):.4f}/h in all; starting needs "
            f"${dollars(needed):.4f} of credit ({rules.horizon_ms / MS_PER_HOUR:g} h of it and "
            f"{rules.deletion_buffer_ms / MS_PER_HOUR:g} h of storage), and the account has "
            f"${dollars(now.spendable):.4f}. Add credit first."
        )


def _promised_gpu(tx: Tx, account: AccountId) -> int:
    """GPU rates of what is told to run and does not bill yet: they will."""
    row = tx.one(
        "select coalesce(sum(c.gpu_rate), 0)::bigint as rate from instances i"
        " join contracts_now c on c.id = i.id where i.renter_id = %s and i.intended = 'running'"
        " and i.destroyed_at_ms is null and not exists (select from segments s"
        " where s.contract_id = i.id and s.kind = 'gpu' and s.to_ms is null)",
        account,
    )
    assert row is not None
    return int(row["rate"])


def _unposted_bytes(tx: Tx, account: AccountId) -> int:
    rows = tx.all(
        "select i.up_bytes, i.up_bytes_posted, i.down_bytes, i.down_bytes_posted, c.up_price,"
        " c.down_price from instances i join contracts_now c on c.id = i.id where i.renter_id = %s"
        " and i.destroyed_at_ms is null",
        account,
    )
    return sum(
        transfer_cost(row[f"{way}_price"], row[f"{way}_bytes"])
        - transfer_cost(row[f"{way}_price"], row[f"{way}_bytes_posted"])
        for row in rows
        for way in ("up", "down")
    )


# --- Bills ----------------------------------------------------------------------------------------


def lines(tx: Tx, renter: AccountId, from_ms: int, to_ms: int, now_ms: int) -> list[Line]:
    """A renter's bill for a time range, running meters up to now, oldest first."""
    until_ms = min(to_ms, now_ms)
    found = [
        _span(segment, from_ms, until_ms)
        for segment in segments.between(tx, renter, from_ms, until_ms)
    ]
    for moved in transfers.of_account(tx, renter, from_ms, until_ms):
        item = moved.about.get("item")
        if moved.kind == "charge" and item in {"up", "down"} and moved.account_id == renter:
            found.append(_moved_bytes(moved))
    return sorted(found, key=lambda line: (line.start_ms, line.contract, line.kind))


def _span(segment: StoredSegment, from_ms: int, to_ms: int) -> Line:
    start_ms = max(from_ms, segment.from_ms)
    end_ms = to_ms if segment.to_ms is None else min(to_ms, segment.to_ms)
    amount = accrued(segment.rate, end_ms - segment.from_ms) - accrued(
        segment.rate, start_ms - segment.from_ms
    )
    return Line(
        contract=segment.contract_id,
        kind=segment.kind,
        start_ms=start_ms,
        end_ms=end_ms,
        quantity=(end_ms - start_ms) / MS_PER_HOUR,
        rate=segment.rate,
        amount=NanoUsd(amount),
    )


def _moved_bytes(moved: StoredTransfer) -> Line:
    assert moved.contract_id is not None
    about = moved.about
    price = about["price"]
    return Line(
        contract=moved.contract_id,
        kind=about["item"],
        start_ms=moved.at_ms,
        end_ms=moved.at_ms,
        quantity=about["to_bytes"] - about["from_bytes"],
        rate=price,
        amount=NanoUsd(
            transfer_cost(price, about["to_bytes"]) - transfer_cost(price, about["from_bytes"])
        ),
    )
