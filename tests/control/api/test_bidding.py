"""Bids through the API, as a renter and the official client see them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from vastai import VastAI

from mercato.control.flows import paying
from mercato.control.flows.house import Rules
from mercato.market.auction import Claim, Outcome, clear
from mercato.market.ids import AccountId
from mercato.market.listing import BidTerms
from mercato.market.money import nano
from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served, served
from tests.control.api.test_journey import eventually
from tests.control.market import T0, hardware

QUICK = Rules(simulated_verified=True, notice_ms_min=0, bids=BidTerms(notice_ms=2_000))


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """A server whose hosts warn for two seconds, and two renters with credit."""
    with served(database_url, tmp_path, rules=QUICK) as running:
        other = running.call("GET", "/api/v0/users/current/", "other").json()["id"]
        running.plane.db.run_now(paying.add_credit, AccountId(other), nano(100), "other", T0)
        yield running


@pytest.fixture
def machine(server: Served) -> Iterator[int]:
    """A machine of two GPUs that is connected and takes bids from $0.10 a GPU and hour."""
    made = hardware(2)
    joined = join(server, of=made)
    with ScriptedAgent(server, joined, made).working():
        body = {"machine": joined.machine, "price_gpu": 0.36, "price_min_bid": 0.10}
        listed = server.call("PUT", "/api/v0/machines/create_asks/", "host", body)
        assert listed.status_code == 200, listed.text
        yield joined.machine


def offers(server: Served, gpus: int = 1, kind: str = "bid") -> list[dict[str, Any]]:
    query = {
        "num_gpus": {"eq": gpus},
        "type": kind,
        "rentable": {"eq": True},
        "order": [["id", "asc"]],
    }
    found: list[dict[str, Any]] = server.call("POST", "/api/v0/bundles/", None, query).json()[
        "offers"
    ]
    return found


def rent(server: Served, offer: int, key: str = "renter", **asked: Any) -> dict[str, Any]:
    body = {"image": "debian:12", "disk": 10, **asked}
    answer = server.call("PUT", f"/api/v0/asks/{offer}/", key, body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def row(server: Served, instance: int, key: str = "renter") -> dict[str, Any]:
    found: dict[str, Any] = server.call("GET", f"/api/v0/instances/{instance}/", key).json()[
        "instances"
    ]
    return found


def runs(server: Served, instance: int, key: str = "renter") -> None:
    eventually(lambda: row(server, instance, key)["actual_status"] == "running")


@pytest.mark.usefixtures("machine")
def test_what_an_offer_takes_to_win_follows_the_bids(server: Served) -> None:
    first, second = eventually(lambda: offers(server))
    [both] = offers(server, 2)
    assert (first["min_bid"], first["dph_base"], first["is_bid"]) == (0.10, 0.10, True)
    assert both["min_bid"] == 0.20
    rent(server, first["id"], price=0.15)
    eventually(lambda: offers(server)[0]["min_bid"] == 0.151)
    assert [one["min_bid"] for one in offers(server)] == [0.151, 0.10]
    assert offers(server, 2)[0]["min_bid"] == 0.20
    rent(server, second["id"], price=0.12)
    eventually(lambda: offers(server, 2)[0]["min_bid"] == 0.271)
    # On-demand goes before any bid, so that both are still on sale so.
    assert [one["dph_base"] for one in offers(server, kind="on-demand")] == [0.36, 0.36]
    rent(server, first["id"], "other")
    eventually(lambda: [one["id"] for one in offers(server)] == [second["id"]])
    assert offers(server, 2) == []


@pytest.mark.usefixtures("machine")
def test_a_bid_below_the_floor_is_refused_naming_it(server: Served) -> None:
    offer = eventually(lambda: offers(server))[0]["id"]
    body = {"image": "debian:12", "disk": 10, "price": 0.09}
    answer = server.call("PUT", f"/api/v0/asks/{offer}/", "renter", body)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_price"
    assert "$0.1 an hour" in answer.json()["msg"]


@pytest.mark.client
@pytest.mark.usefixtures("machine")
def test_outbid_told_matched_and_back_with_the_official_client(server: Served) -> None:
    ann = VastAI(api_key=server.keys["renter"], server_url=server.url)
    bob = VastAI(api_key=server.keys["other"], server_url=server.url)
    offer = eventually(lambda: offers(server))[0]["id"]
    mine = ann.create_instance(id=offer, image="debian:12", disk=10, bid_price=0.15)
    assert (mine["rental_type"], mine["dph_base"]) == ("bid", 0.15)
    instance = mine["new_contract"]
    runs(server, instance)
    assert (row(server, instance)["is_bid"], row(server, instance)["min_bid"]) == (True, 0.10)
    theirs = bob.create_instance(id=offer, image="debian:12", disk=10, bid_price=0.20)
    assert "It won GPUs 0" in theirs["msg"]
    warned = row(server, instance)
    assert warned["actual_status"] == "running"
    assert warned["yields_at"] > warned["start_date"]
    assert warned["displaced_by"] == [theirs["new_contract"]]
    assert "Bid more to keep it; it runs until" in warned["status_msg"]
    assert row(server, theirs["new_contract"], "other")["starts_by"] == warned["yields_at"]
    runs(server, theirs["new_contract"], "other")
    paused = row(server, instance)
    words = {paused[name] for name in ("cur_state", "intended_status", "next_state")}
    assert words == {"stopped"}
    assert (paused["state"], paused["reason"], paused["queue_position"]) == (
        "scheduling",
        "outbid",
        1,
    )
    assert "place 1 in the queue" in paused["status_msg"]
    assert ann.change_bid(id=instance, price=0.25) is not None
    runs(server, instance)
    back = row(server, instance)
    assert (back["dph_base"], back["bid"], back["reason"]) == (0.25, 0.25, "resumed")
    assert bob.change_bid(id=theirs["new_contract"]) is not None
    raised = row(server, theirs["new_contract"], "other")
    assert raised["bid"] == 0.251


@pytest.mark.usefixtures("machine")
def test_a_bid_can_be_tried_and_where_it_comes_back_chosen(server: Served) -> None:
    offer = eventually(lambda: offers(server))[0]["id"]
    instance = rent(server, offer, price=0.15)["new_contract"]
    runs(server, instance)
    path = f"/api/v0/asks/{offer}/bid/?price="
    low = server.call("GET", f"{path}0.15").json()
    assert (low["wins"], low["min_bid"], low["displaces"], low["floor"]) == (False, 0.151, [], 0.1)
    high = server.call("GET", f"{path}0.16&hours=1").json()
    assert (high["wins"], high["displaces"], high["held_share"]) == (True, [instance], 1.0)
    assert server.call("GET", f"{path}0.05").json()["wins"] is False
    assert server.call("GET", f"{path}500").status_code == 400
    assert server.call("GET", f"{path}1&hours=0").status_code == 400
    assert server.call("GET", "/api/v0/asks/7/bid/?price=1").status_code == 404
    body = {"reschedule": True}
    moved = server.call("PUT", f"/api/v0/instances/reschedule/{instance}/", "renter", body)
    assert moved.status_code == 200, moved.text
    assert row(server, instance)["reschedule"] is True


def program(server: Served, key: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """What `mercato` says to a renter."""
    return subprocess.run(
        [sys.executable, "-m", "mercato.cli", *map(str, words)],
        env=os.environ
        | {"MERCATO_URL": server.url, "MERCATO_API_KEY": server.keys[key], "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_bids_tries_shows_and_replays(
    server: Served, machine: int, tmp_path: Path
) -> None:
    offer = eventually(lambda: offers(server))[0]["id"]
    image = ("--image", "debian:12")
    rented = program(server, "renter", "rent", str(offer), *image, "--bid", "0.15", "--anywhere")
    assert "is yours, bid, at $0.15" in rented.stdout, rented
    instance = re.findall(r"Instance (\d+) is yours", rented.stdout)[0]
    runs(server, int(instance))
    waits = program(server, "other", "rent", str(offer), *image, "--bid", "0.12", "--queue")
    assert "place 1 in the queue" in waits.stdout, waits
    refused = program(server, "other", "rent", str(offer), *image, "--bid", "0.11")
    assert "higher bid" in refused.stderr, refused
    shown = program(server, "other", "ps").stdout
    assert "scheduling, place 1" in shown
    assert f"by bid {instance} at $0.15" in shown
    tried = program(server, "other", "auction", "try", str(offer), "0.14").stdout
    assert "that takes $0.1510 an hour" in tried
    assert "it would have held them 0%" in tried
    bid = program(server, "other", "bid", str(int(instance) + 1)).stdout
    assert "bids $0.1510 an hour: it wins" in bid
    told = program(server, "other", "auction", "log", str(machine)).stdout
    assert "Outbid at $0.15 a GPU and hour" in told
    moved = program(server, "renter", "reschedule", instance, "--same").stdout
    assert "the same GPUs only" in moved
    log = tmp_path / "clearings.json"
    log.write_text(program(server, "other", "auction", "log", str(machine), "--raw").stdout)
    assert "follow from their claims" in program(server, "other", "auction", "replay", log).stdout
    log.write_text(log.read_text().replace("150000000", "250000000"))
    forged = program(server, "other", "auction", "replay", log)
    assert forged.returncode != 0
    assert "does not follow from its claims" in forged.stderr
    assert program(server, "other", "auction", "replay", tmp_path / "none").returncode != 0


def test_a_bid_is_tried_where_nothing_was_ever_decided(server: Served, machine: int) -> None:
    offer = eventually(lambda: offers(server))[0]["id"]
    asked = server.call("GET", f"/api/v0/asks/{offer}/bid/?price=0.15")
    assert asked.status_code == 200, asked.text
    assert (asked.json()["wins"], asked.json()["held_share"]) == (True, None)
    told = program(server, "other", "auction", "try", str(offer), "0.15").stdout
    assert "It would win now." in told
    assert "Nothing is known of the time before." in told
    log = program(server, "other", "auction", "log", str(machine)).stdout
    assert "Nothing was decided there yet." in log


def test_a_host_says_on_what_terms_it_takes_bids(server: Served, machine: int) -> None:
    terms = ("--notice", "30", "--min-run", "600", "--pricing", "uniform")
    listed = program(server, "host", "list", str(machine), "--gpu", "0.4", *terms)
    assert listed.returncode == 0, listed
    kept = program(server, "host", "list", str(machine), "--gpu", "0.5")
    assert kept.returncode == 0, kept
    [row] = server.call("GET", f"/api/v0/machines/{machine}/", "host").json()
    found = (row["listed_gpu_cost"], row["bid_notice"], row["bid_min_run"], row["bid_pricing"])
    assert found == (0.5, 30.0, 600.0, "uniform")
    long = program(server, "host", "list", str(machine), "--gpu", "0.5", "--notice", "7200")
    assert "notice before a bid is displaced" in long.stderr


def test_anybody_can_replay_the_log(server: Served, machine: int) -> None:
    first, second = eventually(lambda: offers(server))
    for offer, price in ((first, 0.15), (second, 0.2), (first, 0.3)):
        rent(server, offer["id"], price=price)
    answer = server.call("GET", f"/api/v0/machines/{machine}/clearings/").json()
    assert len(answer["clearings"]) >= 3
    for one in answer["clearings"]:
        claims = msgspec.convert(one["claims"], list[Claim])
        said = msgspec.convert(one["verdict"], tuple[Outcome, ...])
        assert clear(one["gpus"], claims, one["at_ms"]).outcomes == said
    page = server.call("GET", f"/api/v0/machines/{machine}/clearings/?limit=1").json()
    older = f"/api/v0/machines/{machine}/clearings/?before={page['next_before']}"
    assert server.call("GET", older).json()["clearings"] == answer["clearings"][1:]
    assert server.call("GET", "/api/v0/machines/99/clearings/").status_code == 404
