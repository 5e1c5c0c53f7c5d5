"""A rental, from the ask to the last cent."""

import pytest

from mercato.control.db import Database
from mercato.control.flows import renting
from mercato.market import errors
from mercato.market.ids import OfferId
from mercato.market.instance import Intended, Reason
from mercato.market.money import accrued, nano
from tests.control.market import HOUR, T0, Market, open_market


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def test_a_rental_runs_is_paid_by_the_second_and_ends(market: Market) -> None:
    agent = market.machine(4)
    contract = market.rent(market.offer(agent, 2)).contract
    assert contract.gpus == (0, 1)
    assert market.held(agent.machine) == {0: contract.id, 1: contract.id}
    wanted = agent.report(T0 + 1_000).instances[0]
    assert wanted.running
    assert wanted.env["SECRET"] == "hush"
    assert wanted.env["CONTAINER_API_KEY"].startswith("key-")
    assert (wanted.cpus, wanted.ram_mb) == (16.0, 64_000)
    agent.obey(T0 + 2_000)
    agent.report(T0 + 10_000)
    agent.report(T0 + 8_000 + HOUR)
    market.db.run_now(renting.stop, market.renter, contract.id, T0 + 10_000 + HOUR)
    assert market.held(agent.machine) != {}
    agent.settle(T0 + 20_000 + HOUR)
    assert market.held(agent.machine) == {}
    market.audit()
    market.db.run_now(renting.destroy, market.renter, contract.id, T0 + 2 * HOUR)
    agent.settle(T0 + 2 * HOUR + 1_000)
    assert market.instance(contract.id).destroyed_at_ms is not None
    market.audit()
    paid = 2 * nano("0.36") + accrued(contract.terms.storage, 2 * HOUR)
    assert market.spendable(T0 + 3 * HOUR) == nano(100) - paid


def test_a_taken_offer_is_refused_or_waited_for(market: Market) -> None:
    agent = market.machine(4)
    first = market.rent(market.offer(agent, 1)).contract
    with pytest.raises(errors.OfferTaken):
        market.rent(market.offer(agent, 2))
    waits = market.rent(market.offer(agent, 2), T0 + 1, cancel_unavailable=False)
    assert not waits.holds_gpus
    agent.settle(T0 + 1_000)
    market.db.run_now(renting.stop, market.renter, first.id, T0 + 2_000)
    agent.settle(T0 + 3_000)
    assert set(market.held(agent.machine).values()) == {waits.contract.id}
    market.audit()


def test_what_is_not_on_sale_cannot_be_rented(market: Market) -> None:
    agent = market.machine(4, min_chunk=2)
    with pytest.raises(errors.NoSuchOffer):
        market.rent(market.offer(agent, 4))
    with pytest.raises(errors.NoSuchOffer):
        market.rent(OfferId(3))
    with pytest.raises(errors.NoSuchOffer):
        market.rent(OfferId(2**62))
    market.audit()


def test_too_much_disk_and_too_little_credit_are_refused(market: Market) -> None:
    agent = market.machine(4)
    offer = market.offer(agent, 1)
    with pytest.raises(errors.InvalidRequest, match="disk"):
        market.rent(offer, disk_mb=5_000_000)
    poor = market.account("poor", "0.10")
    with pytest.raises(errors.InsufficientCredit, match=r"\$0\.1000"):
        market.rent(offer, renter=poor)
    market.audit()


def test_nobody_touches_an_instance_of_somebody_else(market: Market) -> None:
    agent = market.machine(4)
    contract = market.rent(market.offer(agent, 1)).contract
    stranger = market.account("stranger")
    for flow in (renting.start, renting.stop, renting.reboot, renting.recycle, renting.destroy):
        with pytest.raises(errors.NoSuchInstance):
            market.db.run_now(flow, stranger, contract.id, T0)


def test_telling_twice_is_telling_once(market: Market) -> None:
    agent = market.machine(4)
    contract = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0 + 1_000)
    for _ in range(2):
        market.db.run_now(renting.stop, market.renter, contract.id, T0 + 2_000)
        agent.settle(T0 + 3_000)
        assert market.instance(contract.id).intended is Intended.STOPPED
    for _ in range(2):
        market.db.run_now(renting.start, market.renter, contract.id, T0 + 4_000)
        assert market.instance(contract.id).boots == 1
    agent.settle(T0 + 5_000)
    assert market.instance(contract.id).reason is Reason.USER
    market.db.run_now(renting.destroy, market.renter, contract.id, T0 + 6_000)
    with pytest.raises(errors.NoSuchInstance):
        market.db.run_now(renting.destroy, market.renter, contract.id, T0 + 6_000)
    market.audit()


def test_a_host_pays_nothing_for_its_own_machine(market: Market) -> None:
    agent = market.machine(4)
    contract = market.rent(market.offer(agent, 1), renter=market.host).contract
    assert (contract.terms.gpu, contract.terms.storage) == (0, 0)
    agent.settle(T0 + 1_000)
    market.db.run_now(renting.destroy, market.host, contract.id, T0 + HOUR)
    market.audit()
