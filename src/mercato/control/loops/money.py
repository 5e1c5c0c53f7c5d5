"""The loops of money: charges are posted, credit is watched, records are signed."""

from typing import Final

from mercato.control.db import Database
from mercato.control.flows import crediting, enforcing, lapsing, sealing
from mercato.control.flows.house import House
from mercato.control.loops.loop import Each, Loop, Report, summed
from mercato.control.loops.payments import payment_loops
from mercato.control.payments.providers import BY_HAND, Providers
from mercato.control.store import burns, deposits, instances, limits, segments
from mercato.market.ids import AccountId, ContractId
from mercato.market.money import MS_PER_HOUR

SETTLED_EVERY_MS: Final = 24 * MS_PER_HOUR
"""Nothing stays unposted longer; only the reader of the ledger cares."""


def money_loops(db: Database, house: House, providers: Providers = BY_HAND) -> list[Loop]:
    """All of them."""
    rules, provider = house.rules, providers.preferred

    settled, used, ran_down, over, looked = (
        Each(name) for name in ("meter", "credit", "credit", "credit", "limits")
    )

    def settle(contract: ContractId, now_ms: int) -> Report:
        return {"settled": db.run_now(lapsing.settle, contract, now_ms)}

    def meter(now_ms: int) -> Report:
        due = set(db.run_now(segments.renters_running_since, now_ms - SETTLED_EVERY_MS))
        due |= set(db.run_now(instances.with_unposted_bytes))
        return summed([{"settled": 0}, settled(sorted(due), lambda one: settle(one, now_ms))])

    def run_down(account: AccountId, now_ms: int) -> Report:
        return db.run_now(crediting.run_down, account, now_ms, rules, provider=provider)

    def credit(now_ms: int) -> Report:
        used_up = db.run_now(deposits.used_up, now_ms)
        report = used(used_up, lambda one: settle(one, now_ms))
        soon = db.run_now(burns.drying, now_ms + rules.low_credit_ms)
        down = ran_down(soon, lambda one: run_down(one, now_ms))
        again = db.run_now(burns.warned_without_cause, now_ms + rules.low_credit_ms)
        recovered = over(again, lambda one: {"recovered": db.run_now(crediting.recovered, one)})
        return summed([{"settled": 0}, report, down, recovered])

    def limit(now_ms: int) -> Report:
        due = db.run_now(limits.due, now_ms)
        done = looked(due, lambda one: db.run_now(enforcing.look, one, now_ms, rules))
        return summed([{"told": 0, "stopped": 0, "destroyed": 0}, done])

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
