"""Endpoints among engines: each has one owner at a time, and a dead one's are taken over."""

import random

import pytest

from mercato.control.db import Database
from mercato.control.flows import owning, serving
from mercato.control.flows.owning import LEASE_MS
from mercato.control.store import leases
from mercato.market import errors
from mercato.serverless.endpoint import Endpoint, EndpointId
from mercato.wire.fleet import Ownership
from tests.control.market import T0, Market, open_market


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def endpoints(market: Market, count: int) -> list[EndpointId]:
    return [
        market.db.run_now(
            serving.create_endpoint,
            market.renter,
            f"endpoint {number}",
            Endpoint(),
            f"key-of-{number}",
            T0,
            market.house,
        ).id
        for number in range(count)
    ]


def stand(market: Market, engine: str, now_ms: int) -> Ownership:
    return market.db.run_now(owning.stand, engine, f"http://{engine}", now_ms)


def test_one_engine_has_all_and_two_share_them(market: Market) -> None:
    made = endpoints(market, 12)
    assert stand(market, "a", T0).mine == dict.fromkeys(made, 1)
    assert stand(market, "b", T0).mine == {}
    kept = stand(market, "a", T0 + 1_000)
    taken = stand(market, "b", T0 + 1_000)
    assert kept.mine.keys() | taken.mine.keys() == set(made)
    assert not kept.mine.keys() & taken.mine.keys()
    assert set(taken.mine.values()) == {2}
    assert taken.others == dict.fromkeys(kept.mine, "http://a")


def test_a_dead_engines_endpoints_move_within_five_seconds(market: Market) -> None:
    made = endpoints(market, 6)
    for at_ms in (T0, T0 + 1_000):
        stand(market, "a", at_ms)
        stand(market, "b", at_ms)
    moved = stand(market, "b", T0 + 1_000 + LEASE_MS)
    assert moved.mine.keys() == set(made)
    assert LEASE_MS + 1_000 <= 5_000


def test_an_older_owner_is_refused_and_its_memory_is_not_kept(market: Market) -> None:
    (endpoint,) = endpoints(market, 1)
    old = stand(market, "a", T0).mine[endpoint]
    market.db.run_now(leases.keep, endpoint, b"of a", old)
    new = stand(market, "b", T0 + 2 * LEASE_MS).mine[endpoint]
    assert new > old
    market.db.run_now(leases.keep, endpoint, b"late word of a", old)
    assert market.db.run_now(leases.kept, endpoint) == b"of a"
    market.db.run_now(owning.check_fence, endpoint, new)
    with pytest.raises(errors.Conflict):
        market.db.run_now(owning.check_fence, endpoint, old)


@pytest.mark.parametrize("seed", range(5))
def test_no_endpoint_ever_has_two_owners(market: Market, seed: int) -> None:
    luck = random.Random(seed)
    endpoints(market, 5)
    believes: dict[str, tuple[int, Ownership]] = {}
    now_ms = T0
    for _ in range(80):
        now_ms += luck.randrange(0, 2_000)
        engine = luck.choice("abc")
        believes[engine] = (now_ms, stand(market, engine, now_ms))
        held = [
            endpoint
            for said_ms, ownership in believes.values()
            if now_ms < said_ms + LEASE_MS
            for endpoint in ownership.mine
        ]
        assert len(held) == len(set(held))
