"""Real GPUs: those with which a machine joined, whatever its driver shows later.

A driver of this test's own stands behind NVIDIA's library; no Docker Engine is there.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from mercato.agent import gpus as gpus_module
from mercato.agent import main
from mercato.agent.client import AgentTrouble
from mercato.agent.docker import DockerEngine
from mercato.agent.engine import StepFailed
from mercato.agent.facts.gpu import read_uuids
from mercato.agent.main import Setup
from mercato.market.hardware import Hardware
from tests.agent.builders import MACHINE, wanted
from tests.agent.test_client import TOKEN, Market, serving

JOINED = ["GPU-A", "GPU-B", "GPU-C"]
UUIDS = dict(enumerate(JOINED))


class Driver:
    """It numbers the cards that it finds; those that fell off the bus it knows, and cannot read."""

    def __init__(self) -> None:
        self.cards = list(JOINED)
        self.lost: set[str] = set()
        self.works = True

    def start(self) -> None:
        if not self.works:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)

    def card(self, index: int) -> str:
        if self.cards[index] in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return self.cards[index]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Driver:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    made = Driver()

    class Memory:
        total = 24 << 30

    answers: dict[str, Any] = {
        "nvmlInit": made.start,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(made.cards),
        "nvmlDeviceGetHandleByIndex": made.card,
        "nvmlDeviceGetUUID": lambda card: card,
        "nvmlDeviceGetName": lambda _card: "NVIDIA GeForce RTX 4090",
        "nvmlDeviceGetMemoryInfo": lambda _card: Memory,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    return made


async def joined(url: str, data: Path) -> None:
    await main.join(url, TOKEN, data, Setup(public_ip="192.0.2.1"))


@contextlib.asynccontextmanager
async def told(market: Market, data: Path) -> AsyncIterator[Hardware]:
    """What the machine is told to have by an agent that starts now."""
    market.reports.clear()
    task = asyncio.create_task(main.run(data))
    try:
        async with asyncio.timeout(10.0), market.heard:
            await market.heard.wait_for(lambda: bool(market.reports) or task.done())
        yield market.reports[0].hardware
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def has_all(hardware: Hardware) -> bool:
    known = {gpu.index: gpu.uuid for gpu in hardware.gpus}
    return known == UUIDS and hardware.gpu_model.name == "RTX 4090" and not hardware.simulated


@pytest.mark.parametrize("mishap", ["lost", "driver", "renumbered", "all gone"])
async def test_a_machine_keeps_the_gpus_with_which_it_joined(
    driver: Driver, tmp_path: Path, mishap: str
) -> None:
    market, data = Market(), tmp_path / "data"
    async with serving(market) as url:
        await joined(url, data)
        async with told(market, data) as hardware:
            assert has_all(hardware)
        if mishap == "lost":
            driver.lost.add("GPU-B")
        elif mishap == "driver":
            driver.works = False
        else:
            driver.cards = ["GPU-A", "GPU-C"] if mishap == "renumbered" else []
        async with told(market, data) as hardware:
            assert has_all(hardware)


async def test_one_that_joined_before_gpus_were_kept_learns_them_when_all_can_be_read(
    driver: Driver, tmp_path: Path
) -> None:
    market, data = Market(), tmp_path / "data"
    file = data / "machine.json"
    async with serving(market) as url:
        await joined(url, data)
        old = json.loads(file.read_bytes())
        del old["gpus"], old["gpu_model"]
        file.write_text(json.dumps(old))
        driver.lost.add("GPU-B")
        async with told(market, data) as hardware:
            assert [gpu.uuid for gpu in hardware.gpus] == ["GPU-A", "GPU-C"]
        driver.lost.clear()
        async with told(market, data) as hardware:
            assert has_all(hardware)
        driver.works = False
        async with told(market, data) as hardware:
            assert has_all(hardware)


async def test_no_machine_joins_with_a_gpu_that_cannot_be_read(
    driver: Driver, tmp_path: Path
) -> None:
    driver.lost.add("GPU-C")
    async with serving(Market()) as url:
        with pytest.raises(AgentTrouble, match="GPU 2 of this machine cannot be read"):
            await joined(url, tmp_path / "data")


@pytest.mark.usefixtures("driver")
async def test_a_driver_that_hangs_takes_no_thread_that_others_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus_module, "DRIVER_S", 0.05)
    engine, go_on = DockerEngine("test", MACHINE, UUIDS, "192.0.2.1", tmp_path), threading.Event()
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: go_on.wait(30))
    before = threading.active_count()
    for _ in range(5):
        with pytest.raises(StepFailed, match="is gone"):
            await engine.start(wanted(1, gpus=(0,)))
    assert threading.active_count() <= before + 1
    go_on.set()
    async with asyncio.timeout(10):
        while engine.trouble:
            await engine.look_at_gpus()


async def test_a_gpu_that_is_gone_is_replaced_by_no_other(driver: Driver, tmp_path: Path) -> None:
    engine = DockerEngine("test", MACHINE, UUIDS, "192.0.2.1", tmp_path)
    driver.cards.remove("GPU-B")
    assert read_uuids() == {"GPU-A", "GPU-C"}
    await engine.look_at_gpus()
    assert "GPU 1 (GPU-B) cannot be read" in engine.trouble, "the host is told"
    for gpus in ((1,), (0, 1), (3,)):
        instance = wanted(1, gpus=gpus)
        for step in (engine.make(instance, {}, lambda _said: None), engine.start(instance)):
            with pytest.raises(StepFailed, match=f"GPU {gpus[-1]} of this machine is gone"):
                await step
    config = engine.container_config(wanted(2, gpus=(2,)), {})["HostConfig"]
    assert config["DeviceRequests"][0]["DeviceIDs"] == ["GPU-C"], "by its UUID, not its number now"
    driver.cards.append("GPU-B")
    await engine.look_at_gpus()
    assert engine.trouble == ""
