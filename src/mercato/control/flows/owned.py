"""Whose things are: an instance found as its renter's, and owners told of what happens."""

from mercato.control.db import Tx
from mercato.control.store import contracts, events, instances, machines
from mercato.control.store.events import Event
from mercato.control.store.instances import Instance
from mercato.control.store.machines import Machine
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.ids import AccountId, ContractId
from mercato.market.instance import Intended, Reason


def mine(tx: Tx, renter: AccountId, instance_id: ContractId) -> tuple[Instance, Contract]:
    """The renter's instance and its contract, with the machine's and the renter's queue held.

    Raises:
        NoSuchInstance: when the renter has none such, or no longer.
    """
    tx.queue(f"account:{renter}")
    found = instances.get(tx, instance_id)
    if found is None or found.renter_id != renter:
        raise no_such(instance_id)
    machines.at_front(tx, found.machine_id)
    if found.intended is Intended.DESTROYED:
        raise no_such(instance_id)
    return found, contracts.get(tx, instance_id)


def no_such(instance_id: ContractId) -> errors.NoSuchInstance:
    """The refusal for an instance that is not the caller's, or not there."""
    return errors.NoSuchInstance(f"You have no instance {instance_id}.")


def tell(
    tx: Tx, contract: Contract, kind: str, reason: Reason | None, message: str, now_ms: int
) -> None:
    """Tell a renter what happened to an instance or a volume, and why."""
    events.record(
        tx,
        Event(
            account_id=contract.renter,
            contract_id=contract.id,
            machine_id=contract.machine,
            kind=kind,
            reason="" if reason is None else reason.value,
            message=message,
            at_ms=now_ms,
        ),
    )


def tell_host(
    tx: Tx,
    machine: Machine,
    kind: str,
    message: str,
    now_ms: int,
    contract: ContractId | None = None,
) -> None:
    """Tell a host what happened to a machine, or to what is rented of it."""
    events.record(
        tx,
        Event(
            account_id=machine.host_id,
            contract_id=contract,
            machine_id=machine.id,
            kind=kind,
            message=message,
            at_ms=now_ms,
        ),
    )
