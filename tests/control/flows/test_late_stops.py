"""Stops and limits that come late: the moment decides, and nobody is paid twice."""

import pytest

from mercato.control.db import Database
from mercato.control.flows import billing, lapsing, limiting, metering, paying, renting
from mercato.control.loops.money import money_loops
from mercato.control.store import transfers
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.ids import AccountId
from mercato.market.instance import Intended
from mercato.market.limits import Action, Period, Scope
from mercato.market.money import NanoUsd, NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from tests.control.flows.test_limiting import MIDNIGHT, limited, run_loop
from tests.control.market import HOUR, T0, Agent, Market, open_market
from tests.invariants import broken

DOLLAR = {"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(0)}
CENT_A_SECOND = {**DOLLAR, "gpu": NanoUsdPerHour(nano(36)), "up": NanoUsdPerGb(nano("0.001"))}


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def running(
    market: Market, agent: Agent, at_ms: int = T0, renter: AccountId | None = None
) -> Contract:
    contract = market.rent(market.offer(agent, 1), at_ms, renter).contract
    agent.settle(at_ms)
    return contract


def run(market: Market, name: str, now_ms: int) -> dict[str, int]:
    [loop] = [one for one in money_loops(market.db, market.house) if one.name == name]
    report = loop.activate(now_ms)
    market.audit()
    assert market.db.run_now(lambda tx: broken(tx.conn)) == {}
    return report


def earned(market: Market) -> int:
    return market.db.run_now(metering.balance, market.host, T0).earnings


def house(market: Market) -> int:
    return market.db.run_now(transfers.sums).get("fees", 0)


# --- A limit that comes late ----------------------------------------------------------------------


@pytest.mark.parametrize("period", [Period.DAY, Period.MONTH])
@pytest.mark.parametrize("posted", [True, False])
def test_a_limit_set_late_gives_nothing_back(
    market: Market, period: Period, *, posted: bool
) -> None:
    agent = market.machine(1, prices=DOLLAR)
    contract = running(market, agent, MIDNIGHT)
    now_ms = MIDNIGHT + 20 * HOUR
    agent.report(now_ms)
    if posted:
        market.db.run_now(lapsing.settle, contract.id, now_ms)
    limited(market, "0.01", period, now_ms)
    assert run_loop(market, now_ms)["stopped"] == 1
    assert market.spendable(now_ms) == nano(80)
    assert (earned(market), house(market)) == (nano(20), 0)


def test_a_limit_that_is_lowered_stops_now_and_gives_nothing_back(market: Market) -> None:
    agent = market.machine(1, prices=DOLLAR)
    contract = running(market, agent)
    limit = limited(market, "50", Period.TOTAL)
    now_ms = T0 + 9 * HOUR
    agent.report(now_ms)
    cent = NanoUsd(nano("0.01"))
    market.db.run_now(limiting.change, market.renter, limit.id, cent, limit.action, now_ms)
    assert run_loop(market, now_ms + 1_000)["stopped"] == 1
    assert market.instance(contract.id).intended is not Intended.RUNNING
    assert market.spendable(now_ms) == nano(91)
    assert earned(market) - nano(9) == -house(market) == nano(1) * 1_000 // HOUR, "a second late"


# --- A stop that comes late -----------------------------------------------------------------------


@pytest.mark.parametrize("late_s", [4, 3_600])
def test_what_was_posted_or_forecast_meanwhile_moves_no_limit(market: Market, late_s: int) -> None:
    agent = market.machine(1, prices=CENT_A_SECOND)
    rich = market.account("rich", "400")
    contract = running(market, agent, renter=rich)
    limited_to(market, rich, "72")
    now_ms = T0 + 2 * HOUR + late_s * 1_000
    agent.moved(contract.id, now_ms, up=1_000)
    market.db.run_now(paying.add_credit, rich, nano(1), "meanwhile", now_ms)
    run(market, "meter", now_ms)
    assert run(market, "limits", now_ms)["stopped"] == 1
    agent.settle(now_ms)
    assert nano(401) - market.spendable(now_ms, rich) == nano(72)
    assert earned(market) == nano(72) + nano("0.01") * late_s
    assert house(market) == -nano("0.01") * late_s, "what was late, once"


def limited_to(market: Market, account: AccountId, amount: str) -> None:
    market.db.run_now(
        limiting.set_limit,
        account,
        limiting.Wish(
            scope=Scope.ACCOUNT,
            scope_id=account,
            period=Period.TOTAL,
            amount=NanoUsd(nano(amount)),
            action=Action.STOP,
        ),
        T0,
    )


def test_an_account_that_ran_dry_unseen_pays_its_host_once(market: Market) -> None:
    agent = market.machine(1, prices=CENT_A_SECOND)
    poor = market.account("poor", "72")
    contract = running(market, agent, renter=poor)
    now_ms = T0 + 3 * HOUR
    agent.moved(contract.id, now_ms, up=1_000_000)
    run(market, "meter", now_ms)  # before anybody looked at the credit
    assert run(market, "credit", now_ms)["stopped"] == 1
    agent.settle(now_ms)
    assert earned(market) == nano(108), "three hours, not four"
    lines = market.db.run_now(billing.lines, poor, 0, now_ms + 1, now_ms)
    assert sum(line.amount for line in lines) == nano(72)
    [borne] = [line for line in lines if line.note == "borne by the house"]
    assert (borne.kind, borne.amount, borne.quantity) == ("gpu", -nano(36), 1)


@pytest.mark.parametrize("scope", [Scope.ACCOUNT, Scope.INSTANCE])
def test_what_the_house_gave_a_host_makes_no_room_under_a_limit(
    market: Market, scope: Scope
) -> None:
    agent = market.machine(1, prices=DOLLAR)
    contract = running(market, agent)
    number = market.renter if scope is Scope.ACCOUNT else contract.id
    limit = limited(market, "5", Period.TOTAL, scope=scope, scope_id=number)
    now_ms = T0 + 9 * HOUR
    agent.report(now_ms)
    run_loop(market, now_ms)
    agent.settle(now_ms)
    assert market.db.run_now(limiting.spending, limit, now_ms).spent == nano(5)
    with pytest.raises(errors.SpendingLimitReached):
        market.db.run_now(renting.start, market.renter, contract.id, now_ms)
