"""What one host's machine reports is no trouble for anybody else's search."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mercato.control.api.offer_book import OfferBook
from mercato.control.db import Tx
from mercato.control.flows import observing
from mercato.control.store import machines
from mercato.market.hardware import Hardware
from mercato.market.ids import MachineId
from mercato.wire import agent as wire
from tests.control.api.scripted import ScriptedAgent, join, listed
from tests.control.api.serving import Served
from tests.control.api.test_journey import eventually
from tests.control.market import hardware

replace = msgspec.structs.replace
GOOD = hardware(2)
NO_GPUS = replace(GOOD, gpus=())


def model(**changes: Any) -> Hardware:
    """A machine whose GPUs are odd in one way."""
    return replace(GOOD, gpu_model=replace(GOOD.gpu_model, **changes))


class Changing(ScriptedAgent):
    """An agent of a machine that becomes another."""

    def becomes(self, of: Hardware) -> None:
        """Say from the next report on that it is this."""
        self._hardware = of


@pytest.fixture
def good(server: Served) -> Iterator[int]:
    """A machine of a host who has nothing to do with the odd one."""
    with listed(server) as machine:
        eventually(lambda: machine in on_sale(server))
        yield machine


@pytest.fixture
def other(server: Served, good: int) -> Iterator[Changing]:
    """The agent of another host's machine of two GPUs, on sale as a whole only."""
    joined = join(server, "other", of=GOOD)
    agent = Changing(server, joined, GOOD)
    with agent.working():
        asked = {"machine": joined.machine, "price_gpu": 0.5, "min_chunk": 2}
        answer = server.call("PUT", "/api/v0/machines/create_asks/", "other", asked)
        assert answer.status_code == 200, answer.text
        eventually(lambda: {good, joined.machine} <= on_sale(server).keys())
        yield agent


def on_sale(server: Served) -> dict[int, float]:
    """Dollars for a GPU and hour of each machine that a search finds."""
    found = server.call("POST", "/api/v0/bundles/", None, {}).json()["offers"]
    return {one["machine_id"]: round(one["dph_base"] / one["num_gpus"], 6) for one in found}


def volumes_of(server: Served) -> set[int]:
    """The machines of which a search finds volumes."""
    answer = server.call("POST", "/api/v0/volumes/search/", None, {})
    assert answer.status_code == 200, answer.text
    return {one["machine_id"] for one in answer.json()["offers"]}


def became(server: Served, machine: int, of: Hardware) -> None:
    """Have it stored that a machine is this, whatever the market makes of such a report today."""

    def write(tx: Tx) -> None:
        machines.set_hardware(tx, MachineId(machine), of)
        machines.changed(tx, MachineId(machine))

    server.plane.db.run_now(write)


@pytest.mark.parametrize(
    "odd",
    [NO_GPUS, replace(GOOD, gpus=GOOD.gpus[:1]), model(driver_version="9" * 9_999)],
    ids=["no GPU is left", "fewer than the smallest slice", "a version of 9999 digits"],
)
def test_a_machine_that_cannot_be_offered_stops_no_other(
    server: Served, good: int, other: Changing, odd: Hardware
) -> None:
    machine = other.joined.machine
    assert volumes_of(server) == {good, machine}
    other.becomes(odd)
    became(server, machine, odd)
    asked = {"machine": good, "price_gpu": 9.0}
    assert server.call("PUT", "/api/v0/machines/create_asks/", "host", asked).status_code == 200
    eventually(lambda: on_sale(server).get(good) == 9.0)
    assert good in volumes_of(server)
    assert asyncio.run(read_anew(server)) > 0


async def read_anew(server: Served) -> int:
    """How many offers a server finds that has just been started."""
    book = OfferBook(server.plane.db, server.plane.services.clock)
    running = asyncio.create_task(book.run())
    async with asyncio.timeout(10):
        while not book.ready:  # noqa: ASYNC110 - it says so to nobody
            await asyncio.sleep(0.01)
    running.cancel()
    return len(book)


@pytest.mark.parametrize("version", ["535.²", "535.129.x", "", "9" * 9_999])
def test_any_version_of_a_driver_can_be_searched(server: Served, version: str) -> None:
    odd = model(driver_version=version)
    joined = join(server, of=odd)
    with ScriptedAgent(server, joined, odd).working():
        asked = {"machine": joined.machine, "price_gpu": 0.5}
        server.call("PUT", "/api/v0/machines/create_asks/", "host", asked)
        eventually(lambda: joined.machine in on_sale(server))
        assert volumes_of(server) == {joined.machine}


@pytest.mark.parametrize(
    "odd",
    [NO_GPUS, model(ram_mb=10**400), replace(GOOD, disk=replace(GOOD.disk, size_gb=1e307))],
    ids=["no GPUs", "GPUs of 10^400 MB", "a disk beyond all numbers"],
)
def test_what_no_machine_can_be_is_not_believed(
    server: Served, good: int, other: Changing, odd: Hardware
) -> None:
    machine = other.joined.machine
    token = server.call("POST", "/api/v0/machines/join_tokens/", "other", {}).json()["token"]
    body = msgspec.json.encode(wire.Join(agent="test", hardware=odd))
    headers = {"Authorization": f"Bearer {token}"}
    answer = server.client.post(f"{server.url}/agent/v1/join", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_args")
    report = wire.Observed(
        agent="test", boot="b", generation=10**9, desired_generation=0, sees=False, hardware=odd,
        instances=(),
    )  # fmt: skip
    server.plane.db.run_now(
        observing.observe,
        MachineId(machine),
        report,
        server.plane.services.clock.now_ms(),
        house=server.plane.services.house,
    )
    (row,) = server.call("GET", f"/api/v0/machines/{machine}/", "other").json()
    assert (row["num_gpus"], row["gpu_ram"], row["disk_space"]) == (2, 24_564, 4_000.0)
    assert volumes_of(server) == {good, machine}
