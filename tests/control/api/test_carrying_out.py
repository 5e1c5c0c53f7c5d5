"""What the market says to a decision that it will not carry out, and what it keeps of that."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vastai import VastAI

from mercato.control.api.fleet import Recruiter
from mercato.control.flows.house import Rules
from mercato.control.store import decisions
from mercato.market.ids import ContractId, OfferId
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import EndpointId, GroupId
from mercato.wire.fleet import Outcome
from tests.control.api.scripted import listed
from tests.control.api.serving import Served, served
from tests.control.api.test_endpoints import group_of, recruiter
from tests.control.api.test_journey import eventually

pytestmark = pytest.mark.client


class Asking:
    """An engine that has decisions about one group carried out, and what is kept of them."""

    def __init__(self, server: Served, role: str) -> None:
        vast = VastAI(api_key=server.keys[role], server_url=server.url)
        endpoint, group = group_of(vast)
        self.endpoint, self.group = EndpointId(endpoint), GroupId(group)
        self.market: Recruiter = recruiter(server)

    def offer(self) -> OfferId:
        first, *_ = eventually(lambda: asyncio.run(self.market.candidates(self.group)))
        return OfferId(first.offer)

    def do(self, kind: Kind, *, fence: int = 0, **about: Any) -> Outcome:
        decision = Decision(kind=kind, reason="a test", **about)
        return asyncio.run(self.market.carry_out(self.endpoint, self.group, decision, fence))

    @property
    def kept(self) -> list[str]:
        rows = self.market.db.run_now(decisions.latest, self.endpoint, None, 50)
        return [one.outcome for one in reversed(rows)]


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """A server with one listed machine."""
    rules = Rules(simulated_verified=True)
    with served(database_url, tmp_path, rules=rules) as running, listed(running):
        yield running


def test_21_an_account_without_credit_is_refused_as_such_and_that_is_kept_once(
    server: Served,
) -> None:
    poor = Asking(server, "other")  # it has never paid anything
    offer = poor.offer()
    told = [poor.do(Kind.RENT, offer=offer) for _ in range(3)]
    assert {(one.of_price, one.of_account) for one in told} == {(True, False)}
    assert poor.kept == [told[0].text]


def test_21_an_offer_that_is_gone_is_the_offers_own_fault(server: Served) -> None:
    asking = Asking(server, "renter")
    offer = asking.offer()
    gone = OfferId(offer + 10**6)
    refused = [asking.do(Kind.RENT, offer=gone) for _ in range(2)]
    assert [(one.done, one.of_account) for one in refused] == [(False, False)] * 2
    assert asking.do(Kind.RENT, offer=offer) == Outcome()
    assert asking.kept == [refused[0].text, "done"]


def test_19_what_is_another_engines_or_not_active_is_refused_whatever_the_offer(
    server: Served,
) -> None:
    asking = Asking(server, "renter")
    offer = asking.offer()
    path = f"/api/v0/endptjobs/{asking.endpoint}/"
    server.call("PUT", path, "renter", {"endpoint_state": "suspended"})
    assert asking.do(Kind.RENT, offer=offer).of_account
    server.call("PUT", path, "renter", {"endpoint_state": "active"})
    fence = asyncio.run(asking.market.stand("an engine", server.url)).mine[asking.endpoint]
    refused = asking.do(Kind.RENT, offer=offer, fence=fence - 1)
    assert "Another engine" in refused.text
    assert refused.of_account


def test_what_is_refused_of_a_worker_is_kept_when_it_changes(server: Served) -> None:
    asking = Asking(server, "renter")
    told = [asking.do(Kind.WAKE, worker=ContractId(9)) for _ in range(3)]
    assert "no worker 9" in told[0].text
    asking.do(Kind.SLEEP, worker=ContractId(9))
    assert asking.kept == [told[0].text] * 2
