"""Standing orders over HTTP: filled at once, on a match later, in the order of their prices."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mercato.control.clock import SystemClock
from mercato.control.flows import ordering
from mercato.control.store import standing_orders
from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served
from tests.control.api.test_journey import eventually
from tests.control.market import hardware

SOON_S = 3_600.0


@pytest.fixture
def machine(server: Served) -> Iterator[int]:
    """A machine of two GPUs that is connected and not listed."""
    made = hardware(2)
    joined = join(server, of=made)
    with ScriptedAgent(server, joined, made).working():
        yield joined.machine


def listed(server: Served, machine: int, price: float) -> None:
    body = {"machine": machine, "price_gpu": price, "price_disk": 0.1, "vol_size": 0}
    assert server.call("PUT", "/api/v0/machines/create_asks/", "host", body).status_code == 200


def order(server: Served, price: float, key: str = "renter", **asked: Any) -> dict[str, Any]:
    body = {
        "q": "num_gpus=1 gpu_name='RTX 4090'".replace("'", '"'),
        "price": price,
        "expires": SystemClock().now_ms() / 1_000 + SOON_S,
        "image": "debian:12",
        "disk": 10,
        "env": "-e SECRET=hush",
        **asked,
    }
    answer = server.call("POST", "/api/v0/orders/", key, body)
    assert answer.status_code == 200, answer.text
    placed: dict[str, Any] = answer.json()["order"]
    return placed


def shown(server: Served, number: int, key: str = "renter") -> dict[str, Any]:
    orders = server.call("GET", "/api/v0/orders/", key).json()["orders"]
    return next(one for one in orders if one["id"] == number)


def test_an_order_rests_until_an_offer_matches_and_rents_it_once(
    server: Served, machine: int
) -> None:
    placed = order(server, 0.40)
    assert placed["state"] == "resting"
    listed(server, machine, 0.50)
    listed(server, machine, 0.36)
    filled = eventually(
        lambda: shown(server, placed["id"])["state"] == "filled" and shown(server, placed["id"])
    )
    rows = server.call("GET", "/api/v0/instances/", "renter").json()["instances"]
    assert [row["id"] for row in rows] == [filled["instance_id"]]
    assert rows[0]["dph_total"] <= 0.40
    assert ["SECRET", "hush"] in rows[0]["extra_env"]


def test_an_offer_that_comes_while_orders_are_read_is_shown_to_the_new_one(
    server: Served, machine: int
) -> None:
    desk = server.plane.services.orders
    read, is_reading, go_on = desk._read, threading.Event(), threading.Event()

    async def slowly() -> None:
        is_reading.set()
        await asyncio.to_thread(go_on.wait, 10)
        await read()

    desk._read = slowly  # type: ignore[method-assign]
    placed = order(server, 0.40)
    assert is_reading.wait(10)
    listed(server, machine, 0.36)
    eventually(lambda: len(server.plane.services.offers))
    go_on.set()
    eventually(lambda: shown(server, placed["id"])["state"] == "filled")


def test_offers_are_shown_however_often_others_place_and_cancel(
    server: Served, machine: int
) -> None:
    desk = server.plane.services.orders
    read = desk._read

    async def slowly() -> None:
        desk.poke()  # somebody places or cancels while it is read
        await read()

    placed = order(server, 0.40)
    desk._read = slowly  # type: ignore[method-assign]
    listed(server, machine, 0.36)
    eventually(lambda: shown(server, placed["id"])["state"] == "filled")


def test_an_order_that_cannot_be_filled_keeps_no_other_from_its_offer(
    server: Served, machine: int
) -> None:
    spoilt, honest = order(server, 0.90), order(server, 0.40)
    box = server.plane.services.house.box
    server.plane.db.run_now(
        lambda tx: tx.run(
            "update standing_orders set sealed_request = %s where id = %s",
            box.seal("not even JSON"),
            spoilt["id"],
        )
    )
    listed(server, machine, 0.36)
    eventually(lambda: shown(server, honest["id"])["state"] == "filled")
    failed = shown(server, spoilt["id"])
    assert failed["state"] == "failed"
    assert f"order {spoilt['id']}" in failed["message"]


def test_what_is_on_sale_fills_at_once_and_what_is_too_dear_does_not(
    server: Served, machine: int
) -> None:
    listed(server, machine, 0.36)
    eventually(lambda: len(server.plane.services.offers))
    assert order(server, 0.361)["state"] == "resting"  # with its disk it costs more
    filled = order(server, 0.40)
    assert filled["state"] == "filled"
    assert filled["instance_id"]


def test_the_highest_price_is_served_first_then_the_oldest(server: Served, machine: int) -> None:
    orders = [order(server, price) for price in (0.40, 0.50, 0.50)]
    listed(server, machine, 0.36)  # two GPUs for three orders

    def states() -> list[str] | None:
        found = [shown(server, one["id"])["state"] for one in orders]
        return found if found.count("filled") == 2 else None

    assert eventually(states) == ["resting", "filled", "filled"]


def test_an_order_is_called_off_by_its_owner_only(server: Served, machine: int) -> None:
    placed = order(server, 0.40)
    path = f"/api/v0/orders/{placed['id']}/"
    assert server.call("DELETE", path, "other").status_code == 404
    assert server.call("DELETE", path, "renter").status_code == 200
    assert server.call("DELETE", path, "renter").status_code == 409
    listed(server, machine, 0.36)
    eventually(lambda: len(server.plane.services.offers))
    assert shown(server, placed["id"])["state"] == "cancelled"
    assert server.call("GET", "/api/v0/instances/", "renter").json()["instances"] == []


def test_an_order_of_who_cannot_pay_fails_and_says_why(server: Served, machine: int) -> None:
    placed = order(server, 0.40, "other")
    listed(server, machine, 0.36)
    failed = eventually(
        lambda: (found := shown(server, placed["id"], "other"))["state"] == "failed" and found
    )
    assert "credit" in failed["message"]


def test_an_order_ends_at_its_time(server: Served) -> None:
    placed = order(server, 0.40)
    later_ms = SystemClock().now_ms() + int(SOON_S * 1_000) + 1
    assert server.plane.db.run_now(ordering.expire, placed["id"], later_ms - 60_000) == 0
    assert server.plane.db.run_now(standing_orders.past_end, later_ms) == [placed["id"]]
    assert server.plane.db.run_now(ordering.expire, placed["id"], later_ms) == 1
    assert shown(server, placed["id"])["state"] == "expired"


@pytest.mark.parametrize(
    "bad",
    [{"price": 0}, {"price": 1e9}, {"expires": 1}, {"expires": 9e12}, {"q": "no_field=1"},
     {"image": None}, {"disk": -1}, {"q": 7}, {"onstart": "a\x00b"}],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_ordered_is_refused(server: Served, bad: dict[str, Any]) -> None:
    good = {"q": {}, "price": 1, "expires": SystemClock().now_ms() / 1_000 + 60, "image": "x"}
    answer = server.call("POST", "/api/v0/orders/", "renter", {**good, **bad})
    assert answer.status_code == 400, answer.text
