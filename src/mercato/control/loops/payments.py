"""The loops of payments: providers are asked, and payouts announced."""

import structlog

from mercato.control.db import Database
from mercato.control.flows import settling
from mercato.control.flows.house import House
from mercato.control.loops.loop import Loop, Report
from mercato.control.payments.provider import NoAnswer
from mercato.control.payments.providers import Providers
from mercato.control.store import payments

_log = structlog.get_logger("mercato.loops")


def payment_loops(db: Database, house: House, providers: Providers) -> list[Loop]:
    """Both of them."""

    def ask(now_ms: int) -> Report:
        report = {"asked": 0, "unanswered": 0}
        for one in db.run_now(payments.due, now_ms):
            begun = db.run_now(settling.begin, one, now_ms, house)
            if begun is None:
                continue
            report["asked"] += 1
            try:
                outcome = providers.ask(begun.provider, begun.ask, makes=begun.makes)
            except NoAnswer as problem:
                _log.warning("payment_unanswered", payment=one, problem=str(problem))
                report["unanswered"] += 1
                continue
            db.run_now(settling.end, one, outcome, now_ms, house.rules)
        return report

    def announce(now_ms: int) -> Report:
        hosts = db.run_now(settling.payouts_due)
        made = [db.run_now(settling.pay_out, one, providers.preferred, now_ms) for one in hosts]
        return {"announced": sum(one is not None for one in made)}

    return [
        Loop("payments", "Asks providers for payments, and what became of them.", 30, ask),
        Loop("payouts", "Announces each Friday what hosts are paid the next.", 3_600, announce),
    ]
