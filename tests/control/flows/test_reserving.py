"""A reservation, from the prepayment to the refund."""

import pytest

from mercato.control.db import Database, Tx
from mercato.control.flows import (
    billing,
    crediting,
    hosting,
    lapsing,
    metering,
    paying,
    renting,
    reserving,
)
from mercato.control.flows.reserving import Standing
from mercato.control.store import contracts, purses
from mercato.market import errors
from mercato.market.contract import Contract, Kind
from mercato.market.ids import ContractId
from mercato.market.instance import Intended
from mercato.market.ledger import deposit_of
from mercato.market.money import NANO, PPM, NanoUsd, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from tests.control.market import HOUR, T0, Agent, Market, open_market
from tests.invariants import broken

MONTH = 720 * HOUR


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def rented(market: Market, **asking: object) -> tuple[Agent, Contract]:
    """One GPU at a dollar an hour, running, with nothing to pay for its disk."""
    agent = market.machine(
        1,
        prices={"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(0)},
        **asking,
    )
    contract = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    return agent, contract


def prepay(market: Market, contract: ContractId, amount: str, at_ms: int, cause: str = "a") -> None:
    market.db.run_now(
        reserving.prepay, market.renter, contract, NanoUsd(nano(amount)), cause, at_ms
    )


def standing(market: Market, contract: ContractId, at_ms: int) -> Standing:
    return market.db.run_now(reserving.standing, contract, at_ms)


def charged(market: Market, until_ms: int) -> int:
    lines = market.db.run_now(billing.lines, market.renter, T0, until_ms + 1, until_ms)
    return sum(line.amount for line in lines)


def kind(market: Market, contract: ContractId) -> Kind:
    return market.db.run_now(contracts.get, contract).terms.kind


def test_the_documented_example_reproduces_to_the_cent(market: Market) -> None:
    agent, contract = rented(market)
    prepay_all(market, contract.id)
    assert kind(market, contract.id) is Kind.RESERVED
    assert market.spendable(T0) == nano(100)
    assert standing(market, contract.id, T0).refundable == nano(576)
    half_ms = T0 + MONTH // 2
    agent.report(half_ms)
    now = standing(market, contract.id, half_ms)
    assert (now.left, now.saved, now.refundable) == (nano(288), nano(72), nano("212.4"))
    assert (now.months_ppm, now.discount_ppb) == (PPM, 200_000_000)
    assert market.spendable(half_ms) == nano(100)
    end_ms = T0 + MONTH
    agent.report(end_ms)
    assert standing(market, contract.id, end_ms).refundable == 0
    market.audit()


def prepay_all(market: Market, contract: ContractId) -> None:
    """576 dollars, with 100 left."""

    market.db.run_now(paying.add_credit, market.renter, nano(576), "for the example", T0)
    prepay(market, contract, "576", T0)


def test_an_early_end_gives_back_the_discount_to_the_host_and_the_rest_to_the_renter(
    market: Market,
) -> None:
    agent, contract = rented(market)
    prepay_all(market, contract.id)
    half_ms = T0 + MONTH // 2
    agent.report(half_ms)
    market.db.run_now(renting.destroy, market.renter, contract.id, half_ms)
    assert market.spendable(half_ms) == nano(100) + nano("212.4")
    assert market.db.run_now(purses.balance, deposit_of(contract.id)) == 0
    assert market.db.run_now(metering.balance, market.host, half_ms).earnings == nano("363.6")
    assert charged(market, half_ms) == nano("363.6")
    market.audit()
    assert market.db.run_now(lambda tx: broken(tx.conn)) == {}


def test_a_host_that_breaks_its_word_pays_back_in_full(market: Market) -> None:
    agent, contract = rented(market)
    prepay_all(market, contract.id)
    half_ms = T0 + MONTH // 2
    agent.report(half_ms)
    market.db.run_now(hosting.verify, agent.machine, "deverified", half_ms)
    market.db.run_now(renting.destroy, market.renter, contract.id, half_ms)
    assert market.spendable(half_ms) == nano(100) + nano(288)
    market.audit()


def test_a_used_up_deposit_goes_on_at_the_full_price_from_that_very_moment(market: Market) -> None:
    agent, contract = rented(market)
    prepay(market, contract.id, "10", T0)
    rate = NANO - NANO * standing(market, contract.id, T0).discount_ppb // 10**9
    lasts_ms = nano(10) * HOUR // rate
    later_ms = T0 + lasts_ms + 5 * HOUR
    agent.report(later_ms)
    before = market.spendable(later_ms)
    assert before == nano(90) - nano(5), "nobody has looked yet, and it is true already"
    assert market.db.run_now(lapsing.settle, contract.id, later_ms) > 0
    assert abs(market.spendable(later_ms) - before) <= rate // HOUR + 1
    assert kind(market, contract.id) is Kind.ON_DEMAND
    assert standing(market, contract.id, later_ms) == reserving.NOTHING
    assert charged(market, later_ms) == nano(100) - market.spendable(later_ms)
    market.audit()
    assert market.db.run_now(lambda tx: broken(tx.conn)) == {}


def test_a_top_up_counts_the_months_anew_and_a_repeated_one_pays_nothing(market: Market) -> None:
    agent, contract = rented(market)
    prepay(market, contract.id, "50", T0, "first")
    first = standing(market, contract.id, T0)
    prepay(market, contract.id, "20", T0, "second")
    prepay(market, contract.id, "20", T0, "second")
    second = standing(market, contract.id, T0)
    assert (first.left, second.left) == (nano(50), nano(70))
    assert second.discount_ppb > first.discount_ppb
    late_ms = T0 + 60 * HOUR
    agent.report(late_ms)
    prepay(market, contract.id, "0.50", late_ms, "third")
    third = standing(market, contract.id, late_ms)
    assert third.discount_ppb < second.discount_ppb, "a small late one lowers it"
    market.audit()


def test_what_cannot_be_prepaid_is_refused(market: Market) -> None:
    agent, contract = rented(market, end_at_ms=T0 + 30 * HOUR, credit_discount_max=0.4)
    refused: list[tuple[str, type[errors.Refusal]]] = [
        ("0.001", errors.InvalidPrice),
        ("101", errors.InsufficientCredit),
        ("90", errors.InvalidPrice),  # past the contract's end
    ]
    for amount, refusal in refused:
        with pytest.raises(refusal):
            prepay(market, contract.id, amount, T0, amount)
    with pytest.raises(errors.NoSuchInstance):
        prepay(market, ContractId(contract.id + 1), "1", T0)
    market.db.run_now(renting.destroy, market.renter, contract.id, T0)
    agent.settle(T0)
    _, stingy = rented(market, credit_discount_max=0.0)
    with pytest.raises(errors.Conflict, match="no discount"):
        prepay(market, stingy.id, "1", T0)
    market.audit()


def test_what_else_runs_is_not_starved_by_prepaying(market: Market) -> None:
    _, other = rented(market)
    _, contract = rented(market)
    with pytest.raises(errors.InsufficientCredit, match="what else runs"):
        prepay(market, contract.id, "99.5", T0)
    prepay(market, contract.id, "98.9", T0)
    assert kind(market, other.id) is Kind.ON_DEMAND
    market.audit()


def test_a_dry_account_keeps_what_its_deposit_pays_for(market: Market) -> None:
    poor = market.account("poor", "12")
    agent = market.machine(2, prices={"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(0)})
    reserved = market.rent(market.offer(agent, 2), renter=poor).contract
    plain = market.rent(market.offer(agent, 3), renter=poor).contract
    agent.settle(T0)
    market.db.run_now(reserving.prepay, poor, reserved.id, NanoUsd(nano(10)), "p", T0)
    dry_ms = T0 + 2 * HOUR
    agent.settle(dry_ms)
    report = market.db.run_now(crediting.run_down, poor, dry_ms)
    assert report["stopped"] == 1
    assert market.instance(plain.id).intended.value == "stopped"
    assert market.instance(reserved.id).intended.value == "running"
    market.audit()


def test_a_stopped_reservation_starts_without_credit(market: Market) -> None:
    agent, contract = rented(market)
    prepay(market, contract.id, "100", T0)
    assert market.spendable(T0) == 0
    market.db.run_now(renting.stop, market.renter, contract.id, T0 + HOUR)
    agent.settle(T0 + HOUR)
    left = standing(market, contract.id, T0 + HOUR).left
    agent.report(T0 + 9 * HOUR)
    assert standing(market, contract.id, T0 + 9 * HOUR).left == left
    market.db.run_now(renting.start, market.renter, contract.id, T0 + 9 * HOUR)
    agent.settle(T0 + 9 * HOUR)
    assert market.instance(contract.id).actual.value == "running"
    market.audit()


def test_the_silent_part_of_a_reservation_is_not_drawn_from_its_deposit(market: Market) -> None:
    agent, contract = rented(market)
    prepay(market, contract.id, "50", T0)
    agent.report(T0 + HOUR)

    def silent(tx: Tx) -> int:
        return lapsing.silent(tx, agent.machine, T0 + 5 * HOUR, T0 + 6 * HOUR)

    assert market.db.run_now(silent) == 1
    now = standing(market, contract.id, T0 + 9 * HOUR)
    rate = NANO - NANO * now.discount_ppb // 10**9
    assert now.left == nano(50) - rate
    market.db.run_now(renting.destroy, market.renter, contract.id, T0 + 9 * HOUR)
    assert market.spendable(T0 + 9 * HOUR) == nano(100) - rate, "in full: its host is silent"
    market.audit()


@pytest.mark.parametrize("silent_s", [0, 40])
def test_the_discount_counts_from_the_last_proof_at_which_it_began(
    market: Market, silent_s: int
) -> None:
    agent, contract = rented(market)
    market.db.run_now(paying.add_credit, market.renter, nano(1_000), "more", T0)
    agent.report(T0 + HOUR)
    at_ms = T0 + HOUR + silent_s * 1_000
    prepay(market, contract.id, "576", at_ms)
    agent.report(at_ms + 1_000)
    end_ms = at_ms + MONTH // 2
    agent.report(end_ms)
    before = market.spendable(end_ms)
    market.db.run_now(renting.destroy, market.renter, contract.id, end_ms)
    late = nano("0.8") * silent_s * 1_000 // HOUR  # discounted from the last proof on, and saved
    taken = late + late // 4 * 105 // 100
    assert abs(market.spendable(end_ms) - before - nano("212.4") + taken) <= 2
    market.audit()


def test_what_a_deposit_pays_for_starts_though_the_account_has_little_credit(
    market: Market,
) -> None:
    prices = {"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(nano("7.2"))}
    agent = market.machine(2, prices=prices)
    kept = market.rent(market.offer(agent, 2)).contract
    market.rent(market.offer(agent, 3), running=False)  # 0.1 dollars an hour for its disk
    agent.settle(T0)
    prepay(market, kept.id, "95", T0)
    market.db.run_now(renting.stop, market.renter, kept.id, T0 + 1_000)
    agent.settle(T0 + 2_000)
    now_ms = T0 + 30 * HOUR
    agent.report(now_ms)
    assert market.spendable(now_ms) < nano("2.4"), "less than a day of the other's disk"
    market.db.run_now(renting.start, market.renter, kept.id, now_ms)
    agent.settle(now_ms)
    assert market.instance(kept.id).intended is Intended.RUNNING
