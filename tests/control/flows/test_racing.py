"""A thousand renters race for a hundred offers; and who loses a race does not lose the next."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from mercato.control.db import Database, Tx
from mercato.control.flows import renting
from mercato.market import errors
from mercato.market.ids import AccountId, OfferId
from tests.control.market import T0, open_market, request


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


def test_who_lost_a_race_is_not_beaten_again(db: Database) -> None:
    """Any two rentals at once touch the same pages of indexes, and one of them must begin anew."""
    market = open_market(db)
    agents = [market.machine(2) for _ in range(16)]
    offers = [market.offer(agent, node) for node in (2, 3) for agent in agents]
    renters = [market.account(f"renter-{number}") for number in range(len(offers))]

    def take(offer: OfferId, renter: AccountId) -> int:
        again = []

        def rent(tx: Tx) -> None:
            again.append(tx.alone)
            renting.rent(tx, renter, offer, request(), T0, minted, house=market.house)

        minted = market.mint()
        db.run_now(rent)
        return sum(again)

    with ThreadPoolExecutor(8) as pool:
        times_beaten = list(pool.map(take, offers, renters))
    assert max(times_beaten) <= 1
    market.audit()
