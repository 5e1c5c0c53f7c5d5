"""The control plane as a child process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from mercato.agent.way_home import HOME
from mercato.cli.up.children import Child, mercato
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say


@asynccontextmanager
async def server(
    place: Place, host: str, port: int, url: str, database_url: str, say: Say
) -> AsyncIterator[Child]:
    """Run `mercato serve` for as long as this is held; answers when it is entered.

    Raises:
        Trouble: when it cannot start.
    """
    place.server.mkdir(exist_ok=True, mode=0o700)
    child = Child(
        "server",
        mercato(
            "serve",
            "--host",
            host,
            "--port",
            str(port),
            "--data",
            str(place.server),
            "--verify-simulated",
        ),
        place.logs / "server.log",
        say,
        env={
            "DATABASE_URL": database_url,
            "MERCATO_PUBLIC_URL": url,
            # Workers are instances of this very machine (agent/way_home.py).
            "MERCATO_ENGINE_URL": f"http://{HOME}:{port}",
        },
    )

    async def answers() -> bool:
        async with httpx2.AsyncClient(timeout=2.0) as http:
            try:
                return (await http.get(f"{url}/readyz")).status_code == 200
            except httpx2.TransportError:
                return False

    try:
        with say.step("control plane") as step:
            await child.start(answers)
            step.outcome = f"process {child.pid}, log in {child.log}"
        yield child
    finally:
        await child.stop()
