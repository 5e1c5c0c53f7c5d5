"""Payments through Stripe and by hand: wanted, asked for, settled once, whatever is lost."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from mercato.control.db import Database
from mercato.control.flows import crediting, metering, renting, settling
from mercato.control.loops.loop import Report
from mercato.control.loops.money import money_loops
from mercato.control.payments.manual import Manual
from mercato.control.payments.provider import NoAnswer, NotFromProvider, Outcome
from mercato.control.payments.providers import BY_HAND, Providers
from mercato.control.payments.stripe import Stripe
from mercato.control.store import events, payments, purses
from mercato.control.store.payments import Payment
from mercato.market import errors
from mercato.market.credit import Thresholds
from mercato.market.ids import AccountId
from mercato.market.ledger import earnings_of
from mercato.market.money import NanoUsd, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from mercato.market.payment import Purpose, State
from tests.control.market import HOUR, T0, Market, open_market
from tests.control.payments.fake_stripe import (
    DECLINED,
    SECRET,
    WEBHOOK_SECRET,
    FakeStripe,
    stripe_at_work,
)

FRIDAY = 1_700_179_200_000  # 2023-11-17, the first after T0
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def working() -> Iterator[FakeStripe]:
    with stripe_at_work() as fake:
        yield fake


@pytest.fixture
def fake(working: FakeStripe) -> FakeStripe:
    for kept in (working.objects, working.replies):
        kept.clear()
    working.troubles.clear()
    working.asked.clear()
    return working


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def through(fake: FakeStripe) -> Providers:
    stripe = Stripe(SECRET, WEBHOOK_SECRET, fake.url)
    return Providers({"manual": Manual(), "stripe": stripe}, "stripe")


def run(market: Market, name: str, now_ms: int, providers: Providers) -> Report:
    loops = money_loops(market.db, market.house, providers)
    report = next(one for one in loops if one.name == name).activate(now_ms)
    market.audit()
    return report


def paid_in(
    market: Market, amount: str, purpose: Purpose = Purpose.TOP_UP, key: str = "a"
) -> Payment:
    return market.db.run_now(
        settling.pay_in, market.renter, NanoUsd(nano(amount)), purpose, "stripe", key, T0
    )


def state(market: Market, payment: int) -> Payment:
    found = market.db.run_now(payments.get, payment)
    assert found is not None
    return found


def with_card(market: Market, card: str = "pm_good") -> None:
    market.db.run_now(payments.save_card, market.renter, "cus_1", card, "4242", T0)


def told(market: Market, account: AccountId) -> list[str]:
    return [one.kind for one in market.db.run_now(events.of_account, account, 50)]


# --- Paying in ------------------------------------------------------------------------------------


def test_a_card_is_charged_and_the_money_is_credit_once(market: Market, fake: FakeStripe) -> None:
    with_card(market)
    payment = paid_in(market, "25")
    assert run(market, "payments", T0, through(fake)) == {"asked": 1, "unanswered": 0}
    assert run(market, "payments", T0, through(fake)) == {"asked": 0, "unanswered": 0}
    assert state(market, payment.id).state is State.SUCCEEDED
    assert market.spendable(T0) == nano(125)
    [intent] = fake.of("payment_intent")
    assert (intent["amount"], intent["off_session"]) == ("2500", "true")
    assert paid_in(market, "25").id == payment.id
    with pytest.raises(errors.Conflict):
        paid_in(market, "26")


@pytest.mark.parametrize("trouble", ["lost", "busy", "down"])
def test_a_payment_whose_answer_was_lost_is_made_once(
    market: Market, fake: FakeStripe, trouble: str
) -> None:
    with_card(market)
    payment = paid_in(market, "25")
    fake.troubles += [trouble, trouble]
    at_ms = T0
    for unanswered in (1, 1, 0):
        report = run(market, "payments", at_ms, through(fake))
        assert report == {"asked": 1, "unanswered": unanswered}
        assert run(market, "payments", at_ms, through(fake))["asked"] == 0, "not again at once"
        at_ms += 60_000
    assert state(market, payment.id).state is State.SUCCEEDED
    assert len(fake.of("payment_intent")) == 1
    assert market.spendable(at_ms) == nano(125)


def test_a_crash_after_the_answer_and_before_it_was_written_charges_once(
    market: Market, fake: FakeStripe
) -> None:
    with_card(market)
    payment = paid_in(market, "25")
    begun = market.db.run_now(settling.begin, payment.id, T0, market.house)
    assert begun is not None
    through(fake).ask("stripe", begun.ask, makes=True)  # and the server dies
    assert run(market, "payments", T0 + 60_000, through(fake))["asked"] == 1
    assert len(fake.of("payment_intent")) == 1
    outcome = Outcome(state=State.SUCCEEDED, reference="pi_1")
    for _ in range(2):
        market.db.run_now(settling.end, payment.id, outcome, T0 + 61_000)
    assert market.spendable(T0 + 61_000) == nano(125)


def test_a_payment_whose_answer_was_lost_is_asked_for_in_the_same_words(
    market: Market, fake: FakeStripe
) -> None:
    with_card(market)
    payment = paid_in(market, "25")
    fake.troubles.append("lost")
    run(market, "payments", T0, through(fake))
    with_card(market, DECLINED)  # another card, saved meanwhile
    run(market, "payments", T0 + 60_000, through(fake))
    assert state(market, payment.id).state is State.SUCCEEDED
    assert [intent["payment_method"] for intent in fake.of("payment_intent")] == ["pm_good"]
    assert market.spendable(T0 + 60_000) == nano(125)
    row = market.db.run_now(lambda tx: tx.one("select asked from payments"))
    assert row is not None
    assert b"pm_good" not in row["asked"], "it is sealed"


def test_a_checkout_that_is_asked_for_again_leads_back_to_the_same_page(
    market: Market, fake: FakeStripe
) -> None:
    payment = paid_in(market, "50", Purpose.CHECKOUT)
    begun = market.db.run_now(
        settling.begin, payment.id, T0, market.house, early=True, return_url="http://market/paid"
    )
    assert begun is not None
    fake.troubles.append("lost")
    with pytest.raises(NoAnswer):
        through(fake).ask("stripe", begun.ask, makes=True)
    assert run(market, "payments", T0 + 60_000, through(fake)) == {"asked": 1, "unanswered": 0}
    assert state(market, payment.id).state is State.WAITING
    assert len(fake.of("checkout.session")) == 1


def test_a_key_that_was_used_for_another_form_says_nothing_of_the_payment(
    market: Market, fake: FakeStripe
) -> None:
    with_card(market)
    payment = paid_in(market, "25")
    begun = market.db.run_now(settling.begin, payment.id, T0, market.house)
    assert begun is not None
    through(fake).ask("stripe", begun.ask, makes=True)
    other = replace(begun.ask, method=replace(begun.ask.method, card="pm_other"))
    with pytest.raises(NoAnswer, match="Keys can only be used"):
        through(fake).ask("stripe", other, makes=True)


def test_a_declined_card_says_why_and_gives_nothing(market: Market, fake: FakeStripe) -> None:
    with_card(market, DECLINED)
    payment = paid_in(market, "25")
    run(market, "payments", T0, through(fake))
    assert (state(market, payment.id).state, state(market, payment.id).failure) == (
        State.FAILED,
        "Your card was declined.",
    )
    assert market.spendable(T0) == nano(100)
    assert "payment_failed" in told(market, market.renter)


def test_a_checkout_waits_for_a_person_and_keeps_the_card(market: Market, fake: FakeStripe) -> None:
    providers = through(fake)
    payment = paid_in(market, "50", Purpose.CHECKOUT)
    begun = market.db.run_now(settling.begin, payment.id, T0, market.house, early=True)
    assert begun is not None
    ask = replace(begun.ask, return_url="http://market/paid")
    outcome = providers.ask("stripe", ask, makes=True)
    assert outcome.url.startswith(fake.url)
    market.db.run_now(settling.end, payment.id, outcome, T0)
    assert run(market, "payments", T0 + 61_000, providers) == {"asked": 1, "unanswered": 0}
    assert state(market, payment.id).state is State.WAITING
    [session] = fake.of("checkout.session")
    fake.pay(session["id"])
    body, signature = fake.notice(session["id"], T0 // 1_000)
    noticed = providers.by_name["stripe"].noticed(body, signature, T0)
    assert noticed == payment.id
    assert market.db.run_now(settling.look_soon, noticed, T0 + 62_000)
    run(market, "payments", T0 + 62_000, providers)
    assert market.spendable(T0 + 62_000) == nano(150)
    method = market.db.run_now(payments.method, market.renter)
    assert method is not None
    assert (method.customer, method.card, method.card_label) == ("cus_1", "pm_good", "4242")


def test_notices_that_stripe_did_not_sign_are_refused(fake: FakeStripe) -> None:
    stripe = through(fake).by_name["stripe"]
    fake._create("cs", "checkout.session", {"metadata": {"payment": "7"}})
    body, signature = fake.notice("cs_" + next(iter(fake.objects)).split("_")[1], T0 // 1_000)
    assert stripe.noticed(body, signature, T0) == 7
    for forged, at_ms in (
        (signature.replace("v1=", "v1=0"), T0),
        ("", T0),
        (signature, T0 + 301_000),
        (signature.replace("t=1", "t=2"), T0),
    ):
        with pytest.raises(NotFromProvider):
            stripe.noticed(body, forged, at_ms)
    with pytest.raises(NotFromProvider):
        stripe.noticed(body + b" ", signature, T0)
    with pytest.raises(NotFromProvider):
        Manual().noticed(body, signature, T0)


# --- Topping up -----------------------------------------------------------------------------------


def test_an_account_is_topped_up_before_it_runs_dry(market: Market, fake: FakeStripe) -> None:
    with_card(market)
    agent = market.machine(1, prices={"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(0)})
    market.rent(market.offer(agent, 1))
    agent.settle(T0)
    wanted = Thresholds(
        warn_below=NanoUsd(nano(60)),
        top_up_below=NanoUsd(nano(40)),
        top_up_amount=NanoUsd(nano(30)),
    )
    market.db.run_now(crediting.want, market.renter, wanted, T0)
    providers, seen = through(fake), []
    for hours in range(1, 100):
        at_ms = T0 + hours * HOUR
        agent.report(at_ms)
        report = run(market, "credit", at_ms, providers)
        run(market, "payments", at_ms, providers)
        if report.get("warned") or report.get("topped_up"):
            seen.append((hours, report["warned"], report["topped_up"]))
    assert seen == [(40, 1, 0), (60, 0, 1), (70, 1, 0), (90, 0, 1)]
    assert market.spendable(T0 + 99 * HOUR) == nano(100 + 60 - 99)
    assert told(market, market.renter).count("credit_low") == 2


def test_a_refused_card_is_left_alone_for_a_day_and_its_owner_warned(
    market: Market, fake: FakeStripe
) -> None:
    with_card(market, DECLINED)
    agent = market.machine(1, prices={"gpu": NanoUsdPerHour(nano(1)), "disk": NanoUsdPerGbMonth(0)})
    market.rent(market.offer(agent, 1))
    agent.settle(T0)
    wanted = Thresholds(top_up_below=NanoUsd(nano(99)), top_up_amount=NanoUsd(nano(5)))
    market.db.run_now(crediting.want, market.renter, wanted, T0)
    providers = through(fake)
    for hours in range(1, 50):
        agent.report(T0 + hours * HOUR)
        run(market, "credit", T0 + hours * HOUR, providers)
        run(market, "payments", T0 + hours * HOUR, providers)
    assert len(fake.of("payment_intent")) == 3
    small = Thresholds(top_up_below=NanoUsd(nano(9)), top_up_amount=NanoUsd(nano(1)))
    with pytest.raises(errors.InvalidPrice):
        market.db.run_now(crediting.want, market.renter, small, T0)


# --- Paying out -----------------------------------------------------------------------------------


def earned(market: Market, amount: str) -> None:
    """Have the host earn something in a plain way."""
    agent = market.machine(
        1, prices={"gpu": NanoUsdPerHour(nano(amount)), "disk": NanoUsdPerGbMonth(0)}
    )
    contract = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    agent.report(T0 + HOUR)

    market.db.run_now(renting.destroy, market.renter, contract.id, T0 + HOUR)


def pays_to(market: Market, where: str) -> None:
    sealed = market.house.box.seal(where)
    market.db.run_now(payments.pay_out_to, market.host, sealed, T0)


def test_a_host_is_paid_on_the_friday_after_the_one_that_announced_it(
    market: Market, fake: FakeStripe
) -> None:
    providers = through(fake)
    earned(market, "30.005")
    assert run(market, "payouts", FRIDAY, providers) == {"announced": 0}, "nobody said where to"
    pays_to(market, "acct_host")
    assert run(market, "payouts", FRIDAY + HOUR, providers) == {"announced": 1}
    assert run(market, "payouts", FRIDAY + 3 * DAY, providers) == {"announced": 0}
    assert market.db.run_now(purses.balance, earnings_of(market.host)) == nano("0.005")
    assert run(market, "payments", FRIDAY + 6 * DAY, providers)["asked"] == 0
    assert run(market, "payments", FRIDAY + 7 * DAY, providers)["asked"] == 1
    [transfer] = fake.of("transfer")
    assert (transfer["amount"], transfer["destination"]) == ("3000", "acct_host")
    assert told(market, market.host)[:2] == ["payout_paid", "payout_announced"]
    row = market.db.run_now(lambda tx: tx.one("select payout_to from payment_methods"))
    assert row is not None
    assert b"acct_host" not in row["payout_to"], "it is sealed"


def test_a_payout_that_fails_comes_back(market: Market, fake: FakeStripe) -> None:
    earned(market, "30")
    pays_to(market, "nowhere")
    run(market, "payouts", FRIDAY, through(fake))
    assert market.db.run_now(purses.balance, earnings_of(market.host)) == 0
    run(market, "payments", FRIDAY + 7 * DAY, through(fake))
    assert market.db.run_now(purses.balance, earnings_of(market.host)) == nano(30)
    assert told(market, market.host)[0] == "payment_failed"


def test_a_payout_whose_answer_was_lost_goes_where_it_was_sent(
    market: Market, fake: FakeStripe
) -> None:
    earned(market, "30")
    pays_to(market, "acct_1")
    run(market, "payouts", FRIDAY, through(fake))
    fake.troubles.append("lost")
    at_ms = FRIDAY + 7 * DAY
    run(market, "payments", at_ms, through(fake))
    pays_to(market, "acct_2")
    run(market, "payments", at_ms + 60_000, through(fake))
    assert [one["destination"] for one in fake.of("transfer")] == ["acct_1"]
    assert market.db.run_now(purses.balance, earnings_of(market.host)) == 0
    assert told(market, market.host)[0] == "payout_paid"


def test_by_hand_the_operator_says_what_became_of_it(market: Market) -> None:
    earned(market, "30")
    pays_to(market, "DE00 1234")
    run(market, "payouts", FRIDAY, BY_HAND)
    run(market, "payments", FRIDAY + 7 * DAY, BY_HAND)
    run(market, "payments", FRIDAY + 8 * DAY, BY_HAND)
    [waits] = market.db.run_now(payments.waiting, "manual")
    done = Outcome(state=State.SUCCEEDED, reference="bank 17")
    market.db.run_now(settling.end, waits.id, done, FRIDAY + 9 * DAY)
    assert market.db.run_now(payments.waiting, "manual") == []
    market.audit()


def test_too_little_is_not_paid_out_and_earnings_can_be_credit(market: Market) -> None:
    earned(market, "19.99")
    pays_to(market, "acct_host")
    assert run(market, "payouts", FRIDAY, BY_HAND) == {"announced": 0}
    for fresh in (True, False):
        moved = market.db.run_now(
            settling.use_earnings, market.host, NanoUsd(nano("19.99")), "once", FRIDAY
        )
        assert moved is fresh
    assert market.spendable(FRIDAY, market.host) == nano("19.99")
    with pytest.raises(errors.InsufficientCredit):
        market.db.run_now(settling.use_earnings, market.host, NanoUsd(1), "more", FRIDAY)
    market.audit()


# --- Giving back ----------------------------------------------------------------------------------


def test_a_payment_goes_back_at_most_once_and_never_what_is_needed(
    market: Market, fake: FakeStripe
) -> None:
    with_card(market)
    payment = paid_in(market, "25")

    def back(amount: str, key: str) -> Payment:
        return market.db.run_now(settling.give_back, payment.id, NanoUsd(nano(amount)), key, T0 + 1)

    with pytest.raises(errors.Conflict):
        back("1", "early")
    run(market, "payments", T0, through(fake))
    assert back("20", "a").id == back("20", "a").id
    with pytest.raises(errors.InvalidPrice, match=r"\$5\.00"):
        back("6", "b")
    run(market, "payments", T0 + 1, through(fake))
    [refund] = fake.of("refund")
    assert refund["amount"] == "2000"
    assert market.spendable(T0 + 1) == nano(105)
    agent = market.machine(
        1, prices={"gpu": NanoUsdPerHour(nano(103)), "disk": NanoUsdPerGbMonth(0)}
    )
    market.rent(market.offer(agent, 1), T0 + 2)
    with pytest.raises(errors.InsufficientCredit):
        back("3", "c")
    assert market.db.run_now(metering.uncommitted, market.renter, T0 + 2) == nano(2)
