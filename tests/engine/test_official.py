"""The official client against our engine, with the official worker server and with our own."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.ordeal import Ordeal
from tests.engine.street import Street

pytestmark = [pytest.mark.client, pytest.mark.slow]

KINDS = ["official", "ours"]
ORDEAL_S = float(os.environ.get("MERCATO_ORDEAL_S", "4"))
"""How long workers are killed for."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def street(kind: str, tmp_path: Path) -> AsyncIterator[Street]:
    async with Street.up(tmp_path, kind) as street:
        yield street


async def test_everything_that_the_client_can_do(street: Street) -> None:
    async with street.client() as (client, endpoint):
        await _requests(endpoint)
        await _streams(endpoint)
        await _fails(endpoint)
        await _cancels(street, endpoint)
        await _sessions(street, endpoint)
        await street.until_nothing_is_here()
        workers = await endpoint.get_workers()
        assert {worker.id for worker in workers} == {1, 2}
        assert all(worker.status == "idle" and worker.measured_perf > 0 for worker in workers)
        assert client.is_open()


async def _requests(endpoint: Any) -> None:
    made = [endpoint.request("/generate", {"n": n, "dawdle_s": 0.01}, cost=100) for n in range(60)]
    made += [endpoint.request("/serial", {"n": n}) for n in range(5)]
    answers = await asyncio.gather(*made)
    assert all(answer["ok"] for answer in answers)
    assert [answer["response"]["echo"]["n"] for answer in answers] == [*range(60), *range(5)]
    assert len({answer["url"] for answer in answers}) == 2


async def _streams(endpoint: Any) -> None:
    answer = await endpoint.request("/stream", {"count": 7, "dawdle_s": 0.01}, stream=True)
    assert answer["ok"]
    assert [piece async for piece in answer["response"]] == [{"number": n} for n in range(7)]


async def _fails(endpoint: Any) -> None:
    refused = await endpoint.request("/generate", {"fail": 418}, retry=False)
    assert (refused["ok"], refused["status"]) == (False, 418)
    broken = await endpoint.request("/generate", {"fail": 500}, retry=False)
    assert (broken["ok"], broken["status"]) == (False, 500)
    assert (await endpoint.request("/nowhere", {}, retry=False))["status"] == 404


async def _cancels(street: Street, endpoint: Any) -> None:
    request = endpoint.request("/generate", {"dawdle_s": 60})
    await _until(street, lambda row: row["reqs_working"] == 1 and row["cur_load_rolling_avg"] > 0)
    request.cancel()
    await street.until_nothing_is_here()


async def _sessions(street: Street, endpoint: Any) -> None:
    session = await endpoint.session(cost=40, lifetime=30)
    await _until(street, lambda row: row["cur_load"] == 40.0)
    urls = set()
    for number in range(5):
        answer = await session.request("/generate", {"n": number})
        assert answer["response"]["echo"]["n"] == number
        urls.add(answer["url"])
    assert urls == {session.url}
    assert await session.is_open()
    await session.close()
    assert not session.open


async def _until(street: Street, true: Any) -> None:
    async with asyncio.timeout(20):
        while not any(true(row) for row in (await street.rows()).values()):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)


@pytest.mark.timeout(ORDEAL_S + 180)
async def test_09_no_request_is_lost_while_workers_are_killed_at_random(
    kind: str, tmp_path: Path
) -> None:
    luck = random.Random(f"{kind} {ORDEAL_S}")
    async with Street.up(tmp_path, kind, count=3) as street, street.client() as (_, endpoint):
        ordeal = Ordeal(street, endpoint, luck, life_s=min(20.0, ORDEAL_S / 2))
        ended = await ordeal.run(ORDEAL_S)
        print(kind, dict(ended))  # noqa: T201 - what a run of half an hour amounted to
        assert ended["request answered"] > ORDEAL_S
        await street.until_nothing_is_here()


async def test_18_an_engine_that_is_killed_fails_no_request_that_was_handed_out(
    kind: str, tmp_path: Path
) -> None:
    async with Street.up(tmp_path, kind) as street, street.client() as (_, endpoint):
        under_way = [endpoint.request("/generate", {"n": n, "dawdle_s": 3.0}) for n in range(8)]
        await _until(street, lambda row: row["cur_load_rolling_avg"] > 0)
        await street.kill("engine")
        await street.start_engine()
        answers = await asyncio.gather(*under_way)
        assert all(answer["ok"] for answer in answers)
        await street.until_ready(2)
        assert (await endpoint.request("/generate", {"n": 1}))["ok"]
        await street.until_nothing_is_here()
