"""How long it takes from a higher bid to the notice inside the container that it displaces.

Run as `PYTHONPATH=. .venv/bin/python bench/notices.py`. A whole control plane with its database, a
whole agent over its WebSocket with a pretend engine, and two renters who outbid one another by
turns: the time from sending the bid to the notice being written, and to its being taken back when
the holder matches.
"""

import asyncio
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import structlog

from measure import Table, ms, quantile, report
from mercato.agent.client import stay_connected
from mercato.agent.clock import SystemClock
from mercato.agent.memory import Memory
from mercato.agent.pretend_engine import PretendEngine
from mercato.agent.sync import Host, NoDoor
from mercato.control.flows.house import Rules
from mercato.market.hardware import Hardware
from tests.control.api.scripted import join
from tests.control.api.serving import Served, served
from tests.control.market import hardware
from tests.control.postgres import postgres

ROUNDS = 120
WITHIN_S = 30.0


def host_of(machine: int, made: Hardware) -> tuple[Host, PretendEngine]:
    engine = PretendEngine(SystemClock())
    host = Host(
        machine=machine,
        hardware=made,
        engine=engine,
        memory=Memory(),
        door=NoDoor(),
        clock=SystemClock(),
        boot="bench",
        daemon_log=lambda _instance, _tail: "",
        port_is_free=lambda _port: True,
    )
    return host, engine


async def work(url: str, key: str, host: Host) -> None:
    await asyncio.gather(stay_connected(url, key, host, random.Random(1)), host.run())


def until(look: Any) -> float:
    """Wait until `look` is true; the moment at which it was."""
    deadline = time.perf_counter() + WITHIN_S
    pause = threading.Event()
    while not look():
        assert time.perf_counter() < deadline, "it did not happen in time"
        pause.wait(0.001)
    return time.perf_counter()


def rent(server: Served, offer: int, price: float) -> int:
    body = {"image": "debian:12", "disk": 10, "price": price, "label": str(price)}
    answer = server.call("PUT", f"/api/v0/asks/{offer}/", "renter", body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["new_contract"])


def bid(server: Served, instance: int, price: float) -> float:
    """Bid; the moment at which that began."""
    began = time.perf_counter()
    path = f"/api/v0/instances/bid_price/{instance}/"
    answer = server.call("PUT", path, "renter", {"price": round(price, 3)})
    assert answer.status_code == 200, answer.text
    return began


def measure(server: Served) -> None:
    made = hardware(1)
    joined = join(server, of=made)
    host, engine = host_of(joined.machine, made)
    threading.Thread(
        target=lambda: asyncio.run(work(server.url, joined.machine_key, host)), daemon=True
    ).start()
    asked = {"machine": joined.machine, "price_gpu": 0.36, "price_min_bid": 0.10}
    until(lambda: server.call("GET", "/api/v0/machines/", "host").json()["machines"][0]["online"])
    listing = server.call("PUT", "/api/v0/machines/create_asks/", "host", asked).json()
    offer = listing["listing_id"] * 256 + 1
    holder, rival = rent(server, offer, 0.2), rent(server, offer, 0.15)
    notices = engine.machine.notices
    until(lambda: holder in engine.machine.truth() and engine.machine.truth()[holder].running)
    given, taken, price = [], [], 0.2
    for _ in range(ROUNDS):
        price += 0.002
        began = bid(server, rival, price)
        given.append((until(lambda: "yields" in notices.get(holder, "")) - began) * 1_000)
        began = bid(server, holder, price)
        taken.append((until(lambda: notices[holder] == "{}\n") - began) * 1_000)
    rows = [
        [name, ms(quantile(times, 0.5)), ms(quantile(times, 0.99)), str(len(times))]
        for name, times in (
            ("from a higher bid to the notice inside", given),
            ("from the match to its being taken back", taken),
        )
    ]
    report(
        __file__,
        "From a higher bid to the notice inside",
        f"Two renters outbid one another by turns. Notices within a second: "
        f"{sum(one <= 1_000 for one in given)} of {len(given)}.",
        [Table("", ("what", "p50 ms", "p99 ms", "times"), rows)],
    )


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rules = Rules(simulated_verified=True)
    with (
        postgres() as database,
        database.fresh() as url,
        tempfile.TemporaryDirectory() as data,
        served(url, Path(data), rules=rules) as server,
    ):
        measure(server)


if __name__ == "__main__":
    main()
