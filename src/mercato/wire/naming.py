"""The API's name of each parameter of an endpoint, and ours; what cannot be, by the API's name."""

import math
from collections.abc import Collection
from typing import Final

from mercato.serverless.endpoint import BOUNDS, Endpoint

PARAMETERS: Final = {
    "min_load": "load_min",
    "min_cold_load": "pool_load_min",
    "target_util": "utilisation",
    "cold_mult": "pool_factor",
    "cold_workers": "workers_min",
    "max_workers": "workers_max",
    "max_queue_time": "worker_wait_max_s",
    "target_queue_time": "wait_aim_s",
    "inactivity_timeout": "idle_before_zero_s",
    "endpoint_state": "state",
    "policy": "policy",
    "late_weight": "late_weight",
    "interruptible_share": "interruptible_share",
}
"""The last three are Mercato's own."""


def out_of_bounds(endpoint: Endpoint, among: Collection[str] = PARAMETERS) -> str | None:
    """What is wrong with which parameter; None when nothing is.

    Bounds are looked at for those `among` these alone, by the API's names: what was kept when they
    were others can still be shown and played again.
    """
    numbers = {wire: getattr(endpoint, ours) for wire, ours in PARAMETERS.items()}
    for wire, value in numbers.items():
        if isinstance(value, float) and not math.isfinite(value):
            return f"{wire} must be a finite number"
    if not 0 < endpoint.utilisation <= 1:
        return "target_util is above 0 and at most 1"
    for wire in among:
        bounds = BOUNDS.get(PARAMETERS[wire])
        if bounds is not None and not bounds[0] <= numbers[wire] <= bounds[1]:
            least, most = bounds
            span = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            return f"{wire} is {span}"
    return None
