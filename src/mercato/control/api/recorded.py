"""What is recorded of endpoints: the decisions about their workers, each with its reason."""

from typing import Final

import msgspec

from mercato.control.api.call import Call
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import serving
from mercato.control.store import decisions
from mercato.control.store.decisions import StoredDecision
from mercato.market import errors
from mercato.market.ids import AccountId

SHOWN_DEFAULT: Final = 50
SHOWN_MAX: Final = 1_000


class WhichDecisions(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint's decisions, or those about one of its workers."""

    id: int
    worker_id: int | None = None
    limit: int = SHOWN_DEFAULT


class DecisionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One decision and what came of it."""

    at: float
    kind: str
    """`rent`, `wake`, `sleep`, `update` or `destroy`."""
    worker_id: int | None
    offer_id: int | None
    reason: str
    outcome: str
    """`done`, or why it could not be."""


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, the latest first."""

    success: bool = True
    decisions: list[DecisionRow]


async def list_decisions(call: Call, asked: WhichDecisions) -> Decisions:
    """List what was decided about an endpoint's workers, and why, the latest first."""
    if not 1 <= asked.limit <= SHOWN_MAX:
        raise errors.InvalidRequest(f"limit must be from 1 to {SHOWN_MAX}.")
    found = await call.services.db.run(_decisions, call.account, asked)
    return Decisions(
        decisions=[
            DecisionRow(
                at=seconds(one.at_ms),
                kind=one.kind,
                worker_id=one.worker_id,
                offer_id=one.offer_id,
                reason=one.reason,
                outcome=one.outcome,
            )
            for one in found
        ]
    )


def _decisions(tx: Tx, account: AccountId, asked: WhichDecisions) -> list[StoredDecision]:
    mine = serving.my_endpoint(tx, account, asked.id)
    return decisions.latest(tx, mine.id, asked.worker_id, asked.limit)
