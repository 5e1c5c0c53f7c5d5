"""What an account can spend at a moment, and when it can no longer pay for what runs.

Credit is a function of time: what is in the purse, less what the open meters have run up to. What
a contract's deposit pays for draws nothing from it, until the deposit is used up; from that moment
on the contract draws its full price.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

import msgspec

from mercato.market.ids import ContractId
from mercato.market.meter import DISK, Segment, last_covered_ms
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
        """When no more than `level` will be left at the present burn; None when it costs nothing.

        Right to a nano-dollar for each open meter, as each rounds down.
        """
        if self.burn == 0:
            return None
        return self.at_ms + max(0, self.spendable - level) * MS_PER_HOUR // self.burn

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
    by_contract = sorted(running, key=lambda segment: segment.contract_id)
    for contract, meters in groupby(by_contract, key=lambda segment: segment.contract_id):
        prepaid = []
        for meter in meters:
            if meter.prepaid:
                prepaid.append(meter)
                continue
            spendable -= meter.unposted(at_ms)
            burn += meter.rate
            storage_burn += meter.rate if meter.kind == DISK else 0
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
