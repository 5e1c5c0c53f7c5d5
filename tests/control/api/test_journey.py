"""A renter's whole journey with the official SDK against a live server and an agent."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from vastai import VastAI

from mercato.control.store.sales import Sale
from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served
from tests.control.market import hardware

pytestmark = pytest.mark.client

WITHIN_S = 15.0


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + WITHIN_S
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        pause.wait(0.05)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def machine(server: Served) -> Iterator[int]:
    """A machine that is connected and listed."""
    made = hardware()
    joined = join(server, of=made)
    with ScriptedAgent(server, joined, made).working():
        host = VastAI(api_key=server.keys["host"], server_url=server.url)
        listed = host.list_machine(
            id=joined.machine, price_gpu=0.36, price_disk=0.1, price_inetu=0, price_inetd=0
        )
        assert listed["success"], listed
        yield joined.machine


def test_search_rent_stop_start_destroy(server: Served, machine: int) -> None:
    vast = VastAI(api_key=server.keys["renter"], server_url=server.url)
    offers = eventually(lambda: vast.search_offers(query="num_gpus=1"))
    assert {offer["machine_id"] for offer in offers} == {machine}
    made = vast.create_instance(id=offers[0]["id"], image="debian:12", disk=10, env="-e A=b")
    assert made["success"], made
    instance = made["new_contract"]
    running = eventually(
        lambda: next(
            (
                row
                for row in vast.show_instances()
                if row["id"] == instance and row["actual_status"] == "running"
            ),
            None,
        )
    )
    assert running["extra_env"] == {"A": "b"}
    assert vast.show_instance(id=instance)["gpu_name"] == "RTX 4090"
    assert vast.logs(instance).split() == ["one", "two"]
    assert vast.stop_instance(id=instance)["success"]
    eventually(lambda: vast.show_instance(id=instance)["cur_state"] == "stopped")
    assert vast.start_instance(id=instance)["success"]
    eventually(lambda: vast.show_instance(id=instance)["actual_status"] == "running")
    assert vast.destroy_instance(id=instance)["success"]
    assert vast.destroy_instance(id=instance)["success"]
    assert vast.show_instances() == []


@pytest.mark.usefixtures("machine")
def test_an_offer_that_is_taken_answers_no_such_ask(server: Served) -> None:
    offer = eventually(lambda: server.call("POST", "/api/v0/bundles/", None, {}).json()["offers"])[
        0
    ]["id"]
    body = {"image": "debian:12", "disk": 10}
    first = server.call("PUT", f"/api/v0/asks/{offer}/", "renter", body)
    assert first.status_code == 200, first.text
    again = server.call("PUT", f"/api/v0/asks/{offer}/", "renter", body)
    assert again.json()["new_contract"] == first.json()["new_contract"]
    other = server.call("PUT", f"/api/v0/asks/{offer}/", "renter", {**body, "label": "x"})
    assert other.status_code == 404
    assert other.json()["error"] == "no_such_ask"


@pytest.mark.usefixtures("machine")
def test_who_rents_does_not_find_the_offer_in_its_next_search(server: Served) -> None:
    book = server.plane.services.offers
    take = book._take

    async def late(found: list[Sale]) -> None:
        await asyncio.sleep(0.05)  # a slow machine
        await take(found)

    def offers() -> list[int]:
        query = {"num_gpus": {"eq": 1}, "rentable": {"eq": True}}
        found = server.call("POST", "/api/v0/bundles/", None, query).json()["offers"]
        return [row["id"] for row in found]

    eventually(offers)
    book._take = late  # type: ignore[method-assign]
    while there := offers():
        body = {"image": "debian:12", "disk": 1}
        rented = server.call("PUT", f"/api/v0/asks/{there[0]}/", "renter", body)
        assert rented.status_code == 200, rented.text
        assert there[0] not in offers()
