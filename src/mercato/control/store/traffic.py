"""How much was asked of endpoints, by minute: kept for replays under other parameters."""

from collections.abc import Sequence

import msgspec

from mercato.control.db import Tx
from mercato.market.money import MS_PER_S
from mercato.serverless.endpoint import EndpointId
from mercato.wire.fleet import Minute, Second


def record(tx: Tx, endpoint: EndpointId, minutes: Sequence[Minute], fence: int) -> None:
    """Keep minutes as the owner under a fence saw them; those that it told before stay."""
    for one in minutes:
        tx.run(
            "insert into traffic (endpoint_id, minute_ms, fence, seconds) values (%s, %s, %s, %s)"
            " on conflict do nothing",
            endpoint,
            one.at_s * MS_PER_S,
            fence,
            msgspec.json.encode([msgspec.structs.astuple(each) for each in one.seconds]).decode(),
        )


def between(tx: Tx, endpoint: EndpointId, from_ms: int, to_ms: int) -> list[Minute]:
    """The minutes that began in a span, in order of time."""
    rows = tx.all(
        "select minute_ms, seconds from traffic"
        " where endpoint_id = %s and minute_ms >= %s and minute_ms < %s"
        " order by minute_ms, fence",
        endpoint,
        from_ms,
        to_ms,
    )
    return [
        Minute(
            at_s=row["minute_ms"] // MS_PER_S,
            seconds=[Second(*second) for second in row["seconds"]],
        )
        for row in rows
    ]


def forget_before(tx: Tx, before_ms: int) -> int:
    """Delete minutes before; how many."""
    return tx.run("delete from traffic where minute_ms < %s", before_ms)
