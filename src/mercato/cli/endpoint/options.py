"""The parameters of an endpoint and of a worker group as options of the command line."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from mercato.cli.command import Option


class Policy(StrEnum):
    """What scales an endpoint."""

    AUTO = "auto"
    QUEUE = "queue"
    VAST = "vast"


class State(StrEnum):
    """Who may change an endpoint's workers."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    STOPPED = "stopped"


PARAMETERS: Final[Mapping[str, Any]] = {
    "max_workers": Annotated[
        int | None, Option("--max-workers", help="Never more workers, asleep ones counted.")
    ],
    "cold_workers": Annotated[
        int | None, Option("--cold-workers", help="Never fewer that have the model on disk.")
    ],
    "min_load": Annotated[
        float | None, Option("--min-load", help="Units a second that are always expected.")
    ],
    "min_cold_load": Annotated[
        float | None,
        Option("--min-cold-load", help="Units a second that all can do, asleep ones counted."),
    ],
    "target_util": Annotated[
        float | None, Option("--target-util", help="How much of the capacity awake is used, to 1.")
    ],
    "cold_mult": Annotated[
        float | None, Option("--cold-mult", help="Capacity awake and asleep, times that awake.")
    ],
    "max_queue_time": Annotated[
        float | None, Option("--max-queue-time", help="Seconds of work that one worker may have.")
    ],
    "target_queue_time": Annotated[
        float | None, Option("--target-queue-time", help="Seconds after which a request is late.")
    ],
    "inactivity_timeout": Annotated[
        float | None,
        Option("--inactivity-timeout", help="Idle seconds before the last one sleeps; -1: never."),
    ],
    "policy": Annotated[Policy | None, Option("--policy", help="The rule that scales it.")],
    "late_weight": Annotated[
        float | None,
        Option("--late-weight", help="What lateness costs: 3 cheap, 10 balanced, 30 fast."),
    ],
    "interruptible_share": Annotated[
        float | None, Option("--interruptible", help="The share rented by bid, 0 to 1.")
    ],
}
"""What scales an endpoint; each is left at its default, or as it is, when it is not given."""

GROUP: Final[Mapping[str, Any]] = {
    "search_params": Annotated[
        str | None,
        Option("--query", "-q", help="The offers to rent from: 'gpu_name=RTX_4090 num_gpus=1'"),
    ],
    "gpu_ram": Annotated[
        float | None, Option("--gpu-ram", help="Gigabytes of video memory that the model needs.")
    ],
    "test_workers": Annotated[
        int | None,
        Option("--test-workers", help="Machines to measure before the cheapest are preferred."),
    ],
    "launch_args": Annotated[
        str | None,
        Option("--launch-args", help="Over the template's: '--disk 40 --env \"-e A=1\"'"),
    ],
}
"""What a worker group's workers run, and on which offers, besides their template."""


def given(options: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `options` that are in `names` and were given, as the API takes them."""
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in options.items()
        if name in names and value is not None
    }
