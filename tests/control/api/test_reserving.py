"""Reserved instances with the official client: `prepay instance`, `show deposit`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vastai import VastAI

from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served
from tests.control.api.test_journey import eventually
from tests.control.market import hardware

pytestmark = pytest.mark.client


@pytest.fixture
def instance(server: Served) -> Iterator[int]:
    made = hardware()
    joined = join(server, of=made)
    with ScriptedAgent(server, joined, made).working():
        host = VastAI(api_key=server.keys["host"], server_url=server.url)
        host.list_machine(id=joined.machine, price_gpu=1, price_disk=0)
        vast = VastAI(api_key=server.keys["renter"], server_url=server.url)
        offers = eventually(lambda: vast.search_offers(query="num_gpus=1"))
        rented = vast.create_instance(id=offers[0]["id"], image="debian:12", disk=10)
        yield rented["new_contract"]


def test_prepay_and_show_deposit(server: Served, instance: int, tmp_path: Path) -> None:
    vast = VastAI(api_key=server.keys["renter"], server_url=server.url)
    program = Path(sys.executable).parent / "vastai"
    login = ["--url", server.url, "--api-key", server.keys["renter"]]
    done = subprocess.run(
        [program, "prepay", "instance", str(instance), "50", *login],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
    )
    # 50 dollars at 1 dollar an hour and at most 40 %: 0.071 months, which earn 2.7 %.
    assert "prepaid for 0.071 months" in done.stdout, done.stdout + done.stderr
    assert "2.7%" in done.stdout
    deposit = vast.show_deposit(id=instance)
    assert 49.9 < deposit["refundable_deposit"] <= 50
    row = vast.show_instance(id=instance)
    assert row["rental_type"] == "reserved"
    assert 49.9 < row["credit_balance"] <= 50
    assert row["credit_discount"] == pytest.approx(0.027, abs=0.001)
    assert row["instance"]["discountedTotalPerHour"] == pytest.approx(0.973, abs=0.001)
    assert vast.show_user()["credit"] == pytest.approx(50, abs=0.01)
    refused = server.call("PUT", f"/api/v0/instances/prepay/{instance}/", "renter", {"amount": 900})
    assert (refused.status_code, refused.json()["error"]) == (411, "insufficient_credit")
    invoices = server.call("GET", "/api/v1/invoices/", "renter").json()
    [reserved] = [one for one in invoices["results"] if one["type"] == "reserved"]
    assert (reserved["amount"], reserved["metadata"]["service"]) == (50, "instance_prepay")
    assert vast.destroy_instance(id=instance)["success"]
    assert vast.show_user()["credit"] == pytest.approx(100, abs=0.05)
    missing = server.call("GET", f"/api/v0/instances/balance/{instance}/", "renter")
    assert (missing.status_code, missing.json()["error"]) == (404, "no_such_instance")


def test_a_prepayment_repeated_with_its_idempotency_key_pays_once(
    server: Served, instance: int
) -> None:
    path = f"/api/v0/instances/prepay/{instance}/"
    first, second = (
        server.call("PUT", path, "renter", {"amount": 5}, headers={"Idempotency-Key": "once"})
        for _ in range(2)
    )
    assert first.json() == second.json()
    left = server.call("GET", f"/api/v0/instances/balance/{instance}/", "renter").json()
    assert 4.9 < left["balance"] <= 5
    other = server.call("PUT", path, "renter", {"amount": 6}, headers={"Idempotency-Key": "once"})
    assert other.status_code == 422
