"""The official client deploys a function, calls it, changes it under load, and takes it away.

Everything is real but the containers: the worker is the official serve mode, started by the very
script that a container would start.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from vastai import VastAI

from tests.control.api.deploying import able_to_deploy, program
from tests.control.api.processes import ProcessAgent
from tests.control.api.scripted import join
from tests.control.api.serving import Served, served
from tests.control.market import hardware

pytestmark = [pytest.mark.client, pytest.mark.slow, pytest.mark.timeout(420)]

CODE = """
import asyncio
import os

from vastai import Deployment
from vastai.data.query import num_gpus

app = Deployment(
    api_key="{key}",
    webserver_url="{url}",
    autoscaler_url="{url}",
    name="app",
    version_label="{version}",
)
app.image("python:3.11", 10).use_system_python().require(num_gpus == 1)
app.configure_autoscaling(min_load=300, cold_workers=2, max_workers=2)


@app.remote(benchmark_dataset=[{{"number": 1, "dawdle_s": 0.5}}], benchmark_runs=1)
async def double(number, dawdle_s=0.0):
    await asyncio.sleep(dawdle_s)
    if number < 0:
        raise ZeroDivisionError
    return {{"doubled": 2 * number, "version": {version}, "worker": os.environ["CONTAINER_ID"]}}
"""


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Served]:
    with served(database_url, tmp_path / "data", engine=True) as running:
        yield running


@pytest.fixture
def host(server: Served, tmp_path: Path) -> Iterator[ProcessAgent]:
    """A machine that is listed, whose instances are processes."""
    made = hardware()
    joined = join(server, of=made)
    agent = ProcessAgent(server, joined, made, tmp_path / "instances")
    try:
        with agent.working():
            asked = {"machine": joined.machine, "price_gpu": 0.36, "price_disk": 0.1}
            listed = server.call("PUT", "/api/v0/machines/create_asks/", "host", asked)
            assert listed.json()["success"]
            yield agent
    finally:
        agent.kill_all()


@pytest.fixture
async def _client() -> AsyncIterator[None]:
    async with able_to_deploy():
        yield


def code(server: Served, directory: Path, version: int) -> ModuleType:
    """A version of the program, as its author would run it."""
    text = CODE.format(key=server.keys["renter"], url=server.url, version=version)
    return program(text, directory / f"version{version}")


async def until(true: Any, host: ProcessAgent, *, seconds: float = 120.0) -> None:
    """Wait for other processes."""
    try:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(true):  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(host.outputs()) from None


def statuses(server: Served, endpoint: int) -> list[str]:
    rows = server.call("POST", "/get_endpoint_workers/", "renter", {"id": endpoint}).json()
    return [row["status"] for row in rows] if isinstance(rows, list) else []


@pytest.mark.usefixtures("_client")
async def test_a_function_is_deployed_called_updated_and_deleted(
    server: Served, host: ProcessAgent, tmp_path: Path
) -> None:
    vast = VastAI(api_key=server.keys["renter"], server_url=server.url)
    first = code(server, tmp_path, 1)
    await first.app.async_ensure_ready()
    (row,) = await asyncio.to_thread(vast.show_deployments)
    deployment, endpoint = row["id"], row["endpoint_id"]
    await until(lambda: "idle" in statuses(server, endpoint), host)
    answer = await first.double(21)
    assert (answer["doubled"], answer["version"]) == (42, 1)
    with pytest.raises(ZeroDivisionError):
        await first.double(-1)
    await until(lambda: statuses(server, endpoint) == ["idle", "idle"], host)

    over, calls = asyncio.Event(), itertools.count()
    answers: list[dict[str, Any]] = []

    async def caller() -> None:
        while not over.is_set():
            number = next(calls)
            answer = await first.double(number, dawdle_s=0.2)
            assert answer["doubled"] == 2 * number
            answers.append(answer)

    callers = [asyncio.create_task(caller()) for _ in range(6)]
    second = code(server, tmp_path, 2)
    await second.app.async_ensure_ready()

    def rolled() -> bool:
        return {answer["version"] for answer in answers[-20:]} == {2} and statuses(
            server, endpoint
        ) == ["idle", "idle"]

    await until(rolled, host)
    over.set()
    await asyncio.gather(*callers)
    assert {answer["version"] for answer in answers} == {1, 2}
    assert len({answer["worker"] for answer in answers}) == 2

    versions = await asyncio.to_thread(vast.show_deployment_versions, deployment)
    assert [(one["version_label"], one["is_current"]) for one in versions] == [
        ("2", True),
        ("1", False),
    ]
    await second.app.async_ensure_ready()
    assert second.app._inner.deployment.action == "exists"
    await asyncio.to_thread(second.app._inner.deployment.sync_heartbeat)
    assert (await asyncio.to_thread(vast.delete_deployment, deployment))["success"]
    assert await asyncio.to_thread(vast.show_deployments) == []
    assert await asyncio.to_thread(vast.show_instances) == []
