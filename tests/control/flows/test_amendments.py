"""Terms over time: amended, never changed, and billed to the moment."""

import pytest
from msgspec.structs import replace

from mercato.control.db import Database, Tx
from mercato.control.flows import metering
from mercato.control.store import contracts
from mercato.market.ids import ContractId
from mercato.market.money import NanoUsdPerHour, accrued, nano
from tests.control.market import HOUR, T0, Market, open_market
from tests.invariants import broken


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def amended(tx: Tx, contract: ContractId, rate: NanoUsdPerHour, at_ms: int) -> None:
    before = contracts.get(tx, contract)
    contracts.amend(tx, contract, replace(before.terms, gpu=rate), "bid", at_ms)
    metering.reprice(tx, before, contracts.get(tx, contract), at_ms, at_ms)


@pytest.mark.parametrize("settled_ms", [None, T0 + HOUR, T0 + HOUR + 1])
def test_an_amended_rate_is_billed_from_its_moment_on(
    market: Market, settled_ms: int | None
) -> None:
    agent = market.machine(1)
    contract = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    if settled_ms is not None:
        market.db.run_now(metering.settle, contract, settled_ms, settled_ms)
    market.db.run_now(amended, contract.id, NanoUsdPerHour(nano("0.72")), T0 + HOUR)
    now = market.db.run_now(contracts.get, contract.id)
    assert now.terms.gpu == nano("0.72")
    assert now.terms.disk == contract.terms.disk
    paid = nano(100) - market.spendable(T0 + 3 * HOUR)
    owed = nano("0.36") + 2 * nano("0.72") + accrued(contract.terms.storage, 3 * HOUR)
    # What was charged past the moment stays charged at the old rate: here, for 1 ms at most.
    assert abs(paid - owed) <= accrued(NanoUsdPerHour(nano("0.36")), 1)
    market.audit()
    assert market.db.run_now(lambda tx: broken(tx.conn)) == {}
