"""What the engine decided about endpoints, and why: kept for whoever asks."""

from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.serverless.endpoint import EndpointId


class StoredDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision and what came of it."""

    endpoint_id: EndpointId
    kind: str
    """`rent`, `wake`, `sleep`, `update` or `destroy`."""
    worker_id: int | None
    offer_id: int | None
    reason: str
    outcome: str
    """`done`, or why it could not be."""
    at_ms: int


_COLUMNS: Final[LiteralString] = "endpoint_id, kind, worker_id, offer_id, reason, outcome, at_ms"


def record(tx: Tx, decision: StoredDecision) -> None:
    """Keep a decision."""
    tx.run(
        "insert into decisions (endpoint_id, kind, worker_id, offer_id, reason, outcome, at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        decision.endpoint_id,
        decision.kind,
        decision.worker_id,
        decision.offer_id,
        decision.reason,
        decision.outcome,
        decision.at_ms,
    )


def latest(tx: Tx, endpoint: EndpointId, worker: int | None, limit: int) -> list[StoredDecision]:
    """An endpoint's decisions, or those about one worker; the latest first."""
    rows = tx.all(
        f"select {_COLUMNS} from decisions where endpoint_id = %s"  # noqa: S608 - the columns are fixed above
        " and (%s::bigint is null or worker_id = %s) order by id desc limit %s",
        endpoint,
        worker,
        worker,
        limit,
    )
    return [msgspec.convert(row, StoredDecision) for row in rows]


def forget_before(tx: Tx, before_ms: int) -> int:
    """Delete decisions made before; how many."""
    return tx.run("delete from decisions where at_ms < %s", before_ms)
