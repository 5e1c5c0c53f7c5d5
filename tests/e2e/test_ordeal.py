"""The official client, while the containers of workers of either make are killed at random."""

import asyncio
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from vastai import Serverless

from tests.agent.lab_image import build_of_workers
from tests.e2e.conftest import Market, market
from tests.e2e.rented import Rented
from tests.engine.ordeal import Ordeal
from tests.engine.street import certificates

ORDEAL_S = float(os.environ.get("MERCATO_ORDEAL_S", "15"))
"""How long containers are killed for; `make ordeal` does it for half an hour."""
READY_S = 120.0
WORKERS = 3
MACHINES = 6
"""A worker that fails again and again is given back, and its machine is left alone for a day."""
HARDWARE = """
hostname = "rack-{number}"
[gpu]
model = "RTX 4090"
count = {gpus}
cuda_max = 12.8
driver_version = "570.86.10"
[cpu]
cores = 8
ram_gb = 16
[disk]
size_gb = 100
[network]
up_mbps = 900
down_mbps = 900
public_ip = "127.0.0.1"
[score]
dlperf = 180.0
reliability = 0.99
"""

pytestmark = [
    pytest.mark.client,
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(ORDEAL_S + 600),
]


@pytest.fixture(scope="module")
def racks() -> Iterator[Market]:
    """A market with some machines, whose containers are real."""
    files = {f"{number}.toml": HARDWARE.format(number=number, gpus=2) for number in range(MACHINES)}
    with market(*(f"--hardware={name}" for name in files), files=files) as up:
        yield up


@pytest.mark.parametrize("kind", ["official", "ours"])
async def test_09_no_request_is_lost_while_containers_of_workers_are_killed_at_random(
    racks: Market, kind: str
) -> None:
    image = await asyncio.to_thread(build_of_workers)
    luck = random.Random(f"{kind} {ORDEAL_S}")
    async with (
        certificates() as Serverless.SSL_CERT_URL,
        Rented.workers(racks, kind, image, WORKERS) as workers,
        Serverless(
            api_key=racks.keys["renter"], autoscaler_url=racks.url, webserver_url=racks.url
        ) as client,
    ):
        await workers.until_ready(WORKERS, seconds=READY_S)
        endpoint: Any = await client.get_endpoint(workers.name)
        ordeal = Ordeal(workers, endpoint, luck, life_s=min(60.0, ORDEAL_S / 2))
        ended = await ordeal.run(ORDEAL_S)
        print(kind, dict(ended))  # noqa: T201 - what a run of half an hour amounted to
        assert ended["request answered"] > ORDEAL_S
        await workers.until_nothing_is_here()
