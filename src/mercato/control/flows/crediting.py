"""Credit that runs down: topped up, warned of, GPU time stopped, data ended.

What happens when is the table of `market.credit.Stage`. An account is looked at when its moment has
come (metering.forecast wrote it), and again is no harm.
"""

from typing import Final

from msgspec import structs

from mercato.control.db import Tx
from mercato.control.flows import metering, renting, settling, volumes
from mercato.control.flows.ending import end_meter
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import burns, contracts, deposits, events, instances, payments
from mercato.control.store import volumes as stored_volumes
from mercato.control.store.events import Event
from mercato.control.store.instances import Instance
from mercato.market import errors
from mercato.market.credit import Position, Stage, Thresholds, kept_for_disks, stage
from mercato.market.ids import AccountId
from mercato.market.instance import Intended, Reason
from mercato.market.money import MS_PER_HOUR, dollars
from mercato.market.payment import ENDED, PAY_IN_MIN, Purpose, State, whole_cents

Report = dict[str, int]

TOP_UP_AGAIN_MS: Final = 24 * MS_PER_HOUR
"""A card that was refused is not tried again sooner."""
PATIENCE_MS: Final = MS_PER_HOUR
"""Data is not destroyed while a top-up is under way, for so long."""


def run_down(
    tx: Tx, account: AccountId, now_ms: int, rules: Rules = STANDARD, *, provider: str = "manual"
) -> Report:
    """Do what an account's credit asks for now.

    GPU time ends while there is still enough to keep the data for the deletion buffer; the data
    is destroyed when that is used up too, and the account was warned long enough before. What a
    deposit pays for is left alone until the deposit is used up.
    """
    tx.queue(f"account:{account}")
    report = dict.fromkeys(("topped_up", "warned", "stopped", "destroyed", "recovered"), 0)
    now = metering.position(tx, account, now_ms)
    wanted = burns.thresholds(tx, account)
    if now.burn and wanted.warn_below is not None and now.spendable <= wanted.warn_below:
        report["warned"] += _warn_of_threshold(tx, account, now)
    under_way = _top_up(tx, account, now, wanted, provider, report)
    match stage(now, rules.credit):
        case Stage.AMPLE:
            report["recovered"] += recovered(tx, account)
        case Stage.LOW:
            report["warned"] += _warn(tx, account, now)
        case Stage.DRY:
            report["warned"] += _warn(tx, account, now)
            report["stopped"] += _stop(tx, account, now, rules)
            burns.warn(tx, account, now_ms)  # being stopped is the warning that the data is next
        case Stage.EMPTY:
            report["warned"] += _warn(tx, account, now)
            if not under_way and _long_warned(tx, account, now_ms, rules):
                report["destroyed"] += _destroy(tx, account, now_ms)
                burns.warn(tx, account, None)
    return report


def want(tx: Tx, account: AccountId, wanted: Thresholds, now_ms: int) -> None:
    """Write at which credit an account wants to be told, and its card charged.

    Raises:
        InvalidPrice: when a top-up would be less than can be paid in.
    """
    if wanted.top_up_below is not None:
        wanted = structs.replace(wanted, top_up_amount=whole_cents(wanted.top_up_amount))
        if wanted.top_up_amount < PAY_IN_MIN:
            raise errors.InvalidPrice(
                f"autobill_amount must be at least {dollars(PAY_IN_MIN):.0f} dollars."
            )
    tx.queue(f"account:{account}")
    burns.set_thresholds(tx, account, wanted)
    metering.forecast(tx, account, now_ms)


def recovered(tx: Tx, account: AccountId) -> int:
    """Forget the warning of an account that has enough again."""
    if burns.warned_at_ms(tx, account) is None:
        return 0
    burns.warn(tx, account, None)
    return 1


def _warn(tx: Tx, account: AccountId, now: Position) -> int:
    if burns.warned_at_ms(tx, account) is not None:
        return 0
    burns.warn(tx, account, now.at_ms)
    left_h = max(0, now.spendable) / now.burn
    _tell(
        tx,
        account,
        f"${dollars(now.spendable):.4f} of credit is left, {left_h:.1f} h at this burn.",
        now.at_ms,
    )
    return 1


def _warn_of_threshold(tx: Tx, account: AccountId, now: Position) -> int:
    if not burns.told_low(tx, account):
        return 0
    left = f"${dollars(now.spendable):.2f} of credit is left"
    message = f"{left}: less than you wanted to be told of."
    _tell(tx, account, message, now.at_ms)
    metering.forecast(tx, account, now.at_ms)
    return 1


def _tell(tx: Tx, account: AccountId, message: str, now_ms: int) -> None:
    events.record(tx, Event(account_id=account, kind="credit_low", message=message, at_ms=now_ms))


def _top_up(
    tx: Tx,
    account: AccountId,
    now: Position,
    wanted: Thresholds,
    provider: str,
    report: Report,
) -> bool:
    """Charge the saved card when credit fell below the threshold; whether one is under way."""
    if wanted.top_up_below is None or now.spendable > wanted.top_up_below:
        return False
    last = payments.last_of(tx, account, Purpose.TOP_UP)
    if last is not None:
        if last.state not in ENDED:
            return now.at_ms - last.created_at_ms < PATIENCE_MS
        failed_lately = now.at_ms - last.created_at_ms < TOP_UP_AGAIN_MS
        if last.state is State.FAILED and failed_lately:
            return False
    method = payments.method(tx, account)
    if method is None or not method.card:
        return False
    number = 1 if last is None else last.id + 1
    key = f"{account}:{number}"
    settling.pay_in(tx, account, wanted.top_up_amount, Purpose.TOP_UP, provider, key, now.at_ms)
    report["topped_up"] += 1
    return True


def _long_warned(tx: Tx, account: AccountId, now_ms: int, rules: Rules) -> bool:
    warned_at_ms = burns.warned_at_ms(tx, account)
    return warned_at_ms is not None and warned_at_ms + rules.low_credit_ms <= now_ms


def _stop(tx: Tx, account: AccountId, now: Position, rules: Rules) -> int:
    """Stop what draws on credit, as of the moment at which only what disks need was left.

    Bytes take credit as they are counted, and no GPU time that was used before.
    """
    alone = metering.timed(tx, account, now.at_ms)
    dry_ms = alone.fell_to_ms(kept_for_disks(alone, rules.credit))
    running = [one for one in _on_credit(tx, account) if one.intended is Intended.RUNNING]
    for one in running:
        end_meter(tx, contracts.get(tx, one.id), metering.GPU, dry_ms, now.at_ms, rules)
        renting.stop(tx, account, one.id, now.at_ms, Reason.NO_CREDIT)
    return len(running)


def _destroy(tx: Tx, account: AccountId, now_ms: int) -> int:
    """End what credit pays for, and what mounts it; what was prepaid for that is credit again."""
    kept = [
        one.id
        for one in stored_volumes.live_of(tx, account)
        if contracts.get(tx, one.id).host != account
    ]
    ended = {one.id for one in _on_credit(tx, account)}
    ended |= {mounting for one in kept for mounting in stored_volumes.used_by(tx, one)}
    for instance in sorted(ended):
        renting.destroy(tx, account, instance, now_ms, Reason.NO_CREDIT)
    for volume in kept:
        volumes.delete(tx, account, volume, now_ms, Reason.NO_CREDIT)
    return len(ended) + len(kept)


def _on_credit(tx: Tx, account: AccountId) -> list[Instance]:
    """What credit pays for: neither what a deposit does, nor a host's own on its own machine."""
    prepaid = deposits.left(tx, account)
    return [
        one
        for one in instances.live_of(tx, account)
        if one.id not in prepaid and contracts.get(tx, one.id).host != account
    ]
