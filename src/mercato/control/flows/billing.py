"""Bills: what a renter's meters came to in a span of time, line by line, up to this moment."""

import msgspec

from mercato.control.db import Tx
from mercato.control.store import compensations, segments, usage_records
from mercato.control.store.compensations import Compensation
from mercato.market.ids import AccountId, ContractId
from mercato.market.meter import Segment
from mercato.market.money import MS_PER_HOUR, NanoUsd, accrued
from mercato.market.usage import Metered, Moved, Record


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a bill. Lines of adjoining ranges sum exactly to what is charged in all."""

    contract: ContractId
    kind: str
    """`gpu`, `disk`, `up`, `down`, or `early_end`: what ending a reservation early cost."""
    start_ms: int
    end_ms: int
    quantity: float
    """Hours for `gpu` and `disk`, bytes for `up` and `down`, else 1."""
    rate: int
    """Nano-dollars for an hour, or for a gigabyte."""
    amount: NanoUsd
    list_rate: int | None = None
    """What an hour would have cost without prepaying; None when nothing was prepaid."""
    note: str = ""
    """What else is to be said of it."""


def lines(tx: Tx, renter: AccountId, from_ms: int, to_ms: int, now_ms: int) -> list[Line]:
    """A renter's bill for a time range, running meters up to now, oldest first.

    What was not charged has a line of its own below zero, so that a bill sums to what was.
    """
    until_ms = min(to_ms, now_ms)
    found = [
        _span(segment, from_ms, until_ms)
        for segment in segments.between(tx, renter, from_ms, until_ms)
    ]
    for record in usage_records.between(tx, renter, from_ms, to_ms):
        found += _recorded(record)
    for unproven in compensations.between(tx, renter, from_ms, to_ms):
        found += _compensated(unproven)
    return sorted(found, key=lambda line: (line.start_ms, line.contract, line.kind))


def _span(segment: Segment, from_ms: int, to_ms: int) -> Line:
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
        list_rate=segment.list_rate if segment.prepaid else None,
    )


def _compensated(unproven: Compensation) -> list[Line]:
    """Two lines that cancel out: what its host could not prove, and that it costs nothing."""
    amount = accrued(unproven.rate, unproven.to_ms - unproven.from_ms)
    line = Line(
        contract=unproven.contract_id,
        kind=unproven.kind,
        start_ms=unproven.from_ms,
        end_ms=unproven.to_ms,
        quantity=(unproven.to_ms - unproven.from_ms) / MS_PER_HOUR,
        rate=unproven.rate,
        amount=amount,
        note="not proven by its host",
    )
    back = msgspec.structs.replace(line, amount=NanoUsd(-amount), note="compensation: not proven")
    return [line, back]


def _recorded(record: Record) -> list[Line]:
    """What a charge came to, when no meter's span says it, and what of it was not charged."""
    line = _charged(record)
    charged = [] if isinstance(record.use, Metered) else [line]
    if record.goodwill == 0:
        return charged
    waived = isinstance(record.use, Moved)
    note = "not charged: more than credit and limits bear" if waived else "borne by the house"
    back = msgspec.structs.replace(line, amount=NanoUsd(-record.goodwill), note=note)
    return [*charged, back]


def _charged(record: Record) -> Line:
    use = record.use
    quantity, rate = 1.0, int(record.amount)
    if isinstance(use, Metered):
        quantity, rate = record.goodwill / max(1, use.rate), int(use.rate)
    elif isinstance(use, Moved):
        quantity, rate = use.to_bytes - use.from_bytes, int(use.price)
    return Line(
        contract=record.contract,
        kind=use.item,
        start_ms=record.issued_at_ms,
        end_ms=record.issued_at_ms,
        quantity=quantity,
        rate=rate,
        amount=record.amount,
    )
