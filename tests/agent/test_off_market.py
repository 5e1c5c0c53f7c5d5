"""A machine that was taken off the market keeps nothing of the market's."""

import asyncio
import subprocess
from pathlib import Path

import msgspec
import pytest

from mercato.agent import main
from mercato.agent.client import OffMarket
from mercato.agent.main import Setup
from tests.agent.builders import desired, wanted
from tests.agent.test_client import TOKEN, Market, serving

HARDWARE = """
[gpu]
model = "RTX 4090"
count = 1
[network]
public_ip = "127.0.0.1"
"""


@pytest.mark.docker
async def test_its_own_job_is_removed_and_its_agent_ends(tmp_path: Path, box: str) -> None:
    file = tmp_path / "one.toml"
    file.write_text(HARDWARE)
    market = Market()
    market.desired = desired(wanted(1, image=box))
    async with serving(market) as url:
        await main.join(url, TOKEN, tmp_path / "data", Setup(hardware_file=file))
        owner = msgspec.json.decode((tmp_path / "data" / "machine.json").read_bytes())["owner"]
        agent = asyncio.create_task(main.run(tmp_path / "data"))
        await market.until_running(1)
        assert len(await asyncio.to_thread(containers, owner)) == 1
        market.close_code = 4410
        await market.connections[-1].close()
        with pytest.raises(OffMarket, match="taken off the market"):
            await asyncio.wait_for(agent, 30.0)
    assert await asyncio.to_thread(containers, owner) == []


def containers(owner: str) -> list[str]:
    """Those that an agent made."""
    asked = ["docker", "ps", "--all", "--quiet", "--filter", f"label=mercato.owner={owner}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
