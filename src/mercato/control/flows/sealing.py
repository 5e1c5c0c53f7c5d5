"""Usage records are signed, and handed out as statements that anyone can check."""

from typing import Final

from mercato.control.db import Tx
from mercato.control.store import usage_records
from mercato.market.ids import AccountId
from mercato.market.usage import Signed, Statement, summarised
from mercato.wire.sealing import Signer

SEALED_AT_ONCE: Final = 1_000
STATEMENT_MAX: Final = 100_000
"""Records in one statement; the rest follow in the next."""


def seal(tx: Tx, signer: Signer, account: AccountId | None = None) -> int:
    """Sign some records that wait for it, one account's or anybody's; how many."""
    waiting = usage_records.unsigned(tx, SEALED_AT_ONCE, account)
    return sum(usage_records.sign(tx, record, signer.sign(record.hash)) for record in waiting)


def statement(
    tx: Tx, signer: Signer, account: AccountId, after: int, market: str, now_ms: int
) -> Statement:
    """The signed records that follow number `after`, under a signed summary."""
    entries: list[Signed] = usage_records.signed_after(tx, account, after, STATEMENT_MAX)
    summary = summarised(
        [entry.record for entry in entries],
        market=market,
        account=account,
        after=after,
        at_ms=now_ms,
    )
    return Statement(summary=summary, signature=signer.sign(summary.hash), records=tuple(entries))
