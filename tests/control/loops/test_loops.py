"""What time itself does to rentals; a second run in a row changes nothing."""

import pytest

from mercato.control.db import Database
from mercato.control.flows import billing, renting
from mercato.control.loops.all import loops
from mercato.control.loops.loop import Report
from mercato.market.instance import Intended, Reason
from mercato.market.money import accrued, nano
from tests.control.market import HOUR, T0, Market, open_market


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def run(market: Market, name: str, now_ms: int) -> Report:
    """Run one loop twice; the first report. The second is all zeros."""
    loop = next(one for one in loops(market.db, market.house, T0) if one.name == name)
    report = loop.activate(now_ms)
    assert "failed" not in report
    assert not any(loop.activate(now_ms).values())
    market.audit()
    return report


def test_a_silent_machine_bills_to_its_last_proof_of_life(market: Market) -> None:
    agent = market.machine(4)
    contract = market.rent(market.offer(agent, 1)).contract
    agent.report(T0)
    agent.obey(T0)
    agent.report(T0)
    agent.report(T0 + HOUR)
    assert run(market, "silence", T0 + HOUR + 60_000) == {"offline": 0}
    assert run(market, "silence", T0 + 2 * HOUR) == {"offline": 1}
    paid = 4 * nano("0.36") + accrued(contract.terms.storage, HOUR)
    assert market.spendable(T0 + 9 * HOUR) == nano(100) - paid
    lines = market.db.run_now(billing.lines, market.renter, T0, T0 + 3 * HOUR, T0 + 2 * HOUR)
    assert sum(line.amount for line in lines) == paid
    shown = {(line.kind, line.note): line.amount for line in lines if line.note}
    hour = 4 * nano("0.36")
    assert shown["gpu", "not proven by its host"] == hour
    assert shown["gpu", "compensation: not proven"] == -hour
    agent.report(T0 + 9 * HOUR)
    assert market.spendable(T0 + 10 * HOUR) == nano(100) - 2 * paid


def test_an_account_runs_dry_is_warned_stopped_and_ended(market: Market) -> None:
    agent = market.machine(4)
    poor = market.account("poor", "2.00")
    contract = market.rent(market.offer(agent, 1), renter=poor).contract
    agent.settle(T0)
    seen: set[str] = set()
    at_ms = stopped_ms = T0
    while market.instance(contract.id).intended is not Intended.DESTROYED:
        at_ms += HOUR // 4
        agent.settle(at_ms)
        report = run(market, "credit", at_ms)
        stopped_ms = at_ms if report.get("stopped") else stopped_ms
        seen |= {name for name, count in report.items() if count}
        assert at_ms < T0 + 1_000 * HOUR
    assert seen == {"warned", "stopped", "recovered", "destroyed"}
    # Looked at a quarter of an hour late at worst, and its data still has the day it was promised.
    assert at_ms - stopped_ms >= 24 * HOUR
    assert market.instance(contract.id).reason is Reason.NO_CREDIT
    assert market.spendable(at_ms, poor) >= 0


def test_a_contract_ends_and_is_purged(market: Market) -> None:
    agent = market.machine(4, end_at_ms=T0 + HOUR)
    contract = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    assert run(market, "expiry", T0 + HOUR // 2)["warned"] == 1
    report = run(market, "expiry", T0 + HOUR)
    assert {name for name, count in report.items() if count} == {"expired", "unlisted"}
    assert market.instance(contract.id).reason is Reason.EXPIRED
    with pytest.raises(Exception, match="has ended"):
        market.db.run_now(renting.start, market.renter, contract.id, T0 + HOUR)
    assert run(market, "expiry", T0 + 50 * HOUR)["purged"] == 1


def test_meters_are_settled_and_the_rest_swept(market: Market) -> None:
    agent = market.machine(4)
    market.rent(market.offer(agent, 1))
    agent.settle(T0)
    agent.report(T0 + 30 * HOUR)
    assert run(market, "meter", T0 + 30 * HOUR) == {"settled": 2}
    assert run(market, "sweep", T0 + 30 * HOUR)["join_tokens"] == 1
