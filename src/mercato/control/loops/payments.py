"""The loops of payments: providers are asked, and payouts announced."""

import structlog

from mercato.control.db import Database
from mercato.control.flows import settling
from mercato.control.flows.house import House
from mercato.control.loops.loop import Each, Loop, Report, summed
from mercato.control.payments.provider import NoAnswer
from mercato.control.payments.providers import Providers
from mercato.control.store import payments
from mercato.market.ids import AccountId

_log = structlog.get_logger("mercato.loops")


def payment_loops(db: Database, house: House, providers: Providers) -> list[Loop]:
    """Both of them."""
    asked, announced = Each("payments"), Each("payouts")

    def ask_for(payment: int, now_ms: int) -> Report:
        begun = db.run_now(settling.begin, payment, now_ms, house)
        if begun is None:
            return {}
        try:
            outcome = providers.ask(begun.provider, begun.ask, makes=begun.makes)
        except NoAnswer as problem:
            _log.warning("payment_unanswered", payment=payment, problem=str(problem))
            return {"asked": 1, "unanswered": 1}
        db.run_now(settling.end, payment, outcome, now_ms, house.rules)
        return {"asked": 1}

    def ask(now_ms: int) -> Report:
        due = db.run_now(payments.due, now_ms)
        nothing = {"asked": 0, "unanswered": 0}
        return summed([nothing, asked(due, lambda one: ask_for(one, now_ms))])

    def announce_to(host: AccountId, now_ms: int) -> Report:
        made = db.run_now(settling.pay_out, host, providers.preferred, now_ms)
        return {"announced": int(made is not None)}

    def announce(now_ms: int) -> Report:
        hosts = db.run_now(settling.payouts_due)
        return summed([{"announced": 0}, announced(hosts, lambda one: announce_to(one, now_ms))])

    return [
        Loop("payments", "Asks providers for payments, and what became of them.", 30, ask),
        Loop("payouts", "Announces each Friday what hosts are paid the next.", 3_600, announce),
    ]
