"""Which offers to rent as workers: by measured cost per performance, and by learning first.

An offer is only as good as its kind of hardware has shown itself to be: what a kind has done for
this group outweighs any score made elsewhere.
"""

import msgspec

from mercato.market.ids import MachineId, OfferId
from mercato.market.money import NanoUsdPerHour
from mercato.serverless.endpoint import GroupId


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An offer of the market seen as a future worker."""

    offer: OfferId
    group: GroupId
    machine: MachineId
    kind: str
    """The hardware as one word; the same word as `Worker.kind`."""
    gpu_price: NanoUsdPerHour
    storage_price: NanoUsdPerHour
    estimate: float
    """Units/s guessed from scores made elsewhere, until the kind has been measured."""
    reliability: float = 1.0
    interruptible: bool = False
    holds_image: bool = False
    """Whether the host already has the image and the model, and so loads sooner."""
