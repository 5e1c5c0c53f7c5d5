"""What this market does not offer yet.

What can be read answers truthfully that there is nothing; what would change something is refused
with a message, so that no tool believes it has been done.
"""

from typing import Any

import msgspec

from mercato.control.api.call import Call, Nothing
from mercato.control.api.errors import NotOffered
from mercato.control.api.keys import ById


class NoOffers(msgspec.Struct, frozen=True, kw_only=True):
    """None."""

    success: bool = True
    offers: list[Any] = []


class NoBackups(msgspec.Struct, frozen=True, kw_only=True):
    """None."""

    success: bool = True
    backups: list[Any] = []


class NoBenchmarks(msgspec.Struct, frozen=True, kw_only=True):
    """None."""

    success: bool = True
    benchmarks: list[Any] = []
    next_token: str | None = None


class NoClusters(msgspec.Struct, frozen=True, kw_only=True):
    """None."""

    success: bool = True
    clusters: dict[str, Any] = {}


class NoData(msgspec.Struct, frozen=True, kw_only=True):
    """None."""

    success: bool = True
    data: list[Any] = []


class NoSecondFactor(msgspec.Struct, frozen=True, kw_only=True):
    """Two-factor authentication is off: this market does not offer it yet."""

    success: bool = True
    tfa_enabled: bool = False
    methods: list[Any] = []
    backup_codes_remaining: int = 0
    new_method_authorized: bool = False


async def no_list(call: Call, asked: Nothing) -> list[Any]:  # noqa: ARG001 - nothing is asked
    """List none: this market does not offer them yet."""
    return []


async def no_offers(call: Call, asked: Nothing) -> NoOffers:  # noqa: ARG001 - nothing is asked
    """Find no network volume offers: this market does not offer them yet."""
    return NoOffers()


async def no_backups(call: Call, asked: Nothing) -> NoBackups:  # noqa: ARG001 - nothing is asked
    """List no backups: this market does not offer them yet."""
    return NoBackups()


async def no_benchmarks(call: Call, asked: Nothing) -> NoBenchmarks:  # noqa: ARG001 - nothing is asked
    """List no benchmark results: none have been reported yet."""
    return NoBenchmarks()


async def no_clusters(call: Call, asked: Nothing) -> NoClusters:  # noqa: ARG001 - nothing is asked
    """List no clusters: this market does not offer them yet."""
    return NoClusters()


async def no_data(call: Call, asked: Nothing) -> NoData:  # noqa: ARG001 - nothing is asked
    """List none: this market does not offer them yet."""
    return NoData()


async def no_second_factor(call: Call, asked: Nothing) -> NoSecondFactor:  # noqa: ARG001 - nothing is asked
    """Say that two-factor authentication is off."""
    return NoSecondFactor()


async def refuse(call: Call, asked: Nothing) -> None:  # noqa: ARG001 - nothing is asked
    """Refuse: this market does not offer it yet."""
    raise NotOffered("This market does not offer that yet. Nothing was changed.")


async def refuse_by_id(call: Call, asked: ById) -> None:  # noqa: ARG001 - nothing is asked
    """Refuse: this market does not offer it yet."""
    raise NotOffered("This market does not offer that yet. Nothing was changed.")
