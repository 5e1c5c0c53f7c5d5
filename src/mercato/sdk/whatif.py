"""What an endpoint's recorded traffic would have cost and waited under other parameters.

The replay itself stands in serverless/whatif.py; here are the API's names and shapes for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mercato.market.money import NanoUsd, NanoUsdPerHour, nano
from mercato.sdk.endpoint_calls import Endpoint as Shown
from mercato.sdk.endpoint_calls import Traffic, Worker
from mercato.sdk.errors import BadQuery
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.whatif import Asked, Outcome, Terms, replay
from mercato.wire.naming import PARAMETERS, out_of_bounds

MOST: Final = 1e9
"""Of dollars, units a second, slots and seconds: no worker has more."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """The kind of worker to replay with; None is as the endpoint's own have shown it."""

    gpu_price: float | None = None
    """Dollars an hour of the whole worker while it is awake."""
    storage_price: float | None = None
    """Dollars an hour, asleep too."""
    perf: float | None = None
    """Units a second."""
    slots: int | None = None
    """Requests at once."""
    start_s: float = 30.0
    load_s: float = 240.0

    def __post_init__(self) -> None:
        """See that there can be such a worker.

        Raises:
            BadQuery: when something of it is no number in its bounds.
        """
        for name, value in msgspec.structs.asdict(self).items():
            positive = name in {"perf", "slots"}
            if value is None or (0 < value <= MOST) or (value == 0 and not positive):
                continue
            least = "above 0" if positive else "at least 0"
            raise BadQuery(
                f"--{name.replace('_', '-')} must be a number, {least} and at most {MOST:g}",
                code="invalid_request",
            )


def parameters(shown: Shown, changes: Mapping[str, Any]) -> Endpoint:
    """An endpoint's parameters, with changes under the API's names, as the server would take them.

    Raises:
        BadQuery: when one is unknown or cannot have that value.
    """
    unknown = sorted(changes.keys() - PARAMETERS.keys())
    if unknown:
        raise BadQuery(
            f"an endpoint has no parameter {unknown[0]!r}; it has {', '.join(sorted(PARAMETERS))}",
            code="invalid_request",
        )
    given = {ours: getattr(shown, wire) for wire, ours in PARAMETERS.items()}
    given |= {PARAMETERS[wire]: value for wire, value in changes.items()}
    try:
        made = msgspec.convert(given, Endpoint, strict=False)
    except msgspec.ValidationError as error:
        raise BadQuery(_said(error), code="invalid_request") from None
    wrong = out_of_bounds(made, among=changes)
    if wrong is not None:
        raise BadQuery(wrong, code="invalid_request")
    return made.fitting()


def _said(error: msgspec.ValidationError) -> str:
    """What is wrong with which parameter, by the API's name of it."""
    wrong, _, where = str(error).partition(" - at ")
    ours = where.strip("`").removeprefix("$.")
    names = {mine: wire for wire, mine in PARAMETERS.items()}
    return f"{names.get(ours, ours)}: {wrong[:1].lower()}{wrong[1:]}"


def terms(traffic: Traffic, workers: Sequence[Worker], kind: Kind) -> Terms:
    """The kind of worker to replay with.

    Raises:
        BadQuery: when something of it is neither given nor known from the endpoint's workers.
    """
    measured = [one for one in workers if one.perf > 0]
    perf = _middle([one.perf for one in measured]) if kind.perf is None else kind.perf
    gpu = traffic.gpu_price if kind.gpu_price is None else kind.gpu_price
    storage = traffic.storage_price if kind.storage_price is None else kind.storage_price
    slots = max((one.slots for one in measured), default=0) or 1
    missing = {"--perf": perf, "--gpu-price": gpu, "--storage-price": storage}
    unknown = [name for name, value in missing.items() if value is None]
    if perf is None or gpu is None or storage is None:
        raise BadQuery(
            f"it has no worker to go by: say what one is like with {', '.join(unknown)}",
            code="invalid_request",
        )
    return Terms(
        gpu_price=NanoUsdPerHour(nano(gpu)),
        storage_price=NanoUsdPerHour(nano(storage)),
        perf=perf,
        slots=slots if kind.slots is None else kind.slots,
        start_s=kind.start_s,
        load_s=kind.load_s,
        rent=NanoUsd(0),  # images are free to fetch, and the time of loading is paid as it runs
        awake=0,
        asleep=1,
    )


def _middle(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def arrivals(traffic: Traffic) -> list[Asked]:
    """The requests: those of one second evenly in it, each an even part of its units."""
    return [
        Asked(at_s=one.at + (number + 0.5) / one.requests, units=one.units / one.requests)
        for one in traffic.seconds
        for number in range(one.requests)
    ]


def played(
    traffic: Traffic, endpoint: Endpoint, worker: Terms, since: float, until: float
) -> Outcome:
    """What comes of the traffic that was recorded between two times under some parameters.

    Raises:
        BadQuery: when there is none, or nothing could serve it.
    """
    try:
        return replay(arrivals(traffic), endpoint, worker, from_s=since, to_s=until)
    except ValueError as error:
        raise BadQuery(str(error), code="invalid_request") from None
