"""The engine as a process of its own: listen, run, stop."""

import structlog

from mercato.engine.api import Api
from mercato.engine.clock import SystemClock
from mercato.engine.engine import Engine
from mercato.engine.market import Market
from mercato.http.server import Server

STOP_GRACE_S = 5.0
BODY_BYTES_MAX = 64 * 1024 * 1024
"""What passes through an endpoint's door may be large; everything else is small."""

_log = structlog.get_logger("mercato.engine")


async def run(
    market: Market, *, name: str, host: str, port: int, address: str = "", shared: bool = False
) -> None:
    """Serve until cancelled.

    Raises:
        OSError: when the address cannot be listened on, or the market cannot be reached.
    """
    log_plainly()
    engine = Engine(market, SystemClock(), name, address)
    server = Server(Api(engine).handle, _complain, body_bytes_max=BODY_BYTES_MAX)
    await engine.open()
    port = await server.listen(host, port, shared=shared)
    _log.info("engine listening", url=f"http://{host}:{port}", name=name)
    try:
        await engine.run()
    finally:
        await server.stop(STOP_GRACE_S)


def log_plainly() -> None:
    """Have tracebacks logged without the values of variables: tokens and payloads are in these."""
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])


def _complain(what: str, error: BaseException) -> None:
    _log.error("a call failed", asked=what, exc_info=error)
