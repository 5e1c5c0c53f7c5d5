"""Endpoints among engines: each says that it is there, and is told which endpoints are its own.

Who should have an endpoint is computed from who is alive (serverless/sharding.py); a lease says who
has it. One that is due to another engine is given up at the next word of its owner, one of a dead
engine when its lease ends; its fence rises, so that what the old owner still asks for is refused.
"""

from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.store import endpoints, leases
from mercato.control.store.leases import Lease
from mercato.market import errors
from mercato.serverless.endpoint import EndpointId
from mercato.serverless.sharding import owner
from mercato.wire.fleet import Ownership

LEASE_MS: Final = 3_500
"""So that the endpoints of a dead engine have moved within five seconds."""


def stand(tx: Tx, engine: str, address: str, now_ms: int) -> Ownership:
    """Hear that an engine is there; which endpoints are its own, and where the others are."""
    tx.queue("engines")
    leases.here(tx, engine, address, now_ms + LEASE_MS)
    living = leases.living(tx, now_ms)
    known = leases.everything(tx)
    mine: dict[EndpointId, int] = {}
    others: dict[EndpointId, str] = {}
    for endpoint in endpoints.everything(tx):
        before = known.get(endpoint.id)
        after = _after(endpoint.id, before, engine, owner(endpoint.id, living), now_ms)
        if after is not None and after != before:
            leases.write(tx, after)
        lease = after or before
        if lease is None or lease.until_ms <= now_ms:
            continue
        if lease.engine == engine:
            mine[endpoint.id] = lease.fence
        elif lease.engine in living:
            others[endpoint.id] = living[lease.engine]
    return Ownership(mine=mine, others=others)


def _after(
    endpoint: EndpointId, lease: Lease | None, engine: str, due: str | None, now_ms: int
) -> Lease | None:
    """The lease once `engine` has spoken; None when it stays as it is."""
    if lease is not None and lease.engine == engine:
        until_ms = now_ms + LEASE_MS if due == engine else now_ms
        return msgspec.structs.replace(lease, until_ms=until_ms)
    free = lease is None or lease.until_ms <= now_ms
    if not free or due != engine:
        return None
    return Lease(
        endpoint_id=endpoint,
        engine=engine,
        fence=1 if lease is None else lease.fence + 1,
        until_ms=now_ms + LEASE_MS,
    )


def check_fence(tx: Tx, endpoint: EndpointId, fence: int) -> None:
    """See that an engine still owns an endpoint.

    Raises:
        Conflict: when another has taken it since.
    """
    if fence < leases.fence_of(tx, endpoint):
        raise errors.Conflict(f"Another engine has endpoint {endpoint} now.")
