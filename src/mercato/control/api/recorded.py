"""What is recorded of endpoints: decisions, each with its reason, and how much was asked."""

from typing import Final

import msgspec

from mercato.control.api.call import Call
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import serving
from mercato.control.store import decisions, traffic, workers
from mercato.control.store.decisions import StoredDecision
from mercato.market import errors
from mercato.market.ids import AccountId
from mercato.market.money import MS_PER_S, NanoUsdPerGbMonth, dollars, storage_rate

SHOWN_DEFAULT: Final = 50
SHOWN_MAX: Final = 1_000
DAY_S: Final = 86_400
LATEST_S: Final = 10**11
"""Later than any time: a number of seconds, not of milliseconds."""


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


# --- Traffic --------------------------------------------------------------------------------------


class WhichTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint and a span of at most a day, in seconds since the epoch."""

    id: int
    since: float
    until: float


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked within one second."""

    at: int
    """Since the epoch."""
    requests: int
    units: float
    """Of all of them together."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """How much was asked, and what the workers cost that there are."""

    success: bool = True
    seconds: list[Second]
    """Those with requests, oldest first."""
    gpu_price: float | None
    """Dollars an hour of a worker awake, on average; null when there is none."""
    storage_price: float | None
    """Dollars an hour of a worker's disk."""


async def show_traffic(call: Call, asked: WhichTraffic) -> Traffic:
    """Show how much was asked of an endpoint, second by second, for at most a day."""
    if not 0 <= asked.since <= asked.until <= asked.since + DAY_S or asked.until > LATEST_S:
        raise errors.InvalidRequest("until must be after since, by a day at most.")
    return await call.services.db.run(_traffic, call.account, asked)


def _traffic(tx: Tx, account: AccountId, asked: WhichTraffic) -> Traffic:
    mine = serving.my_endpoint(tx, account, asked.id)
    since_ms, until_ms = int(asked.since * MS_PER_S), int(asked.until * MS_PER_S)
    mates = [one for one in workers.everything(tx) if one.endpoint_id == mine.id]
    return Traffic(
        seconds=[
            Second(at=one.at_s + each.second, requests=each.requests, units=each.units)
            for one in traffic.between(tx, mine.id, since_ms, until_ms)
            for each in one.seconds
        ],
        gpu_price=_average([one.gpu_rate for one in mates]),
        storage_price=_average(
            [storage_rate(NanoUsdPerGbMonth(one.disk_price), one.disk_mb) for one in mates]
        ),
    )


def _average(rates: list[int]) -> float | None:
    return dollars(sum(rates) // len(rates)) if rates else None
