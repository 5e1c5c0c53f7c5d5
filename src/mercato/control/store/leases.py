"""Which engine has which endpoint, until when; the fence tells an old owner from the new."""

from typing import Any

import msgspec

from mercato.control.db import Tx
from mercato.serverless.endpoint import EndpointId


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint's owner."""

    endpoint_id: EndpointId
    engine: str
    fence: int
    """Rises whenever another engine takes the endpoint."""
    until_ms: int


def here(tx: Tx, engine: str, address: str, until_ms: int) -> None:
    """Write that an engine is alive for so long."""
    tx.run(
        "insert into engines (name, address, until_ms) values (%s, %s, %s)"
        " on conflict (name) do update set address = excluded.address,"
        " until_ms = excluded.until_ms",
        engine,
        address,
        until_ms,
    )


def living(tx: Tx, now_ms: int) -> dict[str, str]:
    """The engines that are alive, with their addresses."""
    rows = tx.all("select name, address from engines where until_ms > %s", now_ms)
    return {row["name"]: row["address"] for row in rows}


def everything(tx: Tx) -> dict[EndpointId, Lease]:
    """Every lease, ended ones too."""
    rows = tx.all("select endpoint_id, engine, fence, until_ms from endpoint_leases")
    return {row["endpoint_id"]: msgspec.convert(row, Lease) for row in rows}


def write(tx: Tx, lease: Lease) -> None:
    """Write an endpoint's owner."""
    tx.run(
        "insert into endpoint_leases (endpoint_id, engine, fence, until_ms)"
        " values (%s, %s, %s, %s) on conflict (endpoint_id) do update set"
        " engine = excluded.engine, fence = excluded.fence, until_ms = excluded.until_ms",
        lease.endpoint_id,
        lease.engine,
        lease.fence,
        lease.until_ms,
    )


def fence_of(tx: Tx, endpoint: EndpointId) -> int:
    """The fence of an endpoint's present owner; 0 when it has none."""
    row = tx.one("select fence from endpoint_leases where endpoint_id = %s", endpoint)
    return 0 if row is None else int(row["fence"])


def keep(tx: Tx, endpoint: EndpointId, memory: bytes, fence: int) -> None:
    """Keep what an owner remembers; an older owner's memory is not kept."""
    tx.run(
        "update endpoint_leases set memory = %s where endpoint_id = %s and fence <= %s",
        memory,
        endpoint,
        fence,
    )


def kept(tx: Tx, endpoint: EndpointId) -> bytes | None:
    """What was kept last."""
    row: dict[str, Any] | None = tx.one(
        "select memory from endpoint_leases where endpoint_id = %s", endpoint
    )
    return None if row is None or row["memory"] is None else bytes(row["memory"])


def forget_before(tx: Tx, before_ms: int) -> int:
    """Delete engines that died before; how many."""
    return tx.run("delete from engines where until_ms < %s", before_ms)
