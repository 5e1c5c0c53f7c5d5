"""A host who changes one term of what it asks keeps all others."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vastai import VastAI

from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served
from tests.control.api.test_journey import eventually
from tests.control.market import hardware

DAY_S = 86_400
TERMS: dict[str, Any] = {
    "price_gpu": 0.40, "price_disk": 0.20, "price_inetu": 0.02, "price_inetd": 0.01,
    "price_min_bid": 0.10, "credit_discount_max": 0.1, "vol_size": 100, "vol_price": 0.3,
}  # fmt: skip
SHOWN = {
    "listed_gpu_cost": 0.40, "listed_storage_cost": 0.20, "listed_inet_up_cost": 0.02,
    "listed_inet_down_cost": 0.01, "min_bid_price": 0.10, "credit_discount_max": 0.1,
    "listed_volume_cost": 0.3,
}  # fmt: skip


@pytest.fixture
def machine(server: Served) -> Iterator[int]:
    """A machine that is connected and not on sale."""
    made = hardware()
    joined = join(server, of=made)
    with ScriptedAgent(server, joined, made).working():
        eventually(lambda: shown(server, joined.machine)["online"])
        yield joined.machine


def ask(server: Served, machine: int, **terms: Any) -> None:
    """List a machine at these terms."""
    asked = {"machine": machine, **terms}
    answer = server.call("PUT", "/api/v0/machines/create_asks/", "host", asked)
    assert answer.status_code == 200, answer.text


def shown(server: Served, machine: int) -> dict[str, Any]:
    """A machine as its host sees it."""
    (row,) = server.call("GET", f"/api/v0/machines/{machine}/", "host").json()
    return dict(row)


def volumes_gb(server: Served) -> list[float]:
    """How much is let as volumes, by offer."""
    answer = server.call("POST", "/api/v0/volumes/search/", None, {}).json()
    return [one["disk_space"] for one in answer["offers"]]


def end_of(server: Served) -> float:
    """A whole second a month from now."""
    return float(server.plane.services.clock.now_ms() // 1_000 + 30 * DAY_S)


@pytest.mark.client
def test_one_price_is_changed_with_the_official_client(
    server: Served, machine: int, tmp_path: Path
) -> None:
    end = end_of(server)
    ask(server, machine, **TERMS, end_date=end, min_chunk=2)
    vast = VastAI(api_key=server.keys["renter"], server_url=server.url)
    offers = eventually(lambda: vast.search_offers(query="num_gpus=2"))
    made = vast.create_instance(id=offers[0]["id"], image="debian", disk=10)["new_contract"]
    done = subprocess.run(
        [Path(sys.executable).parent / "vastai", "--url", server.url, "--api-key",
         server.keys["host"], "list", "machine", str(machine), "-g", "0.39"],
        env={"HOME": str(tmp_path), "CI": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "offers created/updated" in done.stdout, done
    row = shown(server, machine)
    expected = {**SHOWN, "listed_gpu_cost": 0.39, "end_date": end, "min_chunk": 1}
    assert {name: row[name] for name in expected} == expected
    assert volumes_gb(server) == [100.0]
    contract = server.call("GET", f"/api/v0/instances/{made}/", "renter").json()["instances"]
    assert contract["end_date"] == end


def test_each_term_is_changed_alone(server: Served, machine: int) -> None:
    for changed in sorted(TERMS.keys() - {"vol_size", "vol_price"}):
        ask(server, machine, **TERMS, duration="3 months", bid_notice=30)
        before = shown(server, machine)
        ask(server, machine, **{changed: TERMS[changed] / 2})
        after = shown(server, machine)
        other = {name: before[name] / after[name] for name in SHOWN if before[name] != after[name]}
        assert list(other.values()) == [2.0], (changed, other)
        for name in ("duration", "end_date", "bid_notice"):
            assert after[name] == before[name], (changed, name)
        assert volumes_gb(server) == [100.0]


def test_the_smallest_slice_stays_for_who_does_not_say_one(server: Served, machine: int) -> None:
    ask(server, machine, price_gpu=0.4, min_chunk=2)
    host = VastAI(api_key=server.keys["host"], server_url=server.url)
    assert host.list_machine(id=machine, price_gpu=0.39)["success"]
    assert shown(server, machine)["min_chunk"] == 2


def test_after_the_end_of_a_listing_its_host_is_told_what_to_do(
    server: Served, machine: int
) -> None:
    ask(server, machine, price_gpu=0.4, end_date=end_of(server))
    server.plane.db.run_now(lambda tx: tx.run("update listings set end_at_ms = 1"))
    asked = {"machine": machine, "price_gpu": 0.39}
    refused = server.call("PUT", "/api/v0/machines/create_asks/", "host", asked)
    assert refused.status_code == 400
    assert "take it off sale" in refused.json()["msg"]
    ask(server, machine, price_gpu=0.39, end_date=end_of(server))


def test_volumes_are_let_only_by_who_says_so(server: Served, machine: int) -> None:
    ask(server, machine, price_gpu=0.4)
    assert volumes_gb(server) == [2_000.0]
    ask(server, machine, vol_size=300)
    ask(server, machine, price_gpu=0.5)
    assert volumes_gb(server) == [300.0]
    ask(server, machine, vol_size=0)
    ask(server, machine, price_gpu=0.4)
    assert volumes_gb(server) == []


def test_who_never_said_the_least_bid_asks_the_price_of_a_gpu(server: Served, machine: int) -> None:
    for price in (0.40, 0.30, 0.50):
        ask(server, machine, price_gpu=price)
        assert shown(server, machine)["min_bid_price"] == price


def test_a_machine_that_was_off_sale_is_listed_by_the_defaults(
    server: Served, machine: int
) -> None:
    ask(server, machine, **TERMS, end_date=end_of(server))
    assert server.call("DELETE", f"/api/v0/machines/{machine}/asks/", "host").status_code == 200
    nothing = server.call("PUT", "/api/v0/machines/create_asks/", "host", {"machine": machine})
    assert (nothing.status_code, nothing.json()["error"]) == (400, "invalid_price")
    ask(server, machine, price_gpu=0.40)
    row = shown(server, machine)
    expected = {
        "listed_storage_cost": 0.10, "listed_inet_up_cost": 0.0, "listed_inet_down_cost": 0.0,
        "min_bid_price": 0.40, "credit_discount_max": 0.4, "end_date": None,
        "listed_volume_cost": 0.10,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert volumes_gb(server) == [2_000.0]


def test_nobody_lists_anothers_machine(server: Served, machine: int) -> None:
    asked = {"machine": machine, "price_gpu": 0.1}
    answer = server.call("PUT", "/api/v0/machines/create_asks/", "other", asked)
    assert answer.status_code == 404
