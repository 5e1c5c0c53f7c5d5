"""What time itself does to rentals: meters are settled, contracts end, machines fall silent.

Each function is one transaction that looks again before it writes, so that a loop may call it
twice, or from two servers at once.
"""

from mercato.control.db import Tx
from mercato.control.flows import lasting, metering, renting
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.flows.owned import tell, tell_host
from mercato.control.store import (
    compensations,
    contracts,
    instances,
    limits,
    listings,
    machines,
    segments,
    volume_listings,
)
from mercato.market.contract import Contract
from mercato.market.ids import ContractId, MachineId
from mercato.market.instance import Intended, Reason
from mercato.market.money import MS_PER_HOUR

Report = dict[str, int]


def settle(tx: Tx, contract: ContractId, now_ms: int) -> int:
    """Post what a contract has run up; how many transfers it took.

    No further than its host can prove, nor than a spending limit at which it had to stop.
    """
    signed = contracts.get(tx, contract)
    tx.queue(f"account:{signed.renter}")
    machine = machines.at_front(tx, signed.machine)
    until_ms = now_ms if machine.proven_at_ms is None else min(now_ms, machine.proven_at_ms)
    due_ms = limits.due_of(tx, signed, now_ms)
    until_ms = until_ms if due_ms is None else min(until_ms, due_ms)
    posted = metering.settle(tx, signed, until_ms, now_ms)
    metering.forecast(tx, signed.renter, now_ms)
    return posted


def expire(tx: Tx, contract: ContractId, now_ms: int, rules: Rules = STANDARD) -> Report:
    """Stop what is past its contract's end; destroy it when its data need not be kept longer."""
    signed = contracts.get(tx, contract)
    end_at_ms = signed.terms.end_at_ms
    found = instances.get(tx, contract)
    assert end_at_ms is not None
    report = {"expired": 0, "purged": 0, "went_on": 0}
    if found is None or found.intended is Intended.DESTROYED or end_at_ms > now_ms:
        return report
    machines.at_front(tx, signed.machine)
    if lasting.go_on(tx, signed, now_ms):
        report["went_on"] = 1
        return report
    if end_at_ms + rules.purge_after_ms <= now_ms:
        renting.destroy(tx, signed.renter, contract, now_ms, Reason.EXPIRED)
        report["purged"] = 1
    elif found.intended is Intended.RUNNING:
        renting.stop(tx, signed.renter, contract, now_ms, Reason.EXPIRED)
        report["expired"] = 1
    return report


def unlist(tx: Tx, machine: MachineId, now_ms: int) -> int:
    """Take down a listing that has reached its end."""
    machines.at_front(tx, machine)
    stands = listings.on_sale(tx, machine)
    end_at_ms = stands.listing.end_at_ms if stands is not None else None
    if end_at_ms is None or end_at_ms > now_ms:
        return 0
    listings.close(tx, machine, now_ms)
    volume_listings.close(tx, machine, now_ms)
    machines.changed(tx, machine)
    return 1


def silent(tx: Tx, machine_id: MachineId, before_ms: int, now_ms: int) -> int:
    """Give up a machine not heard since `before_ms`: its meters end at the last proof of life."""
    machine = machines.at_front(tx, machine_id)
    heard_ms = machine.seen_at_ms if machine.seen_at_ms is not None else machine.joined_at_ms
    proven_ms = machine.proven_at_ms if machine.proven_at_ms is not None else heard_ms
    if machine.offline_since_ms is not None or heard_ms >= before_ms:
        return 0
    machines.set_offline(tx, machine_id, heard_ms)
    for signed in contracts.live_on(tx, machine_id).values():
        for kind, until_ms in ((metering.GPU, proven_ms), (metering.DISK, heard_ms)):
            _compensate(tx, signed, kind, until_ms, now_ms)
            metering.close_meter(tx, signed, kind, until_ms, now_ms)
        metering.post_bytes(tx, signed, now_ms)
        metering.forecast(tx, signed.renter, now_ms)
        message = "Its host cannot be heard; nothing is charged until it can."
        tell(tx, signed, "machine_offline", None, message, now_ms)
    hours = (now_ms - heard_ms) / MS_PER_HOUR
    message = f"It was not heard for {hours:.2f} h."
    tell_host(tx, machine, "machine_offline", message, now_ms)
    machines.changed(tx, machine_id)
    return 1


def _compensate(tx: Tx, contract: Contract, kind: str, until_ms: int, now_ms: int) -> None:
    """Put on the bill what was not proven since `until_ms`, and that it costs nothing."""
    meter = segments.running(tx, contract.id, kind)
    if meter is None or meter.rate == 0:
        return
    from_ms = max(until_ms, meter.from_ms, meter.posted_until_ms)
    if from_ms < now_ms:
        compensations.write(tx, meter, from_ms, now_ms)
