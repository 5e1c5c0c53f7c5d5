"""The verbs of accounts, deposits, credit, payments and notices, for deeds.py's table."""

from typing import Final

from mercato.control.flows import (
    crediting,
    lapsing,
    noticing,
    opening,
    paying,
    renting,
    reserving,
    settling,
)
from mercato.control.payments.provider import Method, Outcome
from mercato.control.store import payments, webhooks
from mercato.control.store.payments import Payment
from mercato.control.store.webhooks import Webhook
from mercato.market.contract import Contract
from mercato.market.credit import Thresholds
from mercato.market.money import NanoUsd, NanoUsdPerHour, nano
from mercato.market.payment import Purpose, State
from tests.control.flows.deeds import ANEW, NOTHING, NOW, REFUSED, Deed, Table, running
from tests.control.market import HOUR, T0, Agent, Market

CASES: Final = Table()
of = CASES.of


# --- Accounts -------------------------------------------------------------------------------------


@of(opening.open_account, NOTHING)
def open_account(market: Market) -> Deed:  # noqa: ARG001 - it needs nothing of the market
    return lambda tx: opening.open_account(tx, "new@example.org", "secret", "key", NOW)


@of(opening.open_operator, NOTHING)
def open_operator(market: Market) -> Deed:  # noqa: ARG001 - it needs nothing of the market
    return lambda tx: opening.open_operator(tx, "operator@example.org", "secret", NOW)


@of(paying.add_credit, NOTHING)
def add_credit(market: Market) -> Deed:
    return lambda tx: paying.add_credit(tx, market.renter, nano(5), "wire 1", NOW)


@of(paying.transfer_credit, NOTHING)
def transfer_credit(market: Market) -> Deed:
    running(market)
    other = market.account("other", "0")
    return lambda tx: paying.transfer_credit(
        tx, market.renter, other, NanoUsd(nano(5)), "gift", NOW
    )


# --- Deposits -------------------------------------------------------------------------------------


def _reserved(market: Market, dollars: int) -> tuple[Agent, Contract]:
    """The same GPUs running, with so much prepaid."""
    agent, contract = running(market)
    amount = NanoUsd(nano(dollars))
    market.db.run_now(reserving.prepay, market.renter, contract.id, amount, "first", T0 + 5_000)
    return agent, contract


@of(reserving.prepay, NOTHING)
def prepay(market: Market) -> Deed:
    _, contract = running(market)
    amount = NanoUsd(nano(5))
    return lambda tx: reserving.prepay(tx, market.renter, contract.id, amount, "first", NOW)


@of(reserving.prepay, NOTHING)
def prepay_more(market: Market) -> Deed:
    _, contract = _reserved(market, 5)
    amount = NanoUsd(nano(7))
    return lambda tx: reserving.prepay(tx, market.renter, contract.id, amount, "second", NOW)


@of(renting.destroy, REFUSED)
def destroy_what_is_prepaid(market: Market) -> Deed:
    agent, contract = _reserved(market, 5)
    agent.report(T0 + HOUR)
    return lambda tx: renting.destroy(tx, market.renter, contract.id, T0 + HOUR)


@of(lapsing.settle, NOTHING)
def settle_past_a_deposit(market: Market) -> Deed:
    agent, contract = _reserved(market, 1)
    agent.report(T0 + 5 * HOUR)
    return lambda tx: lapsing.settle(tx, contract.id, T0 + 5 * HOUR)


# --- Credit that runs down ------------------------------------------------------------------------


def _poor(market: Market, credit: str) -> tuple[Agent, Contract]:
    renter = market.account("poor", credit)
    return running(market, renter=renter)


@of(crediting.run_down, NOTHING)
def run_down_warns(market: Market) -> Deed:
    agent, contract = _poor(market, "2.00")
    agent.report(T0 + 2 * HOUR)
    return lambda tx: crediting.run_down(tx, contract.renter, T0 + 2 * HOUR)


@of(crediting.run_down, NOTHING)
def run_down_stops(market: Market) -> Deed:
    agent, contract = _poor(market, "2.00")
    agent.report(T0 + 3 * HOUR)
    return lambda tx: crediting.run_down(tx, contract.renter, T0 + 3 * HOUR)


@of(crediting.run_down, NOTHING)
def run_down_ends(market: Market) -> Deed:
    agent, contract = _poor(market, "2.00")
    agent.report(T0 + 3 * HOUR)
    market.db.run_now(crediting.run_down, contract.renter, T0 + 3 * HOUR)
    return lambda tx: crediting.run_down(tx, contract.renter, T0 + 90 * 24 * HOUR)


@of(crediting.run_down, NOTHING)
def run_down_tops_up(market: Market) -> Deed:
    agent, contract = _poor(market, "20.00")
    market.db.run_now(payments.save_card, contract.renter, "cus_1", "pm_1", "4242", T0)
    market.db.run_now(crediting.want, contract.renter, _THRESHOLDS, T0)
    agent.report(T0 + HOUR)
    return lambda tx: crediting.run_down(tx, contract.renter, T0 + HOUR)


_THRESHOLDS: Final = Thresholds(
    warn_below=NanoUsd(nano(30)),
    top_up_below=NanoUsd(nano(25)),
    top_up_amount=NanoUsd(nano(10)),
)


@of(crediting.recovered, NOTHING)
def recovered(market: Market) -> Deed:
    agent, contract = _poor(market, "2.00")
    agent.report(T0 + 2 * HOUR)
    market.db.run_now(crediting.run_down, contract.renter, T0 + 2 * HOUR)
    return lambda tx: crediting.recovered(tx, contract.renter)


@of(crediting.want, NOTHING)
def want(market: Market) -> Deed:
    return lambda tx: crediting.want(tx, market.renter, _THRESHOLDS, NOW)


# --- Payments -------------------------------------------------------------------------------------


def _paid(market: Market, state: State | None = None) -> Payment:
    """Twenty dollars that are to come in, and what became of them."""
    made = market.db.run_now(
        settling.pay_in, market.renter, NanoUsd(nano(20)), Purpose.TOP_UP, "stripe", "a", T0
    )
    if state is not None:
        market.db.run_now(settling.begin, made.id, T0, market.house)
        market.db.run_now(settling.end, made.id, Outcome(state=state, reference="pi_1"), T0)
    return made


def _earned(market: Market) -> None:
    """A host who earned thirty dollars and said where they go."""
    agent = market.machine(1, prices={"gpu": NanoUsdPerHour(nano(40))})
    contract = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    agent.report(T0 + HOUR)
    market.db.run_now(renting.destroy, market.renter, contract.id, T0 + HOUR)
    sealed = market.house.box.seal("acct_1")
    market.db.run_now(payments.pay_out_to, market.host, sealed, T0)


def _payout(market: Market) -> Payment:
    _earned(market)
    made = market.db.run_now(settling.pay_out, market.host, "stripe", T0 + HOUR)
    assert made is not None
    assert made.next_at_ms is not None
    market.db.run_now(settling.begin, made.id, made.next_at_ms, market.house)
    return made


@of(settling.pay_in, NOTHING)
def pay_in(market: Market) -> Deed:
    amount = NanoUsd(nano(20))
    return lambda tx: settling.pay_in(tx, market.renter, amount, Purpose.TOP_UP, "stripe", "a", NOW)


@of(settling.pay_out, NOTHING)
def pay_out(market: Market) -> Deed:
    _earned(market)
    return lambda tx: settling.pay_out(tx, market.host, "stripe", NOW + HOUR)


@of(settling.give_back, NOTHING)
def give_back(market: Market) -> Deed:
    paid = _paid(market, State.SUCCEEDED)
    return lambda tx: settling.give_back(tx, paid.id, NanoUsd(nano(7)), "b", NOW)


@of(settling.begin, NOTHING)
def begin(market: Market) -> Deed:
    paid = _paid(market)
    return lambda tx: settling.begin(tx, paid.id, NOW, market.house)


@of(settling.look_soon, NOTHING)
def look_soon(market: Market) -> Deed:
    paid = _paid(market, State.WAITING)
    return lambda tx: settling.look_soon(tx, paid.id, NOW)


@of(settling.end, NOTHING)
def end_with_credit(market: Market) -> Deed:
    paid = _paid(market, State.WAITING)
    saved = Method(customer="cus_1", card="pm_1", card_label="4242")
    outcome = Outcome(state=State.SUCCEEDED, reference="pi_1", method=saved)
    return lambda tx: settling.end(tx, paid.id, outcome, NOW)


@of(settling.end, NOTHING)
def end_with_a_payout(market: Market) -> Deed:
    made = _payout(market)
    outcome = Outcome(state=State.SUCCEEDED, reference="tr_1")
    return lambda tx: settling.end(tx, made.id, outcome, NOW)


@of(settling.end, NOTHING)
def end_with_a_payout_that_failed(market: Market) -> Deed:
    made = _payout(market)
    return lambda tx: settling.end(tx, made.id, Outcome(state=State.FAILED, failure="no"), NOW)


@of(settling.use_earnings, NOTHING)
def use_earnings(market: Market) -> Deed:
    _earned(market)
    amount = NanoUsd(nano(3))
    return lambda tx: settling.use_earnings(tx, market.host, amount, "c", NOW + HOUR)


# --- Notices --------------------------------------------------------------------------------------


def _hook(market: Market) -> Webhook:
    wish = noticing.Wish(name="mine", url="https://example.com/", kinds=["instance_rented"])
    sealed = market.house.box.seal("secret")
    return market.db.run_now(noticing.subscribe, market.renter, wish, sealed, T0)


def _notice(market: Market) -> int:
    """A notice that a rental was signed."""
    _hook(market)
    running(market)
    [number] = market.db.run_now(webhooks.due, NOW, 10)
    return number


@of(noticing.subscribe, ANEW)
def subscribe(market: Market) -> Deed:
    wish = noticing.Wish(name="mine", url="https://example.com/")
    sealed = market.house.box.seal("secret")
    return lambda tx: noticing.subscribe(tx, market.renter, wish, sealed, NOW)


@of(noticing.change, NOTHING)
def change_a_webhook(market: Market) -> Deed:
    hook = _hook(market)
    return lambda tx: noticing.change(tx, market.renter, hook.id, name="another")


@of(noticing.unsubscribe, REFUSED)
def unsubscribe(market: Market) -> Deed:
    hook = _hook(market)
    return lambda tx: noticing.unsubscribe(tx, market.renter, hook.id, NOW)


@of(noticing.try_out, ANEW)
def try_out(market: Market) -> Deed:
    hook = _hook(market)
    return lambda tx: noticing.try_out(tx, market.renter, hook.id, NOW)


@of(noticing.begin, NOTHING)
def begin_a_notice(market: Market) -> Deed:
    number = _notice(market)
    return lambda tx: noticing.begin(tx, number, NOW, market.house)


@of(noticing.end, NOTHING)
def end_a_notice(market: Market) -> Deed:
    number = _notice(market)
    market.db.run_now(noticing.begin, number, NOW, market.house)
    return lambda tx: noticing.end(tx, number, 200, "", NOW)
