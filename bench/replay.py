"""A million ledger events replayed from bytes into balances, and a chain of usage records."""

import random
import time

import msgspec

from measure import Table, report
from mercato.market.ids import AccountId, Cause, ContractId, SegmentId
from mercato.market.ledger import FUNDING, Books, Transfer, credit_of, earnings_of
from mercato.market.money import NANO, NanoUsd, NanoUsdPerHour, accrued
from mercato.market.usage import GENESIS, Metered, Record, cost

EVENTS = 1_000_000
BATCH = 100_000
ACCOUNTS = 1_000
WANTED_PER_S = 20_000


def transfers(luck: random.Random, first: int, count: int) -> list[bytes]:
    """Credit now and then, and charges from one account to another."""
    made = []
    for number in range(first, first + count):
        payer, host = (AccountId(luck.randrange(1, ACCOUNTS)) for _ in range(2))
        paid_in = number < ACCOUNTS or number % 10 == 0
        transfer = Transfer(
            cause=Cause(f"event:{number}"),
            debit=FUNDING if paid_in else credit_of(payer),
            credit=credit_of(AccountId(number % ACCOUNTS)) if paid_in else earnings_of(host),
            amount=NanoUsd(1_000 * NANO if paid_in else luck.randrange(1, NANO)),
            kind="credit" if paid_in else "charge",
            account_id=payer,
            contract_id=None,
            at_ms=number,
        )
        made.append(msgspec.json.encode(transfer))
    return made


def records(count: int) -> list[bytes]:
    """One account's chain: a meter that is charged every second."""
    made, previous, rate = [], GENESIS, NanoUsdPerHour(NANO)
    for number in range(1, count + 1):
        use = Metered(
            item="gpu",
            meter=SegmentId(1),
            rate=rate,
            from_ms=0,
            to_ms=number * 1_000,
            posted_before=accrued(rate, (number - 1) * 1_000),
        )
        record = Record(
            account=AccountId(1),
            number=number,
            contract=ContractId(1),
            use=use,
            amount=cost(use),
            goodwill=NanoUsd(0),
            prepaid=False,
            issued_at_ms=number,
            previous=previous,
        )
        previous = record.hash
        made.append(msgspec.json.encode(record))
    return made


def main() -> None:
    luck, books, took_s = random.Random(1), Books(), 0.0
    decode = msgspec.json.Decoder(Transfer).decode
    for first in range(0, EVENTS, BATCH):
        events = transfers(luck, first, BATCH)
        began = time.perf_counter()
        for event in events:
            books.move(decode(event))
        took_s += time.perf_counter() - began
    assert sum(books.purses.values()) == 0

    chain, total = records(BATCH), 0
    read, previous = msgspec.json.Decoder(Record).decode, GENESIS
    began = time.perf_counter()
    for event in chain:
        record = read(event)
        assert record.previous == previous
        assert record.amount == cost(record.use)
        previous, total = record.hash, total + record.amount
    chained_s = time.perf_counter() - began

    plain = time.perf_counter()
    for event in chain:
        msgspec.json.decode(event)
    floor_s = time.perf_counter() - plain
    figures = (
        ("transfers decoded and moved into balances", EVENTS / took_s),
        ("usage records decoded, hashes and amounts checked", BATCH / chained_s),
        ("usage records decoded only", BATCH / floor_s),
    )
    report(
        __file__,
        "Replaying the ledger",
        f"{EVENTS:,} transfers among {ACCOUNTS:,} accounts and a chain of {BATCH:,} usage records, "
        f"from bytes; the aim is {WANTED_PER_S:,} a second.",
        [
            Table(
                "",
                ("what", "a second", "of decoding only"),
                [
                    [name, f"{per_s:,.0f}", f"{per_s / (BATCH / floor_s):.2f}"]
                    for name, per_s in figures
                ],
            )
        ],
    )
    assert EVENTS / took_s >= WANTED_PER_S


if __name__ == "__main__":
    main()
