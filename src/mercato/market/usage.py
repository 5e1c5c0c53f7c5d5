"""Usage records: what every charge is for, so exactly that its reader can compute it again.

Each account has one chain of records. A record carries the hash of the one before it, so that none
can be changed, left out or put elsewhere without every later hash changing, and the market signs
every hash. A statement is a run of records under a signed summary. `checked` recomputes all of it
and needs nothing but the file and the market's public key.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from mercato.market.ids import AccountId, ContractId, SegmentId
from mercato.market.money import (
    NanoUsd,
    NanoUsdPerGb,
    NanoUsdPerHour,
    accrued,
    nano,
    transfer_cost,
)
from mercato.market.reserving import forfeited

FORMAT: Final = "mercato-usage-1"
TRAFFIC_MAX: Final = NanoUsd(nano(1_000_000_000))
"""The most that one count of bytes comes to, so that no figure of a host passes 64 bits."""
GENESIS: Final = "0" * 64
"""The hash before the first record of a chain."""

# --- What a charge is for -------------------------------------------------------------------------


class Metered(msgspec.Struct, frozen=True, kw_only=True, tag_field="use", tag="meter"):
    """A meter from where it was last charged to `to_ms`."""

    item: str
    """`gpu` or `disk`."""
    meter: SegmentId
    rate: NanoUsdPerHour
    from_ms: int
    """When the meter began, whatever of it was charged before."""
    to_ms: int
    posted_before: NanoUsd


class Moved(msgspec.Struct, frozen=True, kw_only=True, tag_field="use", tag="traffic"):
    """Bytes in one direction, from the number already charged to the number counted.

    Only the host counts them: what the renter's credit and limits do not bear it is not paid.
    """

    item: str
    """`up` or `down`."""
    price: NanoUsdPerGb
    from_bytes: int
    to_bytes: int


class EndedEarly(msgspec.Struct, frozen=True, kw_only=True, tag_field="use", tag="early_end"):
    """The early end of a reservation: 1.05 of what it saved, at most what was left."""

    item: str = "early_end"
    left: NanoUsd
    saved: NanoUsd


Use = Metered | Moved | EndedEarly


def cost(use: Use) -> NanoUsd:
    """What a use costs, by the rules of money.py and reserving.py alone."""
    match use:
        case Metered():
            return NanoUsd(accrued(use.rate, use.to_ms - use.from_ms) - use.posted_before)
        case Moved():
            moved = transfer_cost(use.price, use.to_bytes) - transfer_cost(
                use.price, use.from_bytes
            )
            return NanoUsd(min(moved, TRAFFIC_MAX))
        case EndedEarly():
            return forfeited(use.left, use.saved)


# --- Records --------------------------------------------------------------------------------------


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One charge."""

    account: AccountId
    number: int
    """1, 2, 3, … for each account, without a gap."""
    contract: ContractId
    use: Use
    amount: NanoUsd
    goodwill: NanoUsd
    """The part that the renter was not charged: the house bore it, or of traffic the host."""
    prepaid: bool
    """Whether a deposit paid it; otherwise the credit."""
    issued_at_ms: int
    previous: str
    """The hash of the record before it, in hexadecimal."""

    @property
    def hash(self) -> str:
        """SHA-256 of the record as JSON, its fields in the order of this class."""
        return _hash(self)


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record and the market's signature of its hash, in hexadecimal."""

    record: Record
    signature: str


class Summary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the market says of a run of records: how many, where they end, what they come to."""

    format: str = FORMAT
    market: str
    """The market's address."""
    account: AccountId
    first: int
    """Number of the first record; one more than `last` when there is none."""
    last: int
    head: str
    """Hash of the last record."""
    total: NanoUsd
    """What the account was charged for them, goodwill not counted."""
    issued_at_ms: int

    @property
    def hash(self) -> str:
        """SHA-256 of the summary as JSON, its fields in the order of this class."""
        return _hash(self)


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of usage records."""

    summary: Summary
    signature: str
    """Of the summary's hash."""
    records: tuple[Signed, ...]


def summarised(
    records: Sequence[Record], *, market: str, account: AccountId, after: int, at_ms: int
) -> Summary:
    """The summary of the records that follow number `after`."""
    return Summary(
        market=market,
        account=account,
        first=after + 1,
        last=after + len(records),
        head=records[-1].hash if records else GENESIS,
        total=NanoUsd(sum(record.amount - record.goodwill for record in records)),
        issued_at_ms=at_ms,
    )


def _hash(what: Record | Summary) -> str:
    return hashlib.sha256(msgspec.json.encode(what)).hexdigest()


# --- Checking -------------------------------------------------------------------------------------


class Forged(Exception):  # noqa: N818 - what is the matter with a file, in words for its reader
    """A statement is not what the market issued."""


IsSigned = Callable[[str, str], bool]
"""Whether the market signed a hash: hash and signature, both in hexadecimal."""


def checked(statement: Statement, is_signed: IsSigned) -> dict[tuple[ContractId, str], NanoUsd]:
    """What each contract was charged for each item, recomputed from the records alone.

    Raises:
        Forged: when anything was changed, dropped, added or put elsewhere.
    """
    summary = statement.summary
    if summary.format != FORMAT:
        raise Forged(f"the format {summary.format!r} is not {FORMAT!r}")
    if not is_signed(summary.hash, statement.signature):
        raise Forged("the summary is not signed by this market")
    _check_chain(summary, statement.records, is_signed)
    records = [signed.record for signed in statement.records]
    _check_meters(records, from_start=summary.first == 1)
    totals: Counter[tuple[ContractId, str]] = Counter()
    for record in records:
        if record.amount != cost(record.use):
            raise Forged(
                f"record {record.number} says {record.amount} nano-dollars and comes to "
                f"{cost(record.use)}"
            )
        if not 0 <= record.goodwill <= record.amount:
            raise Forged(f"record {record.number} has a goodwill that cannot be")
        totals[record.contract, record.use.item] += record.amount - record.goodwill
    if sum(totals.values()) != summary.total:
        raise Forged(
            f"the records come to {sum(totals.values())} nano-dollars and the summary says "
            f"{summary.total}"
        )
    return {line: NanoUsd(amount) for line, amount in totals.items()}


def _check_chain(summary: Summary, entries: Sequence[Signed], is_signed: IsSigned) -> None:
    number, previous = summary.first, GENESIS if summary.first == 1 else None
    for entry in entries:
        record = entry.record
        if record.account != summary.account:
            raise Forged(f"record {record.number} belongs to another account")
        if record.number != number:
            raise Forged(f"record {number} is missing; {record.number} stands in its place")
        if previous is not None and record.previous != previous:
            raise Forged(f"record {number} does not follow the one before it")
        previous = record.hash
        if not is_signed(previous, entry.signature):
            raise Forged(f"record {number} is not signed by this market")
        number += 1
    if number != summary.last + 1:
        raise Forged(f"records {number} to {summary.last} are missing")
    if entries and previous != summary.head:
        raise Forged("the last record is not the one that the summary names")


def _check_meters(records: Iterable[Record], *, from_start: bool) -> None:
    """Each meter is charged from where it was left, at one rate, and never backwards."""
    left_at: dict[SegmentId, Metered] = {}
    for record in records:
        use = record.use
        if not isinstance(use, Metered):
            continue
        before = left_at.get(use.meter)
        if before is None:
            continues = use.posted_before == 0 or not from_start
        else:
            posted = accrued(before.rate, before.to_ms - before.from_ms)
            continues = (
                use.posted_before == posted
                and (use.rate, use.from_ms, use.item) == (before.rate, before.from_ms, before.item)
                and use.to_ms >= before.to_ms
            )
        if not continues:
            raise Forged(f"record {record.number} does not go on where its meter was left")
        left_at[use.meter] = use
