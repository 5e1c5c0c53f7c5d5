"""Workers and offers for the tests of decisions."""

from mercato.market.ids import ContractId, MachineId, OfferId
from mercato.market.money import NanoUsdPerHour, nano
from mercato.serverless.endpoint import GroupId
from mercato.serverless.recruit import Candidate
from mercato.serverless.worker import State, Worker


def worker(
    name: int,
    state: State = State.READY,
    *,
    perf: float = 300.0,
    price: float = 0.36,
    kind: str = "RTX 4090",
    interruptible: bool = False,
    on_demand: float | None = None,
) -> Worker:
    return Worker(
        id=ContractId(name),
        group=GroupId(1),
        machine=MachineId(name),
        kind=kind,
        gpu_price=NanoUsdPerHour(nano(price)),
        on_demand_price=NanoUsdPerHour(nano(price if on_demand is None else on_demand)),
        storage_price=NanoUsdPerHour(nano(0.02)),
        interruptible=interruptible,
        state=state,
        slots=8,
        estimate=perf,
        benchmark=perf,
        perf=perf,
    )


def offer(
    name: int,
    *,
    perf: float = 300.0,
    price: float = 0.36,
    kind: str = "RTX 4090",
    by_bid: bool = False,
) -> Candidate:
    return Candidate(
        offer=OfferId(name),
        group=GroupId(1),
        machine=MachineId(1_000 + name),
        kind=kind,
        gpu_price=NanoUsdPerHour(nano(price)),
        storage_price=NanoUsdPerHour(nano(0.02)),
        estimate=perf,
        bid=NanoUsdPerHour(nano(price)) if by_bid else None,
    )
