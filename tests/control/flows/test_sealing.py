"""Every charge has a signed usage record, and a statement of them is the bill."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mercato.control.db import Database, Tx
from mercato.control.flows import billing, lapsing, renting, reserving, sealing
from mercato.control.store import contracts
from mercato.market.ids import ContractId
from mercato.market.money import NanoUsd, nano
from mercato.market.usage import Statement, checked
from mercato.wire.sealing import Checker
from tests.control.market import HOUR, T0, Market, open_market


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db, platform_fee_ppm=100_000)


def statement(market: Market, now_ms: int, after: int = 0) -> Statement:
    def read(tx: Tx) -> Statement:
        sealing.seal(tx, market.house.signer)
        return sealing.statement(
            tx, market.house.signer, market.renter, after, "http://market", now_ms
        )

    return market.db.run_now(read)


def verified(market: Market, found: Statement) -> dict[tuple[ContractId, str], NanoUsd]:
    return checked(found, Checker.of(market.house.signer.public_key).is_signed)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 90),
        st.sampled_from(["settle", "stop", "start", "prepay", "bytes", "destroy"]),
    ),
    max_size=12,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_statement_recomputes_the_bill_to_the_last_nano_dollar(
    market: Market, steps: list[tuple[int, str]]
) -> None:
    renter = market.renter = market.account(f"renter-{market.minted}", "1000")
    agent = market.machine(2)
    contract = market.rent(market.offer(agent, 2)).contract
    agent.settle(T0)
    at_ms = T0
    for minutes, deed in steps:
        at_ms += minutes * 60_000 + 17
        agent.settle(at_ms)
        alive = market.instance(contract.id).intended.value != "destroyed"
        match deed:
            case "settle":
                market.db.run_now(lapsing.settle, contract.id, at_ms)
            case "stop" if alive:
                market.db.run_now(renting.stop, renter, contract.id, at_ms)
            case "start" if alive:
                market.db.run_now(renting.start, renter, contract.id, at_ms)
            case "prepay" if alive:
                amount, cause = NanoUsd(nano("0.5")), f"{contract.id}:{at_ms}"
                market.db.run_now(reserving.prepay, renter, contract.id, amount, cause, at_ms)
            case "destroy" if alive:
                market.db.run_now(renting.destroy, renter, contract.id, at_ms)
            case _:
                agent.moved(contract.id, up=minutes * 10**7, now_ms=at_ms)
    agent.settle(at_ms + HOUR)
    for one in market.db.run_now(contracts.live_of, renter):
        market.db.run_now(lapsing.settle, one, at_ms + HOUR)
    found = verified(market, statement(market, at_ms + HOUR))
    lines = market.db.run_now(billing.lines, renter, 0, at_ms + 2 * HOUR, at_ms + HOUR)
    owed: dict[tuple[ContractId, str], int] = {}
    for line in lines:
        if line.amount:
            key = line.contract, line.kind
            owed[key] = owed.get(key, 0) + line.amount
    assert found == owed
    market.audit()


def test_a_later_statement_goes_on_where_the_earlier_ended(market: Market) -> None:
    agent = market.machine(1)
    contract = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    for hours in (1, 2, 3):
        agent.report(T0 + hours * HOUR)
        market.db.run_now(lapsing.settle, contract.id, T0 + hours * HOUR)
    whole = statement(market, T0 + 3 * HOUR)
    rest = statement(market, T0 + 3 * HOUR, after=2)
    assert whole.records[2:] == rest.records
    assert sum(verified(market, whole).values()) == nano(100) - market.spendable(T0 + 3 * HOUR)
    assert verified(market, rest).keys() == verified(market, whole).keys()
    assert statement(market, T0 + 3 * HOUR, after=99).records == ()
