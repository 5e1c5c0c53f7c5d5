"""Which engine has which endpoint: each engine computes the same answer from who is alive.

Rendezvous hashing (Thaler and Ravishankar 1998): every engine has a score for every endpoint, the
highest has it. When one comes or goes, only the endpoints change hands that it wins or leaves.
"""

from collections.abc import Collection
from hashlib import blake2b

from mercato.serverless.endpoint import EndpointId


def owner(endpoint: EndpointId, living: Collection[str]) -> str | None:
    """The engine that should have an endpoint; None when none is alive."""
    return max(living, key=lambda engine: _score(endpoint, engine), default=None)


def _score(endpoint: EndpointId, engine: str) -> tuple[bytes, str]:
    return blake2b(f"{endpoint}:{engine}".encode(), digest_size=8).digest(), engine
