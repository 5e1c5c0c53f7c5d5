"""Who gets GPUs that are free: whoever waits for them longest and can pay."""

from mercato.control.db import Tx
from mercato.control.flows import metering
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import contracts, events, holds, instances, machines
from mercato.control.store.events import Event
from mercato.market.errors import InsufficientCredit
from mercato.market.ids import MachineId
from mercato.market.instance import Intended, Reason


def grant(tx: Tx, machine: MachineId, now_ms: int, rules: Rules = STANDARD) -> int:
    """Give a machine's free GPUs to those who want to run on them; how many were served.

    Everybody waits for the GPUs of their own contract. Who cannot pay any more is stopped, and the
    next in line served.
    """
    machines.at_front(tx, machine)
    held = holds.on(tx, machine)
    signed = contracts.live_on(tx, machine)
    holders = set(held.values())
    waiting = [
        instance
        for instance in instances.live_on(tx, machine)
        if instance.intended is Intended.RUNNING and instance.id not in holders
    ]
    served = 0
    for instance in sorted(waiting, key=lambda waits: (waits.intended_at_ms, waits.id)):
        contract = signed[instance.id]
        if any(gpu in held for gpu in contract.gpus):
            continue
        try:
            metering.require_credit(tx, contract.renter, metering.NewRates(), now_ms, rules)
        except InsufficientCredit as refusal:
            instances.intend(tx, contract.id, Intended.STOPPED, Reason.NO_CREDIT, now_ms)
            events.record(
                tx,
                Event(
                    account_id=contract.renter,
                    contract_id=contract.id,
                    kind="instance_stopped",
                    reason=Reason.NO_CREDIT,
                    message=str(refusal),
                    at_ms=now_ms,
                ),
            )
            continue
        holds.take(tx, machine, contract.gpus, contract.id, now_ms)
        held |= dict.fromkeys(contract.gpus, contract.id)
        served += 1
    if served:
        machines.changed(tx, machine)
    return served
