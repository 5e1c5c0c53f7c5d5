"""A meter that had to end at a moment that has passed, because nobody looked in time.

Credit and spending limits say beforehand when what runs must end. When that is noticed late, the
renter is charged to that moment and no further; what the host delivered after it the house pays.
"""

from mercato.control.db import Tx
from mercato.control.flows import metering, proving
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import machines, segments, transfers
from mercato.market.contract import Contract
from mercato.market.ids import Cause
from mercato.market.ledger import FEES, Transfer, earnings_of
from mercato.market.money import NanoUsd, accrued


def end_meter(
    tx: Tx, contract: Contract, kind: str, at_ms: int, now_ms: int, rules: Rules = STANDARD
) -> None:
    """Charge a meter to the moment at which it had to end, and end it there.

    What was charged past that moment stays charged, and its host is not paid for it again.
    """
    segment = segments.running(tx, contract.id, kind)
    if segment is None:
        return
    machine = machines.at_front(tx, contract.machine)
    proven_ms = proving.gpu_time_until(machine, now_ms, rules)
    ended_ms = max(min(at_ms, proven_ms), segment.from_ms, segment.posted_until_ms)
    metering.close_meter(tx, contract, kind, ended_ms, now_ms)
    delivered = NanoUsd(
        accrued(segment.rate, max(ended_ms, proven_ms) - segment.from_ms)
        - accrued(segment.rate, ended_ms - segment.from_ms)
    )
    if delivered > 0:
        transfers.move(
            tx,
            Transfer(
                cause=Cause(f"late_end:{segment.id}"),
                debit=FEES,
                credit=earnings_of(contract.host),
                amount=delivered,
                kind="goodwill",
                account_id=contract.host,
                contract_id=contract.id,
                at_ms=now_ms,
            ),
        )
