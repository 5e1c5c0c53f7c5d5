"""The control plane's loops: settle meters, watch credit, end contracts, notice silence, sweep."""

from typing import Final

from mercato.control.blobs.blobs import Blobs
from mercato.control.db import Database, Tx
from mercato.control.flows import clearing, lapsing, lasting, ordering, pricing
from mercato.control.flows.house import House, Rules
from mercato.control.flows.volumes import expire as expire_volume
from mercato.control.loops.deployments import deployment_loop
from mercato.control.loops.loop import Each, Loop, Report, summed
from mercato.control.loops.money import money_loops
from mercato.control.loops.webhooks import webhook_loop
from mercato.control.payments.providers import BY_HAND, Providers
from mercato.control.store import (
    clearings,
    contracts,
    decisions,
    end_warnings,
    holds,
    instances,
    join_tokens,
    leases,
    listings,
    machines,
    replies,
    results,
    standing_orders,
    standings,
    traffic,
    volumes,
    webhooks,
)
from mercato.control.store import prices as price_hours
from mercato.market.ids import ContractId, MachineId
from mercato.market.money import MS_PER_HOUR

REPLIES_KEPT_MS: Final = 24 * MS_PER_HOUR


def loops(
    db: Database,
    house: House,
    booted_at_ms: int,
    providers: Providers = BY_HAND,
    blobs: Blobs | None = None,
) -> list[Loop]:
    """All of them. `booted_at_ms`: machines are not blamed for silence while we were away.

    Without `blobs` nothing was ever uploaded, and nobody tends it.
    """
    rules = house.rules

    given_up, decided = Each("silence"), Each("auction")

    def silence(now_ms: int) -> Report:
        before_ms = now_ms - rules.offline_after_ms
        if booted_at_ms > before_ms:
            return {"offline": 0}

        def give_up(machine: MachineId) -> Report:
            return {"offline": db.run_now(lapsing.silent, machine, before_ms, now_ms)}

        silent = db.run_now(machines.silent, before_ms)
        return summed([{"offline": 0}, given_up(silent, give_up)])

    def sweep(now_ms: int) -> Report:
        return db.run_now(_sweep, now_ms, now_ms - rules.kept_ms)

    def decide(machine: MachineId, now_ms: int) -> Report:
        return {"decided": db.run_now(clearing.catch_up, machine, now_ms, rules)}

    def auction(now_ms: int) -> Report:
        due = db.run_now(standings.due, now_ms)
        return summed([{"decided": 0}, decided(due, lambda one: decide(one, now_ms))])

    def prices(now_ms: int) -> Report:
        return {"models": db.run_now(pricing.write_hour, now_ms)}

    return [
        webhook_loop(db, house),
        *money_loops(db, house, providers),
        *([deployment_loop(db, blobs)] if blobs is not None else []),
        Loop("auction", "Ends the notice of bids that were outbid.", 0.5, auction),
        _expiry_loop(db, rules),
        Loop("silence", "Gives up machines not heard; ends their meters.", 10, silence),
        Loop("prices", "Writes down what each GPU model costs, once an hour.", 300, prices),
        Loop("sweep", "Forgets what nobody may read any more.", 600, sweep),
    ]


def _expiry_loop(db: Database, rules: Rules) -> Loop:
    ended, purged, warned, rolled, waited, unlisted = (Each("expiry") for _ in range(6))

    def expiry(now_ms: int) -> Report:
        def expire(contract: ContractId) -> Report:
            return db.run_now(lapsing.expire, contract, now_ms, rules)

        def purge(volume: ContractId) -> Report:
            return {"purged": db.run_now(expire_volume, volume, now_ms, rules)}

        def warn(contract: ContractId) -> Report:
            return {"warned": db.run_now(lasting.warn, contract, now_ms)}

        def roll(machine: MachineId) -> Report:
            return {"rolled": db.run_now(lasting.roll, machine, now_ms)}

        def expire_order(order: int) -> Report:
            return {"orders": db.run_now(ordering.expire, order, now_ms)}

        def unlist(machine: MachineId) -> Report:
            return {"unlisted": db.run_now(lapsing.unlist, machine, now_ms)}

        return summed(
            [
                dict.fromkeys(("purged", "warned", "rolled", "orders", "unlisted"), 0),
                ended(db.run_now(contracts.ended, now_ms), expire),
                purged(db.run_now(volumes.ended, now_ms), purge),
                warned(db.run_now(end_warnings.ending, now_ms), warn),
                rolled(db.run_now(listings.rolling), roll),
                waited(db.run_now(standing_orders.past_end, now_ms), expire_order),
                unlisted(db.run_now(listings.past_end, now_ms), unlist),
            ]
        )

    purpose = "Warns of ends, extends, stops what has ended, purges it."
    return Loop("expiry", purpose, 30, expiry)


def _sweep(tx: Tx, now_ms: int, kept_since_ms: int) -> Report:
    assert not holds.orphans(tx), "GPUs are held by contracts of which nothing is left"
    return {
        "results": results.forget_expired(tx, now_ms),
        "join_tokens": join_tokens.forget_expired(tx, now_ms),
        "instances": instances.forget_before(tx, kept_since_ms),
        "clearings": clearings.forget_before(tx, kept_since_ms),
        "engines": leases.forget_before(tx, now_ms - MS_PER_HOUR),
        "decisions": decisions.forget_before(tx, kept_since_ms),
        "traffic": traffic.forget_before(tx, kept_since_ms),
        "prices": price_hours.forget_before(tx, now_ms - pricing.KEPT_MS),
        "notices": webhooks.forget_before(tx, kept_since_ms),
        "replies": replies.forget_before(tx, now_ms - REPLIES_KEPT_MS),
    }
