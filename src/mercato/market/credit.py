"""What an account can spend at a moment, and when it can no longer pay for what runs.

Credit is a function of time: what is in the purse, less what the open meters have run up to. What
a contract's deposit pays for draws nothing from it, until the deposit is used up; from that moment
on the contract draws its full price.
"""

from collections.abc import Iterable, Mapping
from enum import Enum

import msgspec

from mercato.market.ids import ContractId
from mercato.market.meter import DISK, FOREVER_MS, Segment, last_covered_ms
from mercato.market.money import MS_PER_HOUR, NanoUsd, NanoUsdPerHour, accrued


class Due(msgspec.Struct, frozen=True):
    """A contract whose deposit will be used up."""

    ends_ms: int
    contract: ContractId
    rate: NanoUsdPerHour
    """What it then draws on credit in an hour."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """An account's credit at one moment."""

    at_ms: int
    spendable: NanoUsd
    """May be a little below zero when credit ran out between two looks: the house makes good for
    it when the meters close."""
    burn: NanoUsdPerHour
    """What the open meters draw from credit in an hour."""
    storage_burn: NanoUsdPerHour
    """The part of it that goes on while instances are stopped."""
    prepaid_burn: NanoUsdPerHour
    """What the open meters draw from deposits in an hour."""
    due: tuple[Due, ...]
    """The deposits that are drawn on."""

    def falls_to_ms(self, level: int) -> int | None:
        """When no more than `level` will be left at the present burn.

        None when it costs nothing, or so little that no calendar reaches that far. Right to a
        nano-dollar for each open meter, as each rounds down.
        """
        if self.burn == 0:
            return None
        falls_ms = self.at_ms + max(0, self.spendable - level) * MS_PER_HOUR // self.burn
        return falls_ms if falls_ms < FOREVER_MS else None

    def fell_to_ms(self, level: int) -> int:
        """When it fell to `level`, at the present burn; the present when it has not."""
        if self.burn == 0:
            return self.at_ms
        return self.at_ms + min(0, (self.spendable - level) * MS_PER_HOUR // self.burn)

    def burn_within(self, horizon_ms: int) -> NanoUsdPerHour:
        """The burn, and what will draw on credit as well before the horizon is over."""
        soon = sum(one.rate for one in self.due if one.ends_ms < self.at_ms + horizon_ms)
        return NanoUsdPerHour(self.burn + soon)


def position(
    purse: int, running: Iterable[Segment], deposits: Mapping[ContractId, int], at_ms: int
) -> Position:
    """An account's credit, from its purse, its open meters and what is left of its deposits."""
    spendable, burn, storage_burn, prepaid_burn = purse, 0, 0, 0
    due: list[Due] = []
    by_contract: dict[ContractId, list[Segment]] = {}
    for meter in running:
        if meter.prepaid:
            by_contract.setdefault(meter.contract_id, []).append(meter)
            continue
        spendable -= meter.unposted(at_ms)
        burn += meter.rate
        storage_burn += meter.rate if meter.kind == DISK else 0
    for contract, prepaid in sorted(by_contract.items()):
        ends_ms = last_covered_ms(deposits.get(contract, 0), prepaid)
        full = NanoUsdPerHour(sum(meter.list_rate for meter in prepaid))
        if ends_ms is None or ends_ms >= at_ms:
            prepaid_burn += sum(meter.rate for meter in prepaid)
            due += [Due(ends_ms, contract, full)] if ends_ms is not None else []
            continue
        # Used up and not noticed yet: from then on it counts as it will be charged.
        spendable -= sum(accrued(meter.list_rate, at_ms - ends_ms) for meter in prepaid)
        burn += full
        storage_burn += sum(meter.list_rate for meter in prepaid if meter.kind == DISK)
    return Position(
        at_ms=at_ms,
        spendable=NanoUsd(spendable),
        burn=NanoUsdPerHour(burn),
        storage_burn=NanoUsdPerHour(storage_burn),
        prepaid_burn=NanoUsdPerHour(prepaid_burn),
        due=tuple(due),
    )


# --- As it runs down ------------------------------------------------------------------------------


class Stage(Enum):
    """What happens as credit runs down: label, when, what is done."""

    AMPLE = ("ample", "it lasts", "nothing")
    LOW = ("low", "it will not last the warning time", "the account is warned")
    DRY = ("dry", "what is left is what the disks need for a while", "GPU time is stopped")
    EMPTY = ("empty", "nothing is left", "disks are destroyed, an hour after the warning at least")

    def __init__(self, label: str, when: str, what: str) -> None:
        """Name the columns of the table above."""
        self.label = label
        self.when = when
        self.what = what


class Care(msgspec.Struct, frozen=True, kw_only=True):
    """How long before the end an account is warned, and how long its disks outlive GPU time."""

    warning_ms: int
    deletion_buffer_ms: int


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts of credit at which an account wants something done."""

    warn_below: NanoUsd | None = None
    """It wants to be told; None: not at all."""
    top_up_below: NanoUsd | None = None
    """It wants its card charged; None: not at all."""
    top_up_amount: NanoUsd = NanoUsd(0)


def kept_for_disks(now: Position, care: Care) -> NanoUsd:
    """What must be left when GPU time stops, so that disks outlive it."""
    return accrued(now.storage_burn, care.deletion_buffer_ms)


def stage(now: Position, care: Care) -> Stage:
    """How far an account's credit has run down."""
    if now.burn == 0:
        return Stage.AMPLE
    kept = kept_for_disks(now, care)
    if now.burn > now.storage_burn and now.spendable <= kept:
        return Stage.DRY
    if now.spendable <= 0:
        return Stage.EMPTY
    if now.spendable <= kept + accrued(now.burn, care.warning_ms):
        return Stage.LOW
    return Stage.AMPLE


def acts_at_ms(now: Position, thresholds: Thresholds, care: Care) -> int | None:
    """When something must be done about an account's credit at the present burn; None: never."""
    kept = kept_for_disks(now, care) if now.burn > now.storage_burn else 0
    levels = (kept, thresholds.warn_below, thresholds.top_up_below)
    moments = [now.falls_to_ms(level) for level in levels if level is not None]
    return min((moment for moment in moments if moment is not None), default=None)
