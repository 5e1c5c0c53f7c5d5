"""Is it up, may it be sent work, what does it count, what can it do."""

import anyio
import msgspec
import psycopg
import psycopg_pool
from starlette.responses import HTMLResponse, Response

from mercato.control.api.call import Call, Nothing
from mercato.control.db import Tx

READY_WITHIN_S = 2.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: str = "ok"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether each part that a request needs is there."""

    ready: bool
    database: bool
    catalog: bool
    agents: int
    """Machines connected to this process."""


async def health(call: Call, asked: Nothing) -> Health:  # noqa: ARG001 - nothing is asked
    """Say that the process answers."""
    return Health()


async def readiness(call: Call, asked: Nothing) -> Response:  # noqa: ARG001 - nothing is asked
    """Say whether requests can be served; 503 when not."""
    services = call.services
    database = False
    with anyio.move_on_after(READY_WITHIN_S):
        try:
            await services.db.run(_touch)
            database = True
        except (psycopg.Error, psycopg_pool.PoolTimeout):
            pass
    told = Readiness(
        ready=database and services.offers.ready,
        database=database,
        catalog=services.offers.ready,
        agents=services.agents.connected,
    )
    status = 200 if told.ready else 503
    return Response(msgspec.json.encode(told), status, media_type="application/json")


def _touch(tx: Tx) -> None:
    tx.one("select 1 as one")


async def metrics(call: Call, asked: Nothing) -> Response:  # noqa: ARG001 - nothing is asked
    """Count everything, in Prometheus' text format."""
    return Response(call.services.exposition(), media_type="text/plain; version=0.0.4")


async def openapi(call: Call, asked: Nothing) -> Response:  # noqa: ARG001 - nothing is asked
    """Describe this API in OpenAPI 3.1."""
    return Response(call.services.openapi, media_type="application/json")


async def documentation(call: Call, asked: Nothing) -> HTMLResponse:  # noqa: ARG001 - nothing is asked
    """Describe this API for people."""
    return HTMLResponse(call.services.documentation)
