"""What an agent's report changes: proof of life, what is, meters, freed GPUs; and what should be.

A report is the whole of a machine. It must be newer than the last one: an older one, come late,
changes nothing. When the agent cannot see its containers the report proves that the machine lives
and says nothing of them. Meters follow what the host can prove: GPU time starts with the first
report of the wanted container running, and ends with the last report that saw it run.
"""

from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import clearing, metering, volumes
from mercato.control.flows.desired import OnMachine, desired, look
from mercato.control.flows.house import House
from mercato.control.flows.owned import tell_host
from mercato.control.store import contracts, events, holds, instances, machines, segments
from mercato.control.store.events import Event
from mercato.control.store.instances import Instance
from mercato.control.store.machines import Machine
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.ids import ContractId, MachineId
from mercato.market.instance import Actual, Intended, Reason
from mercato.market.offer import lettable
from mercato.market.standing import Standing
from mercato.market.traffic import believed
from mercato.wire.agent import Desired, Observed, ObservedInstance

MESSAGE_MAX: Final = 4_000
"""More of a status message than this is not kept."""


def observe(
    tx: Tx, machine_id: MachineId, observed: Observed, now_ms: int, *, house: House
) -> Desired:
    """Take a machine's report; everything that should be on it.

    Raises:
        NotFound: when the machine was deleted and nothing of ours is left on it.
    """
    machine = machines.at_front(tx, machine_id)
    if machine.deleted_at_ms is not None:
        if observed.instances or observed.volumes:
            return Desired(machine=machine_id, generation=machine.generation, instances=())
        raise errors.NotFound(f"Machine {machine_id} was taken off this market; join again.")
    if observed.generation <= machine.observed_generation:
        return desired(tx, machine, look(tx, machine_id), house.box)
    machines.saw(tx, machine_id, observed, now_ms)
    if observed.hardware != machine.hardware:
        _take_hardware(tx, machine, observed, now_ms)
    if machine.offline_since_ms is not None:
        _back(tx, machine, now_ms, house)
    there = look(tx, machine_id)
    if observed.sees:
        _take_instances(tx, machine, there, observed, now_ms, house)
        volumes.observe(tx, machine, there.volumes, observed, now_ms)
    if machines.was_changed(tx, machine_id):  # seldom; most reports say what is known
        machine, there = machines.at_front(tx, machine_id), look(tx, machine_id)
    return desired(tx, machine, there, house.box)


# --- The machine ----------------------------------------------------------------------------------


def _take_hardware(tx: Tx, machine: Machine, observed: Observed, now_ms: int) -> None:
    """Write what it is made of; a verified machine that lost something is no longer verified."""
    before, after = machine.hardware, observed.hardware
    if not lettable(after):  # of what it says no offer can be made: what is known of it stays
        return
    machines.set_hardware(tx, machine.id, after)
    reduced = (
        after.gpu_count < before.gpu_count
        or after.gpu_model.name != before.gpu_model.name
        or after.gpu_model.ram_mb < before.gpu_model.ram_mb
        or after.cpu.cores < before.cpu.cores
    )
    if reduced and machine.verification == "verified":
        machines.set_verification(tx, machine.id, "deverified")
        tell_host(tx, machine, "machine_deverified", "It has less hardware than before.", now_ms)
    machines.changed(tx, machine.id)


def _back(tx: Tx, machine: Machine, now_ms: int, house: House) -> None:
    """The machine can be heard again: disks are billed again; GPUs when they are seen to run."""
    signed = contracts.live_on(tx, machine.id)
    for instance in instances.live_on(tx, machine.id):
        if instance.intended is not Intended.DESTROYED:
            metering.open_meter(tx, signed[instance.id], metering.DISK, now_ms)
            metering.forecast(tx, instance.renter_id, now_ms)
    volumes.bill_again(tx, machine, now_ms)
    tell_host(tx, machine, "machine_online", "It can be heard again.", now_ms)
    clearing.warn_again(tx, machine, now_ms, house.rules)
    clearing.clear(tx, machine.id, now_ms, house.rules)
    machines.changed(tx, machine.id)


# --- Its instances --------------------------------------------------------------------------------


def _take_instances(
    tx: Tx, machine: Machine, there: OnMachine, observed: Observed, now_ms: int, house: House
) -> None:
    seen = {ContractId(one.id): one for one in observed.instances}
    told = observed.desired_generation >= machine.generation
    ids = [one.id for one in there.instances]
    meters = segments.kinds_running(tx, ids) if ids else set()
    freed = False
    for instance in there.instances:
        said = seen.get(instance.id) or _absent(instance)
        signed = there.contracts[instance.id]
        one = _believed(tx, machine, instance, said, signed.signed_at_ms, now_ms)
        _write(tx, instance, one, now_ms)
        holder, standing = instance.id in there.holders, there.standings.get(instance.id)
        contract = clearing.charged(signed, standing)
        pausing = standing is not None and standing.pausing
        may_run = holder and instance.intended is Intended.RUNNING and not pausing
        metered = (instance.id, metering.GPU) in meters
        _meter(tx, machine, instance, one, contract, now_ms, metered=metered, may_run=may_run)
        if holder and _ended(tx, machine, instance, one, contract, standing, now_ms):
            freed = True
        if holder and _let_go(tx, instance, one, may_run=may_run, told=told):
            freed = True
        if told and instance.intended is Intended.DESTROYED and one.actual is Actual.ABSENT:
            metering.post_bytes(tx, signed, now_ms)
            holds.release(tx, instance.id)
            instances.gone(tx, instance.id, now_ms)
            freed = True
    if freed:
        machines.changed(tx, machine.id)
        clearing.clear(tx, machine.id, now_ms, house.rules)


def _absent(instance: Instance) -> ObservedInstance:
    """What a report that sees says of an instance it does not name."""
    return ObservedInstance(
        id=instance.id,
        revision=instance.actual_revision,
        boots=instance.actual_boots,
        actual=Actual.ABSENT,
    )


def _believed(
    tx: Tx,
    machine: Machine,
    instance: Instance,
    said: ObservedInstance,
    signed_at_ms: int,
    now_ms: int,
) -> ObservedInstance:
    """What a report says of an instance, with no more bytes than a link can have carried."""
    since_ms = machine.joined_at_ms if machine.proven_at_ms is None else machine.proven_at_ms
    spans = (now_ms - since_ms, now_ms - signed_at_ms)
    up = believed(instance.up_bytes, said.up_bytes, *spans)
    down = believed(instance.down_bytes, said.down_bytes, *spans)
    kind, too_many = "traffic_not_believed", up < said.up_bytes or down < said.down_bytes
    if too_many and not events.happened(tx, instance.id, kind):
        message = (
            f"It counts more bytes for instance {instance.id} than a link of 100 Gbit/s carries;"
            " what is more is not believed."
        )
        tell_host(tx, machine, kind, message, now_ms, instance.id)
    return msgspec.structs.replace(said, up_bytes=up, down_bytes=down)


def _write(tx: Tx, instance: Instance, one: ObservedInstance, now_ms: int) -> None:
    """Write what is, when it is not what was."""
    same = (
        one.actual is instance.actual
        and one.revision == instance.actual_revision
        and one.boots == instance.actual_boots
        and one.message == instance.message
        and one.started_at_ms == instance.started_at_ms
        and one.exit_code == instance.exit_code
        and one.ports == instance.ports
        and one.usage == instance.usage
        and one.up_bytes <= instance.up_bytes
        and one.down_bytes <= instance.down_bytes
    )
    if not same:
        instances.saw(tx, one, now_ms)


def _meter(  # noqa: PLR0913 - what the report, the rows and the market say of one instance
    tx: Tx,
    machine: Machine,
    instance: Instance,
    one: ObservedInstance,
    contract: Contract,
    now_ms: int,
    *,
    metered: bool,
    may_run: bool,
) -> None:
    """Have the GPU meter run exactly while the container is proven to, or a worker to load."""
    loads = instance.bills_loading and one.actual is Actual.LOADING
    runs = one.actual is Actual.RUNNING or loads
    wanted = one.revision >= instance.revision and one.boots >= instance.boots
    restarted = instance.actual is Actual.RUNNING and one.started_at_ms != instance.started_at_ms
    changed = False
    if metered and (not runs or restarted):
        proven_ms = machine.proven_at_ms if machine.proven_at_ms is not None else now_ms
        changed = metering.close_meter(tx, contract, metering.GPU, proven_ms, now_ms)
    if runs and wanted and may_run and (changed or not metered):
        changed = metering.open_meter(tx, contract, metering.GPU, now_ms) or changed
    if changed:
        metering.forecast(tx, contract.renter, now_ms)


def _ended(
    tx: Tx,
    machine: Machine,
    instance: Instance,
    one: ObservedInstance,
    contract: Contract,
    standing: Standing | None,
    now_ms: int,
) -> bool:
    """Take note when the wanted container ended by itself or could not be started.

    One that ends during its notice did what the notice is for, and comes back when it can.
    """
    wanted = one.revision >= instance.revision and one.boots >= instance.boots
    if instance.intended is not Intended.RUNNING or not wanted:
        return False
    if standing is not None and standing.yields_at_ms is not None and one.actual is Actual.EXITED:
        if not standing.pausing:
            clearing.pause(tx, machine, contract, standing, now_ms)
        return not standing.pausing
    if one.actual is Actual.EXITED:
        reason, message = Reason.EXITED, "Its main process ended by itself"
        if one.exit_code is not None:
            message += f" with exit code {one.exit_code}"
    elif one.actual is Actual.FAILED:
        reason, message = Reason.FAILED, f"It could not be started: {one.message[:MESSAGE_MAX]}"
    else:
        return False
    instances.intend(tx, instance.id, Intended.STOPPED, reason, now_ms)
    events.record(
        tx,
        Event(
            account_id=instance.renter_id,
            contract_id=instance.id,
            machine_id=instance.machine_id,
            kind="instance_stopped",
            reason=reason.value,
            message=message,
            at_ms=now_ms,
        ),
    )
    return True


def _let_go(
    tx: Tx, instance: Instance, one: ObservedInstance, *, may_run: bool, told: bool
) -> bool:
    """Free the GPUs of what no longer runs and is not to; the agent must know that it is not."""
    if one.actual in {Actual.RUNNING, Actual.LOADING}:
        return False
    wanted = one.revision >= instance.revision and one.boots >= instance.boots
    over = one.actual in {Actual.EXITED, Actual.FAILED} and wanted
    unwanted = not may_run and told
    if not over and not unwanted:
        return False
    holds.release(tx, instance.id)
    return True
