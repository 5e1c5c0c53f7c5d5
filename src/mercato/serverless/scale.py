"""How many workers to have: one function over parameters, load, workers and offers.

`decide` is asked once a second for each endpoint. It returns what to do and why; who carries it
out is the engine's business, and what is not done is decided again a second later.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from mercato.market.ids import ContractId, OfferId
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.load import Load
from mercato.serverless.recruit import Candidate
from mercato.serverless.worker import Worker


class Kind(StrEnum):
    """What may be done about a fleet."""

    RENT = "rent"
    WAKE = "wake"
    SLEEP = "sleep"
    """Finish what it has, then stop it and keep its disk."""
    UPDATE = "update"
    DESTROY = "destroy"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do. It names an offer when it rents, else a worker."""

    kind: Kind
    reason: str
    """Why, with the figures that decided; for whoever asks why this worker started."""
    worker: ContractId | None = None
    offer: OfferId | None = None


class Memory(msgspec.Struct, kw_only=True):
    """What a policy keeps from tick to tick; plain data, to be stored with the endpoint."""


def decide(
    now_s: float,
    endpoint: Endpoint,
    load: Load,
    workers: Sequence[Worker],
    offers: Sequence[Candidate],
    memory: Memory,
) -> list[Decision]:
    """What to do about this endpoint's fleet now; an empty list when it is right as it is.

    Args:
        now_s: seconds on any clock that never goes back.
        endpoint: the parameters.
        load: what has been asked lately, brought up to `now_s` by its `tick`.
        workers: the whole fleet, also what is on its way and what is broken.
        offers: what could be rented now; empty when nothing can.
        memory: this policy's own, changed in place.
    """
    raise NotImplementedError  # the policies follow
