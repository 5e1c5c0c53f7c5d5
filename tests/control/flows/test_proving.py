"""Nobody pays for time that the host cannot prove."""

import pytest

from mercato.control.db import Database
from mercato.control.flows import lapsing, renting
from mercato.market.contract import Contract
from mercato.market.money import accrued, nano
from tests.control.market import HOUR, T0, Agent, Market, open_market

GPU_HOUR = 4 * nano("0.36")


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


@pytest.fixture
def agent(market: Market) -> Agent:
    return market.machine(4)


@pytest.fixture
def contract(market: Market, agent: Agent) -> Contract:
    """Four GPUs that run since T0."""
    signed = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    return signed


def gpu_paid(market: Market, contract: Contract, disk_until_ms: int) -> int:
    """What GPU time cost, when the disk was paid for until a moment that has passed."""
    paid = nano(100) - market.spendable(disk_until_ms)
    return paid - accrued(contract.terms.storage, disk_until_ms - T0)


def test_a_container_that_ended_while_nobody_could_see_is_paid_until_it_was_last_seen(
    market: Market, agent: Agent, contract: Contract
) -> None:
    agent.report(T0 + HOUR)
    for hour in range(2, 6):
        agent.report(T0 + hour * HOUR, sees=False)
    agent.actual.clear()
    agent.report(T0 + 6 * HOUR)
    assert gpu_paid(market, contract, T0 + 6 * HOUR) == GPU_HOUR
    market.audit()


def test_a_container_that_ran_on_while_nobody_could_see_proves_it_by_its_start(
    market: Market, agent: Agent, contract: Contract
) -> None:
    agent.report(T0 + HOUR)
    agent.report(T0 + 5 * HOUR, sees=False)
    agent.report(T0 + 6 * HOUR)
    assert gpu_paid(market, contract, T0 + 6 * HOUR) == 6 * GPU_HOUR


def test_a_machine_that_fell_silent_blind_is_paid_for_gpus_until_it_saw(
    market: Market, agent: Agent, contract: Contract
) -> None:
    agent.report(T0 + HOUR)
    agent.report(T0 + 2 * HOUR, sees=False)
    assert market.db.run_now(lapsing.silent, agent.machine, T0 + 3 * HOUR, T0 + 3 * HOUR)
    paid = nano(100) - market.spendable(T0 + 9 * HOUR)
    assert paid == GPU_HOUR + accrued(contract.terms.storage, 2 * HOUR)
    market.audit()


def test_nothing_is_charged_ahead_of_the_proof(
    market: Market, agent: Agent, contract: Contract
) -> None:
    agent.report(T0 + HOUR)
    agent.report(T0 + 2 * HOUR, sees=False)
    market.db.run_now(lapsing.settle, contract.id, T0 + 2 * HOUR)
    agent.actual.clear()
    agent.report(T0 + 3 * HOUR)
    assert gpu_paid(market, contract, T0 + 3 * HOUR) == GPU_HOUR


@pytest.mark.parametrize(("silent_ms", "paid_ms"), [(30_000, HOUR + 30_000), (30_001, HOUR)])
def test_stopping_what_was_not_heard_lately_ends_its_time_with_the_last_proof(
    market: Market, agent: Agent, contract: Contract, silent_ms: int, paid_ms: int
) -> None:
    agent.report(T0 + HOUR)
    now_ms = T0 + HOUR + silent_ms
    market.db.run_now(renting.stop, market.renter, contract.id, now_ms)
    assert gpu_paid(market, contract, now_ms) == accrued(contract.terms.gpu, paid_ms)
    market.audit()
