"""A thousand renters race for a hundred offers."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from mercato.control.db import Database
from mercato.market import errors
from tests.control.market import T0, open_market


@pytest.mark.slow
def test_no_gpu_is_let_twice_and_every_loser_is_told(db: Database) -> None:
    market = open_market(db)
    agents = [market.machine(4) for _ in range(25)]
    offers = [market.offer(agent, node) for agent in agents for node in (4, 5, 6, 7)]
    renters = [market.account(f"renter-{number}") for number in range(100)]

    def take(number: int) -> str:
        try:
            market.rent(offers[number % 100], T0, renters[number * 7 % 100])
        except errors.OfferTaken:
            return "taken"
        return "rented"

    with ThreadPoolExecutor(32) as pool:
        outcomes = list(pool.map(take, range(1_000)))
    assert outcomes.count("rented") == 100
    assert outcomes.count("taken") == 900
    assert sum(len(market.held(agent.machine)) for agent in agents) == 100
    market.audit()
