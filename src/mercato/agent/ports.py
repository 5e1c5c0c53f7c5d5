"""Which of the machine's ports reach which port of an instance. Pure.

A wish is written `8080/tcp`. From 70000 up it asks for an identity port: one number that is the
same inside and outside. An allocation maps wishes to outside ports and is kept for an instance's
whole life.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from mercato.wire.agent import DesiredInstance

IDENTITY_FROM: Final = 70_000
"""Container ports from here up ask for the same port inside and outside."""

SSH: Final = "22/tcp"
JUPYTER: Final = "8080/tcp"


class NoPortLeft(Exception):  # noqa: N818 - an answer for a person
    """The machine's port range is used up."""


def wishes(desired: DesiredInstance) -> tuple[str, ...]:
    """Every port that an instance needs from outside, its ways in first."""
    ways_in = ([SSH] if desired.ssh else []) + ([JUPYTER] if desired.jupyter else [])
    asked = [f"{port.container}/{port.protocol}" for port in desired.ports]
    return tuple(dict.fromkeys(ways_in + asked))


def allocate(
    wanted: Iterable[str],
    kept: Mapping[str, int],
    taken: Collection[int],
    span: tuple[int, int],
    is_free: Callable[[int], bool] = lambda _port: True,
) -> dict[str, int]:
    """An outside port for each wish, out of the inclusive range `span`.

    What `kept` holds stays; a port in `taken` belongs to another instance; `is_free` asks the
    machine. Refuses with NoPortLeft.
    """
    allocation: dict[str, int] = {}
    used = set(taken) | set(kept.values())
    candidates = iter(range(span[0], span[1] + 1))
    for wish in wanted:
        if wish in kept:
            allocation[wish] = kept[wish]
            continue
        port = next((n for n in candidates if n not in used and is_free(n)), None)
        if port is None:
            raise NoPortLeft(
                f"all ports from {span[0]} to {span[1]} of this machine are in use; "
                "ask for fewer ports, or ask the host for a wider range"
            )
        allocation[wish] = port
        used.add(port)
    return allocation


def split(wish: str) -> tuple[int, str]:
    """The container port and the protocol of a wish."""
    port, _, protocol = wish.partition("/")
    return int(port), protocol or "tcp"


def inside(wish: str, outside: int) -> str:
    """What a wish is called inside the container: an identity port has its outside number."""
    port, protocol = split(wish)
    return f"{outside if port >= IDENTITY_FROM else port}/{protocol}"


def reachable(allocation: Mapping[str, int]) -> dict[str, int]:
    """The allocation as it is reported: port inside to port outside."""
    return {inside(wish, outside): outside for wish, outside in allocation.items()}
