"""The loops of money: charges are posted, credit is watched, records are signed."""

from collections.abc import Iterable
from typing import Final

from mercato.control.db import Database
from mercato.control.flows import crediting, enforcing, lapsing, sealing
from mercato.control.flows.house import House
from mercato.control.loops.loop import Loop, Report
from mercato.control.loops.payments import payment_loops
from mercato.control.payments.providers import BY_HAND, Providers
from mercato.control.store import burns, deposits, instances, limits, segments
from mercato.market.money import MS_PER_HOUR

SETTLED_EVERY_MS: Final = 24 * MS_PER_HOUR
"""Nothing stays unposted longer; only the reader of the ledger cares."""


def money_loops(db: Database, house: House, providers: Providers = BY_HAND) -> list[Loop]:
    """All of them."""
    rules, provider = house.rules, providers.preferred

    def meter(now_ms: int) -> Report:
        due = set(db.run_now(segments.renters_running_since, now_ms - SETTLED_EVERY_MS))
        due |= set(db.run_now(instances.with_unposted_bytes))
        return {"settled": sum(db.run_now(lapsing.settle, one, now_ms) for one in sorted(due))}

    def credit(now_ms: int) -> Report:
        used_up = db.run_now(deposits.used_up, now_ms)
        settled = sum(db.run_now(lapsing.settle, one, now_ms) for one in used_up)
        soon = db.run_now(burns.drying, now_ms + rules.low_credit_ms)
        report = summed(
            db.run_now(crediting.run_down, one, now_ms, rules, provider=provider) for one in soon
        )
        again = db.run_now(burns.warned_without_cause, now_ms + rules.low_credit_ms)
        report["settled"] = settled
        recovered = [{"recovered": db.run_now(crediting.recovered, one)} for one in again]
        return summed([report, *recovered])

    def limit(now_ms: int) -> Report:
        due = db.run_now(limits.due, now_ms)
        report = {"told": 0, "stopped": 0, "destroyed": 0}
        return summed([report, *(db.run_now(enforcing.look, one, now_ms, rules) for one in due)])

    def seal(now_ms: int) -> Report:
        del now_ms
        signed = 0
        while more := db.run_now(sealing.seal, house.signer):
            signed += more
        return {"signed": signed}

    return [
        Loop("meter", "Posts charges that ran up unposted, so that ledgers are fresh.", 60, meter),
        Loop("credit", "Warns, stops and ends what an account can no longer pay.", 15, credit),
        Loop("limits", "Tells and stops when a spending limit is reached.", 5, limit),
        *payment_loops(db, house, providers),
        Loop("sealing", "Signs usage records, so that anyone can check them.", 30, seal),
    ]


def summed(reports: Iterable[Report]) -> Report:
    """Reports of several runs as one."""
    total: Report = {}
    for report in reports:
        for name, count in report.items():
            total[name] = total.get(name, 0) + count
    return total
