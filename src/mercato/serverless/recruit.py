"""Which offers to rent as workers: by measured cost per performance, and by learning first.

An offer is only as good as its kind of hardware has shown itself to be: what a kind has done for
this group outweighs any score made elsewhere.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from mercato.market.ids import MachineId, OfferId
from mercato.market.money import NanoUsdPerHour
from mercato.serverless.endpoint import GroupId
from mercato.serverless.worker import Worker

ESTIMATE_WEIGHT: Final = 1.0
"""An estimate made elsewhere counts as this many measured machines."""
CURIOSITY: Final = 0.12
"""How much better a kind is hoped to be than is known, before one of it was measured."""
LARGE: Final = 0.15
"""A worker of more than this share of the fleet makes its steps too coarse."""
LIKE: Final = 1.1
"""A worker up to this many times the usual one is not large, whatever its share."""
FETCH_PER_HOUR: Final = NanoUsdPerHour(4_000_000)
"""What loading a worker adds to each hour of its stay, unless its host has the image."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An offer of the market seen as a future worker, on demand or by bid."""

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
    bid: NanoUsdPerHour | None = None
    """What wins it now, when the endpoint may rent by bid: then `gpu_price` is this."""
    holds_image: bool = False
    """Whether the host already has the image and the model, and so loads sooner."""


class Shown(msgspec.Struct, kw_only=True):
    """What one kind of hardware has shown: machines measured, and the middle of their units/s."""

    machines: int = 0
    perf: float = 0.0


class Kinds(msgspec.Struct, kw_only=True):
    """What each kind of hardware has shown to this endpoint. Plain data, stored with it."""

    shown: dict[str, Shown] = msgspec.field(default_factory=dict)

    def learn(self, workers: Iterable[Worker]) -> None:
        """Look again at the workers there are; of kinds that are gone, what they showed stays."""
        seen: dict[str, list[float]] = {}
        for worker in workers:
            if worker.perf > 0 and worker.benchmark > 0:
                seen.setdefault(worker.kind, []).append(worker.perf)
        for kind, perfs in seen.items():
            shown = self.shown.setdefault(kind, Shown())
            shown.machines = max(shown.machines, len(perfs))
            perfs.sort()
            half = len(perfs) // 2
            shown.perf = perfs[half] if len(perfs) > 2 else sum(perfs) / len(perfs)

    def expected(self, kind: str, estimate: float) -> float:
        """Units/s to expect of a machine of this kind; 0 when nothing is known."""
        shown = self.shown.get(kind)
        if shown is None:
            return estimate
        weight = ESTIMATE_WEIGHT if estimate > 0 else 0.0
        return (estimate * weight + shown.perf * shown.machines) / (weight + shown.machines)

    def hoped(self, kind: str, estimate: float) -> float:
        """The same with the benefit of the doubt, so that unknown kinds get their chance."""
        shown = self.shown.get(kind)
        machines = shown.machines if shown else 0
        return self.expected(kind, estimate) * (1 + CURIOSITY / (1 + machines))


def choose(
    short: float,
    fleet: float,
    offers: Sequence[Candidate],
    kinds: Kinds,
    awake_share: float,
    usual: float,
) -> list[Candidate]:
    """Which offers to rent to add `short` units/s, the best first.

    Args:
        short: units/s that are lacking.
        fleet: units/s that the fleet shall have.
        offers: what is on sale.
        kinds: what each kind has shown.
        awake_share: how much of the time these workers will be awake. One that mostly sleeps costs
            mostly its disk, which favours fewer, larger ones.
        usual: units/s of an average worker of the fleet, or of the market before there is one.
    """
    price = _price_of_work(kinds, awake_share)
    sizes = [size(one, kinds, usual) for one in offers]
    largest = max(LARGE * fleet, LIKE * usual, LIKE * min(sizes, default=0.0))
    fitting = (one for one, size in zip(offers, sizes, strict=True) if size <= largest)
    chosen: list[Candidate] = []
    taken: set[OfferId] = set()
    for offer in sorted(fitting, key=price):
        if short <= 0:
            break
        if offer.offer in taken:
            continue  # by bid and on demand, it is one offer
        taken.add(offer.offer)
        chosen.append(offer)
        short -= size(offer, kinds, usual)
    return chosen


def size(offer: Candidate, kinds: Kinds, usual: float) -> float:
    """Units/s to expect of an offer: the usual worker's when nothing is known of its hardware."""
    return kinds.expected(offer.kind, offer.estimate) or usual


def middle(offers: Sequence[Candidate], kinds: Kinds) -> float:
    """Units/s of the middle one of the offers of which anything is known; 0 when there are none.

    The measure for who has no worker yet: the best price per performance may be that of a machine
    so large that an endpoint which wants one worker would pay for many.
    """
    perfs = sorted(size(one, kinds, 0.0) for one in offers)
    perfs = [perf for perf in perfs if perf > 0]
    return perfs[len(perfs) // 2] if perfs else 0.0


def _price_of_work(kinds: Kinds, awake_share: float) -> Callable[[Candidate], tuple[float, int]]:
    """Nano-dollars an hour for each unit/s of an offer, cheapest first; ties by offer.

    Hardware of which nothing is known comes last: nobody can say what its work would cost.
    """

    def price(offer: Candidate) -> tuple[float, int]:
        hoped = kinds.hoped(offer.kind, offer.estimate)
        fetch = 0 if offer.holds_image else FETCH_PER_HOUR
        hour = offer.gpu_price * awake_share + offer.storage_price + fetch
        return (hour / hoped if hoped > 0 else float("inf"), offer.offer)

    return price
