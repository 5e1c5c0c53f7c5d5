"""What may be done about a fleet, and why it is."""

from enum import StrEnum

import msgspec

from mercato.market.ids import ContractId, OfferId
from mercato.market.money import NanoUsdPerHour


class Kind(StrEnum):
    """What may be done about a fleet."""

    RENT = "rent"
    WAKE = "wake"
    """Start it; one that is draining goes on."""
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
    bid: NanoUsdPerHour | None = None
    """What to bid for it; None: rent it as the worker group's launch says."""
