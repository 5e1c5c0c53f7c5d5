"""Offer search, and what kinds of GPU there are: open to everybody."""

from typing import Any, Final

import msgspec

from mercato.control.api.call import Call, Nothing
from mercato.market import errors

QUERY_FIELDS_MAX: Final = 200

_TRANSPORT: Final = frozenset({"owner", "client_id", "api_key"})
"""Arguments that belong to the way a query is sent and not to the query."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A search: `{field: {operator: value}}` beside order, limit, type and allocated_storage."""

    order: list[Any] | None = None
    limit: int | None = None
    type: str | None = None
    allocated_storage: float | None = None


class AsksQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The newer form of a search."""

    q: dict[str, Any] = {}
    select_cols: list[str] | None = None


class Offers(msgspec.Struct, frozen=True, kw_only=True):
    """Offers that match, best first."""

    success: bool = True
    offers: list[dict[str, Any]]


def _found(call: Call, query: dict[str, Any]) -> bytes:
    if len(query) > QUERY_FIELDS_MAX:
        raise errors.InvalidQuery(f"A query has at most {QUERY_FIELDS_MAX} fields.")
    return call.services.offers.search(query, _searcher(call), b'{"success":true,"offers":[', b"]}")


def _searcher(call: Call) -> int:
    """The account that searches; 0 for nobody known."""
    return call.caller.account if call.caller else 0


async def search(call: Call, asked: dict[str, Any]) -> bytes:
    """Search the offers."""
    query = asked.get("q", asked) if isinstance(asked.get("q"), dict) else asked
    return _found(call, {name: query[name] for name in query if name not in _TRANSPORT})


async def search_asks(call: Call, asked: AsksQuery) -> bytes:
    """Search the offers, in the newer form."""
    return _found(call, dict(asked.q))


def offer_ids(call: Call, query: dict[str, Any]) -> list[int]:
    """The offers that a query finds, in its order."""
    return call.services.offers.ids(query, _searcher(call))


class GpuNames(msgspec.Struct, frozen=True, kw_only=True):
    """Names of GPU models."""

    success: bool = True
    gpu_names: list[str]


class GpuType(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU model and its memory in megabytes."""

    canonical_name: str
    gpu_ram_mb: int


class GpuTypes(msgspec.Struct, frozen=True, kw_only=True):
    """GPU models."""

    success: bool = True
    gpu_types: list[GpuType]


async def list_gpu_names(call: Call, asked: Nothing) -> GpuNames:  # noqa: ARG001 - nothing is asked
    """List the names of the GPU models in the market."""
    models = call.services.offers.gpu_models()
    return GpuNames(gpu_names=sorted({name for name, _ in models}))


async def list_gpu_types(call: Call, asked: Nothing) -> GpuTypes:  # noqa: ARG001 - nothing is asked
    """List the GPU models in the market with their memory."""
    models = call.services.offers.gpu_models()
    return GpuTypes(
        gpu_types=[GpuType(canonical_name=name, gpu_ram_mb=ram_mb) for name, ram_mb in models]
    )
