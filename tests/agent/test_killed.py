"""An agent that is killed, as a real process beside a real Docker Engine."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from mercato.agent import main
from mercato.agent.main import Setup
from tests.agent.builders import desired, wanted
from tests.agent.test_client import TOKEN, Market, serving


async def start(data: Path, *options: str) -> asyncio.subprocess.Process:
    program = (sys.executable, "-m", "mercato.agent.main", "run", "--data", str(data), *options)
    return await asyncio.create_subprocess_exec(*program, stderr=asyncio.subprocess.DEVNULL)


async def containers(data: Path) -> list[bytes]:
    """Every container of the agent that joined from `data`, and nobody else's on the engine."""
    owner = msgspec.json.decode((data / "machine.json").read_bytes())["owner"]
    listing = await asyncio.create_subprocess_exec(
        *("docker", "ps", "-aq", "--filter", f"label=mercato.owner={owner}"),
        stdout=asyncio.subprocess.PIPE,
    )
    return (await listing.communicate())[0].split()


@pytest.mark.docker
async def test_killed_and_back_with_everything_as_it_was(box: str, tmp_path: Path) -> None:
    market = Market()
    market.desired = desired(wanted(1, image=box))
    data = tmp_path / "data"
    async with serving(market) as url:
        await main.join(url, TOKEN, data, Setup())
        agent = await start(data)
        before = await market.until_running(1)
        agent.send_signal(signal.SIGKILL)
        await agent.wait()
        market.reports.clear()
        again = await start(data, "--stop-all")
        after = await market.until_running(1)
        assert after.boot != before.boot
        assert after.generation > before.generation
        assert after.hardware.disk == before.hardware.disk
        assert after.instances[0].started_at_ms == before.instances[0].started_at_ms
        assert after.instances[0].ports == before.instances[0].ports
        assert after.instances[0].down_bytes >= before.instances[0].down_bytes
        assert len(await containers(data)) == 1
        again.terminate()
        assert await asyncio.wait_for(again.wait(), 20.0) == 0
        assert not await containers(data)
