"""The API's name of each parameter of an endpoint, and ours."""

from typing import Final

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
