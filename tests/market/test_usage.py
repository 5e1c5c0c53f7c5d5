"""Statements: recomputed from themselves alone, and anything touched is noticed."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mercato.market.ids import AccountId, ContractId, SegmentId
from mercato.market.money import NANO, NanoUsd, NanoUsdPerGb, NanoUsdPerHour, accrued
from mercato.market.usage import (
    GENESIS,
    EndedEarly,
    Forged,
    Metered,
    Moved,
    Record,
    Signed,
    Statement,
    Use,
    checked,
    cost,
    summarised,
)
from mercato.wire.sealing import Checker, Signer

SIGNER = Signer(bytes(32))
STRANGER = Signer(bytes([1]) * 32)
IS_SIGNED = Checker.of(SIGNER.public_key).is_signed


def metered(rate: int, looks_ms: list[int]) -> list[Use]:
    """One meter, charged at several moments."""
    return [
        Metered(
            item="gpu",
            meter=SegmentId(1),
            rate=NanoUsdPerHour(rate),
            from_ms=0,
            to_ms=after,
            posted_before=accrued(NanoUsdPerHour(rate), before),
        )
        for before, after in pairwise([0, *sorted(looks_ms)])
    ]


METERS = st.builds(
    metered,
    st.integers(10**6, 5 * NANO),
    st.lists(st.integers(1, 10**9), min_size=1, max_size=4),
)
TRAFFIC = st.builds(
    lambda price, before, more: [
        Moved(item="up", price=NanoUsdPerGb(price), from_bytes=before, to_bytes=before + more)
    ],
    st.integers(0, NANO),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
)
ENDS = st.builds(
    lambda left, saved: [EndedEarly(left=NanoUsd(left), saved=NanoUsd(saved))],
    st.integers(0, 10**12),
    st.integers(0, 10**12),
)


def together(runs: Sequence[Sequence[Use]]) -> list[Use]:
    """Several runs one after another, each meter with a number of its own."""
    return [
        replace(use, meter=SegmentId(number)) if isinstance(use, Metered) else use
        for number, run in enumerate(runs)
        for use in run
    ]


USES = st.lists(st.one_of(METERS, TRAFFIC, ENDS), max_size=6).map(together)


def chain(uses: list[Use], *, goodwill: int = 0) -> list[Record]:
    records: list[Record] = []
    for number, use in enumerate(uses, start=1):
        amount = cost(use)
        records.append(
            Record(
                account=AccountId(7),
                number=number,
                contract=ContractId(number % 3),
                use=use,
                amount=amount,
                goodwill=NanoUsd(min(goodwill, amount)),
                prepaid=False,
                issued_at_ms=number,
                previous=records[-1].hash if records else GENESIS,
            )
        )
    return records


def issued(records: list[Record], *, after: int = 0, signer: Signer = SIGNER) -> Statement:
    summary = summarised(
        records, market="http://market", account=AccountId(7), after=after, at_ms=1
    )
    return Statement(
        summary=summary,
        signature=signer.sign(summary.hash),
        records=tuple(Signed(record=one, signature=signer.sign(one.hash)) for one in records),
    )


@given(USES, st.integers(0, NANO), st.integers(0, 8))
def test_a_statement_comes_to_what_was_charged_wherever_it_begins(
    uses: list[Use], goodwill: int, after: int
) -> None:
    records = chain(uses, goodwill=goodwill)[after:]
    owed: Counter[tuple[int, str]] = Counter()
    for one in records:
        owed[one.contract, one.use.item] += cost(one.use) - one.goodwill
    sent = msgspec.json.format(msgspec.json.encode(issued(records, after=after)))
    received = msgspec.json.decode(sent, type=Statement)
    assert checked(received, IS_SIGNED) == owed


def changed(statement: Statement, at: int) -> Statement:
    records = list(statement.records)
    entry = records[at]
    records[at] = replace(entry, record=replace(entry.record, amount=entry.record.amount - 1))
    return replace(statement, records=tuple(records))


def dropped(statement: Statement, at: int) -> Statement:
    kept = statement.records[:at] + statement.records[at + 1 :]
    return replace(statement, records=kept)


def reordered(statement: Statement, at: int) -> Statement:
    records = list(statement.records)
    records[at - 1], records[at] = records[at], records[at - 1]
    return replace(statement, records=tuple(records))


def repeated(statement: Statement, at: int) -> Statement:
    return replace(statement, records=(*statement.records, statement.records[at]))


def cut_with_its_summary(statement: Statement, at: int) -> Statement:
    records = [one.record for one in statement.records[:at]]
    return replace(issued(records, signer=STRANGER), records=statement.records[:at])


def forged_throughout(statement: Statement, at: int) -> Statement:
    records = [one.record for one in statement.records]
    records[at] = replace(records[at], issued_at_ms=0)
    return issued(records, signer=STRANGER)


def forged_within(statement: Statement, at: int) -> Statement:
    records = list(statement.records)
    record = replace(records[at].record, contract=ContractId(99))
    records[at] = Signed(record=record, signature=STRANGER.sign(record.hash))
    return replace(statement, records=tuple(records))


def discounted(statement: Statement, at: int) -> Statement:
    del at
    summary = replace(statement.summary, total=NanoUsd(statement.summary.total - 1))
    return replace(statement, summary=summary)


TOUCHED = (
    changed,
    dropped,
    reordered,
    repeated,
    cut_with_its_summary,
    forged_throughout,
    forged_within,
    discounted,
)


@pytest.mark.parametrize("touch", TOUCHED)
@given(uses=USES.filter(lambda uses: len(uses) > 1), data=st.data())
def test_whatever_is_touched_is_noticed(
    touch: Callable[[Statement, int], Statement], uses: list[Use], data: st.DataObject
) -> None:
    statement = issued(chain(uses))
    at = data.draw(st.integers(1, len(uses) - 1))
    with pytest.raises(Forged):
        checked(touch(statement, at), IS_SIGNED)


def test_the_market_itself_cannot_charge_a_meter_twice_or_wrongly_and_sign_it() -> None:
    [first, second] = metered(NANO, [1_000, 2_000])
    for uses, why in (
        ([first, first, second], "does not go on"),
        ([second], "does not go on"),
        ([first, replace(second, rate=NanoUsdPerHour(2 * NANO))], "does not go on"),
    ):
        with pytest.raises(Forged, match=why):
            checked(issued(chain(list(uses))), IS_SIGNED)
    [record] = chain([first])
    dear = replace(record, amount=NanoUsd(record.amount + 1))
    with pytest.raises(Forged, match="comes to"):
        checked(issued([dear]), IS_SIGNED)


def test_a_statement_of_nothing_is_in_order() -> None:
    assert checked(issued([]), IS_SIGNED) == {}
