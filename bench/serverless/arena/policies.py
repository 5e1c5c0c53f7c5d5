"""Every policy by its name in the tables: the engine's own, then the peers'."""

from collections.abc import Callable
from typing import Final

from arena.ours import Ours, endpoint
from arena.peers import (
    Keda,
    Knative,
    Ray,
    RunPodCount,
    RunPodDelay,
    RunPodDelay60,
    SkyServe,
    SkyServeSpot,
)
from arena.world import Controller, World
from mercato.serverless.endpoint import Policy


def _ours(policy: Policy, *, bids: float = 0.0) -> Callable[[World], Controller]:
    return lambda world: Ours(world, endpoint(world.scenario, policy, bids=bids))


OURS: Final[dict[str, Callable[[World], Controller]]] = {
    "auto": _ours(Policy.AUTO),
    "queue": _ours(Policy.QUEUE),
    "vast": _ours(Policy.VAST),
}
POLICIES: Final[dict[str, Callable[[World], Controller]]] = {
    **OURS,
    "knative_kpa": Knative,
    "ray_serve": Ray,
    "keda_hpa": Keda,
    "runpod_qd_idle5": RunPodDelay,
    "runpod_qd_idle60": RunPodDelay60,
    "runpod_rc_idle60": RunPodCount,
    "skyserve": SkyServe,
}
"""On-demand workers only."""
WITH_BIDS: Final[dict[str, Callable[[World], Controller]]] = {
    "auto_bids": _ours(Policy.AUTO, bids=1.0),
    "skyserve_spot": SkyServeSpot,
}
"""Workers may be rented by bid, at half the price and until somebody bids more."""
