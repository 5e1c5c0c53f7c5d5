"""An endpoint that rents by bid: outbid in a real container, served elsewhere, nothing lost."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from vastai import Serverless

from tests.agent.lab_image import build_of_workers
from tests.e2e.conftest import Market, market
from tests.e2e.official import Official
from tests.e2e.rented import Rented
from tests.e2e.test_bidding import NOTICE_S, call, with_credit
from tests.e2e.test_ordeal import HARDWARE
from tests.engine.street import certificates

MACHINES: Final = 2
ON_DEMAND: Final = 0.4
LEAST_BID: Final = 0.1
READY_S: Final = 120.0
CLIENTS: Final = 3

pytestmark = [pytest.mark.client, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def racks() -> Iterator[Market]:
    """Some machines of one GPU each, that take a quarter of their price as a bid."""
    files = {f"{number}.toml": HARDWARE.format(number=number, gpus=1) for number in range(MACHINES)}
    with market(*(f"--hardware={name}" for name in files), files=files) as up:
        for machine in range(1, MACHINES + 1):
            asked = {
                "machine": machine,
                "price_gpu": ON_DEMAND,
                "price_min_bid": LEAST_BID,
                "bid_notice": NOTICE_S,
            }
            call(up, "host", "PUT", "/api/v0/machines/create_asks/", asked)
        yield up


async def test_22_who_is_outbid_is_replaced_and_no_request_is_lost(racks: Market) -> None:
    image = await asyncio.to_thread(build_of_workers)
    wanted = {"interruptible_share": 1.0, "min_load": 1.0, "cold_workers": 1, "max_workers": 2}
    async with (
        certificates() as Serverless.SSL_CERT_URL,
        Rented.workers(racks, "ours", image, 1, **wanted) as workers,
        Serverless(
            api_key=racks.keys["renter"], autoscaler_url=racks.url, webserver_url=racks.url
        ) as client,
    ):
        await workers.until_ready(1, seconds=READY_S)
        (first,) = await workers.rows()
        endpoint: Any = await client.get_endpoint(workers.name)
        over = asyncio.Event()
        with racks.somebody() as rival:
            async with asyncio.TaskGroup() as tasks:
                clients = [tasks.create_task(_ask(endpoint, over)) for _ in range(CLIENTS)]
                theirs = await asyncio.to_thread(_outbid, racks, rival, first, image)
                await workers.until(READY_S, lambda rows: _replaced(rows, first))
                over.set()
            await asyncio.to_thread(rival.ok, f"destroy instance {theirs} -y")
        assert min(one.result() for one in clients) > 0
        rented = [one for one in await workers.decided() if one["kind"] == "rent"]
        assert [one["worker_id"] for one in rented][-1] == first
        assert len(rented) == 2
        assert all(one["reason"].endswith(f"by bid, for ${LEAST_BID:g} an hour") for one in rented)


async def _ask(endpoint: Any, over: asyncio.Event) -> int:
    """Ask one request after another until it is over; how many were answered."""
    answered = 0
    while not over.is_set():
        payload = {"n": answered, "dawdle_s": 0.2}
        answer = await endpoint.request("/generate", payload, cost=10)
        assert answer["ok"], answer
        assert answer["response"]["echo"] == payload
        answered += 1
    return answered


def _outbid(racks: Market, rival: Official, worker: int, image: str) -> int:
    """Bid more for the machine of a worker; the instance that will run there."""
    with_credit(racks, rival)
    shown = call(racks, "renter", "GET", f"/api/v0/instances/{worker}/")["instances"]
    assert shown["is_bid"]
    (offer,) = rival.raw(f"search offers -n --type bid machine_id={shown['machine_id']}")
    made = rival.raw(
        f"create instance {offer['id']} --image {image} --disk 4 --ssh --bid_price 0.25"
    )
    return int(made["new_contract"])


def _replaced(rows: dict[int, dict[str, Any]], first: int) -> bool:
    """Whether the first lost its GPUs and another serves."""
    return rows[first]["status"] == "unavail" and any(
        row["status"] == "idle" for worker, row in rows.items() if worker != first
    )
