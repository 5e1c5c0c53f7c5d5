"""A bid, outbid in a real container: told inside, stopped in time, back with its files."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import Market, market
from tests.e2e.journey import eventually
from tests.e2e.official import Official
from tests.e2e.test_journey import executed, shown, until

pytestmark = [pytest.mark.docker, pytest.mark.client, pytest.mark.slow]

NOTICE_S = 10.0
"""The least that a host may warn."""


@pytest.fixture(scope="module")
def real() -> Iterator[Market]:
    """This machine on sale with real containers; its bids are warned for ten seconds."""
    with market("--engine=docker") as running:
        asked = {"machine": 1, "price_gpu": 0.4, "price_min_bid": 0.1, "bid_notice": NOTICE_S}
        call(running, "host", "PUT", "/api/v0/machines/create_asks/", asked)
        yield running


def call(market: Market, role: str, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {market.keys[role]}"}
    answer = httpx2.request(method, market.url + path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def with_credit(market: Market, somebody: Official) -> Official:
    account = somebody.raw("show user")["id"]
    call(market, "operator", "POST", f"/api/v0/admin/accounts/{account}/credit/", {"amount": 20})
    return somebody


def test_outbid_inside_a_real_container_and_back_with_its_files(real: Market) -> None:
    with real.official("renter") as ann, with_credit(real, real.somebody()) as bob:
        offer = eventually(lambda: ann.raw("search offers -n --type bid num_gpus=1"))[0]
        made = ann.raw(
            f"create instance {offer['id']} --image {real.image} --disk 4 --ssh --bid_price 0.15"
        )
        mine = made["new_contract"]
        until(ann, mine, actual_status="running")
        executed(ann, mine, "echo precious > /root/work")
        began = time.monotonic()
        theirs = bob.raw(
            f"create instance {offer['id']} --image {real.image} --disk 4 --ssh --bid_price 0.25"
        )["new_contract"]
        told = eventually(lambda: notice(ann, mine), within_s=5.0)
        assert (told["reason"], told["yields_at"]) == ("outbid", shown(ann, mine)["yields_at"])
        assert shown(ann, mine)["actual_status"] == "running"
        assert shown(bob, theirs)["cur_state"] == "stopped"
        until(bob, theirs, cur_state="running")
        took = time.monotonic() - began
        assert NOTICE_S * 0.7 < took < NOTICE_S + 5.0, took
        outbid = shown(ann, mine)
        assert {outbid[name] for name in ("cur_state", "intended_status", "next_state")} == {
            "stopped"
        }
        assert "queue" in outbid["status_msg"]
        until(bob, theirs, actual_status="running")
        bob.ok(f"destroy instance {theirs} -y")
        until(ann, mine, actual_status="running", reason="resumed")
        assert executed(ann, mine, "cat /root/work").strip() == "precious"
        assert executed(ann, mine, "cat /run/mercato/notice.json").strip() == "{}"
        ann.ok(f"change bid {mine} --price 0.3")
        assert shown(ann, mine)["dph_base"] == 0.3
        ann.ok(f"destroy instance {mine} -y")


def test_the_hosts_own_job_makes_way_in_real_containers(real: Market) -> None:
    with real.official("host") as host, real.official("renter") as ann:
        host.ok(f"set defjob 1 --image {real.image} --args sleep 1000")
        jobs = [row["id"] for row in host.raw("show instances")]
        for job in jobs:
            until(host, job, actual_status="running")
        offer = eventually(lambda: ann.raw("search offers -n num_gpus=1"))[0]["id"]
        mine = ann.raw(f"create instance {offer} --image {real.image} --disk 4 --ssh")
        until(ann, mine["new_contract"], actual_status="running")
        assert [shown(host, job)["cur_state"] for job in jobs].count("stopped") == 1
        ann.ok(f"destroy instance {mine['new_contract']} -y")
        for job in jobs:
            until(host, job, actual_status="running")
        host.ok("remove defjob 1")
        assert eventually(lambda: host.raw("show instances") == [])


def notice(client: Official, instance: int) -> dict[str, Any] | None:
    """What stands in the file of notices inside; None while there is none."""
    text = executed(client, instance, "cat /run/mercato/notice.json || true").strip()
    found: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
    return found or None
