"""What a machine is told that may not speak any more."""

import aiohttp

from tests.control.api.scripted import join
from tests.control.api.serving import Served


async def test_a_machine_off_the_market_is_told_so_and_a_stranger_is_not(server: Served) -> None:
    joined = join(server)
    path = f"/api/v0/machines/{joined.machine}/force_delete/"
    assert server.call("POST", path, "host", {}).status_code == 200
    assert await _close_code(server, joined.machine_key) == 4410
    assert await _close_code(server, "nobody's") == 4401


async def _close_code(server: Served, key: str) -> int | None:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{server.url}/agent/v1/connect") as line,
    ):
        await line.receive(timeout=10.0)
        return line.close_code
