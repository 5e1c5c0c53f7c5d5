"""Renters race for the same offers, over HTTP: `make race` has a thousand of them."""

import asyncio
import os
from pathlib import Path
from typing import Final

import httpx2

from mercato.control.clock import SystemClock
from mercato.control.db import Tx
from mercato.control.flows import metering, paying
from mercato.control.flows.house import Rules
from mercato.control.store import accounts, api_keys, segments
from mercato.market.ids import AccountId, OfferId
from mercato.market.money import accrued, nano
from tests.control.api.serving import served
from tests.control.market import HOUR, Market

RENTERS: Final = int(os.environ.get("MERCATO_RACE_RENTERS", "60"))
RENTERS_PER_OFFER: Final = 10
GPUS: Final = 2
ANSWER_S: Final = 300.0
CREDIT: Final = "10"
PATIENT: Final = Rules(simulated_verified=True, offline_after_ms=HOUR, unknown_after_ms=HOUR)
"""Nobody reports while the race is on."""


def test_renters_race_for_offers(database_url: str, tmp_path: Path) -> None:
    with served(database_url, tmp_path, rules=PATIENT) as server:
        began_ms = SystemClock().now_ms()
        db = server.plane.db
        market = Market(db, server.plane.services.house, AccountId(2), AccountId(3))
        agents = [market.machine(GPUS) for _ in range(RENTERS // RENTERS_PER_OFFER // GPUS)]
        offers = [market.offer(agent, node) for agent in agents for node in range(GPUS, 2 * GPUS)]
        for agent in agents:
            agent.report(began_ms)
        renters = db.run_now(_renters, began_ms)
        answers = asyncio.run(_race(server.url, renters, offers))

        won = [renter for renter in answers if answers[renter].status_code == 200]
        lost = [answers[renter] for renter in answers if renter not in won]
        assert len(won) == len(offers)
        assert {(answer.status_code, answer.json()["error"]) for answer in lost} == {
            (404, "no_such_ask"),
            (410, "no_such_ask"),
        }
        held = [contract for one in agents for contract in market.held(one.machine).values()]
        assert len(held) == len(set(held)) == len(offers)
        assert {answers[renter].json()["new_contract"] for renter in won} == set(held)

        ran_ms = SystemClock().now_ms()
        for agent in agents:
            agent.report(ran_ms)
            agent.settle(ran_ms)
        for renter in renters:
            _charged_right(market, renter, ran_ms, holds=renter in won)
        market.audit()


def _renters(tx: Tx, now_ms: int) -> list[AccountId]:
    made = []
    for number in range(RENTERS):
        account = accounts.create(
            tx, email=f"{number}@example.org", username=f"renter-{number}", now_ms=now_ms
        )
        assert account is not None
        paying.add_credit(tx, account, nano(CREDIT), f"test:{number}", now_ms)
        api_keys.create(
            tx, account=account, kind="account", name="", secret=_key(account), now_ms=now_ms
        )
        made.append(account)
    return made


def _key(account: AccountId) -> str:
    return f"key-of-renter-{account:032d}"


async def _race(
    url: str, renters: list[AccountId], offers: list[OfferId]
) -> dict[AccountId, httpx2.Response]:
    """All at once; every other one wants to hear that it lost a race."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=ANSWER_S, limits=limits) as client:

        async def rent(number: int, renter: AccountId) -> httpx2.Response:
            return await client.put(
                f"{url}/api/v0/asks/{offers[number % len(offers)]}/",
                headers={"Authorization": f"Bearer {_key(renter)}"},
                json={
                    "image": "debian",
                    "disk": 1,
                    "cancel_unavail": number // len(offers) % 2 == 0,
                },
            )

        asked = [rent(number, renter) for number, renter in enumerate(renters)]
        return dict(zip(renters, await asyncio.gather(*asked), strict=True))


def _charged_right(market: Market, renter: AccountId, now_ms: int, *, holds: bool) -> None:
    """A winner pays for one GPU and one disk from its own moments on; nobody else for anything."""
    meters = market.db.run_now(segments.running_of, renter)
    assert sorted(meter.kind for meter in meters) == (["disk", "gpu"] if holds else [])
    later_ms = now_ms + HOUR
    owed = sum(accrued(meter.rate, later_ms - meter.from_ms) for meter in meters)
    assert market.spendable(later_ms, renter) == nano(CREDIT) - owed
    rates = {meter.kind: meter.rate for meter in meters}
    assert not holds or rates["gpu"] == nano("0.36")
    assert metering.DISK not in rates or rates["disk"] == nano("0.0001")
