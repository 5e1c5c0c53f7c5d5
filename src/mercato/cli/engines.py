"""`mercato engine`: run a Serverless Engine."""

import asyncio
import secrets
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from mercato.cli.command import Option, command, group
from mercato.cli.errors import Trouble

app = group("mercato")


@command(app, "engine")
def engine(
    *,
    standalone: Annotated[
        Path,
        Option("--standalone", help="A TOML file that names endpoints and their workers."),
    ],
    host: Annotated[str, Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option("--port", help="The port to listen on.")] = 8410,
) -> None:
    """Route requests to workers of your own, without a market.

    `mercato serve` runs an engine for its market; this one is for workers that somebody else keeps:
    each runs mercato-pyworker, or the worker server of the vastai package, with this address as its
    REPORT_ADDR and with the id and token that FILE gives it.

    Example: mercato engine --standalone workers.toml --host 0.0.0.0

    The file, for example:

        account_key = "mine"
        [[endpoint]]
        name = "llm"
        key = "secret of its clients"
        workers = [{id = 1, token = "known to worker 1"}, {id = 2, token = "and to 2"}]
    """
    import uvloop

    from mercato.engine import process
    from mercato.engine.clock import SystemClock
    from mercato.engine.standalone import BadFile, read

    try:
        market = read(standalone, SystemClock())
    except BadFile as error:
        raise Trouble(str(error)) from error
    work = process.run(market, name=secrets.token_hex(4), host=host, port=port)

    async def until_told_to_end() -> None:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    try:
        uvloop.run(until_told_to_end())
    except OSError as error:
        raise Trouble(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
