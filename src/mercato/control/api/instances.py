"""A renter's instances: showing and changing them."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

import msgspec

from mercato.control.api import selecting
from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.keys import ById, ShownSshKey, checked_public_key, shown_ssh_key
from mercato.control.api.shapes import FIELDS, InstanceRow, instance_row
from mercato.control.db import Tx
from mercato.control.flows import limiting, renting
from mercato.control.store import instances as stored
from mercato.control.store import ssh_keys, views
from mercato.market import errors
from mercato.market.ids import AccountId, ContractId, SshKeyId
from mercato.market.instance import Intended

PAGE_MAX: Final = 25
IDS_MAX: Final = 1_000


class InstancesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which instances to show."""

    select_filters: dict[str, Any] | None = None
    """`{column: {operator: value}}`."""
    order_by: list[Any] | None = None
    """`[{"col": …, "dir": "asc" or "desc"}]`."""
    limit: int | None = None
    after_token: str | None = None
    select_cols: list[str] | None = None


class InstancesPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of instances."""

    success: bool = True
    instances: list[Any]
    instances_found: int
    next_token: str | None
    total_instances: int
    label_counts: dict[str, int]


async def _rows(call: Call) -> list[InstanceRow]:
    found = await call.services.db.run(views.instances, call.account)
    return [instance_row(view, call.services.house.box, call.now_ms) for view in found]


async def list_page(call: Call, asked: InstancesQuery) -> InstancesPage:
    """List the account's instances, by pages of at most 25."""
    if asked.limit is not None and not 1 <= asked.limit <= PAGE_MAX:
        raise errors.InvalidRequest(f"limit must be from 1 to {PAGE_MAX}.")
    limit = asked.limit or PAGE_MAX
    conditions = selecting.conditions(asked.select_filters, FIELDS)
    order = selecting.order_of(asked.order_by, FIELDS)
    everything = [msgspec.structs.asdict(row) for row in await _rows(call)]
    found = [row for row in everything if selecting.matches(row, conditions)]
    rest = selecting.after(selecting.ordered(found, order), asked.after_token, order)
    page = rest[:limit]
    columns = asked.select_cols if asked.select_cols and asked.select_cols != ["*"] else None
    shown = page if columns is None else [{name: row.get(name) for name in columns} for row in page]
    return InstancesPage(
        instances=list(shown),
        instances_found=len(page),
        next_token=selecting.token_after(page[-1], order) if len(rest) > limit else None,
        total_instances=len(found),
        label_counts=dict(Counter(row["label"] or "" for row in everything)),
    )


class Instances(msgspec.Struct, frozen=True, kw_only=True):
    """All instances at once, for tools that are older than pages."""

    success: bool = True
    instances: list[InstanceRow]
    instances_found: int


async def list_all(call: Call, asked: Nothing) -> Instances:  # noqa: ARG001 - nothing is asked
    """List all of the account's instances in one answer."""
    rows = await _rows(call)
    return Instances(instances=rows, instances_found=len(rows))


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A combination of values that some instance has."""

    actual_status: str | None
    verification: str
    gpu_name: str


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What the account's instances can be filtered by."""

    success: bool = True
    filters: list[Filter]


async def list_filters(call: Call, asked: Nothing) -> Filters:  # noqa: ARG001 - nothing is asked
    """List the values by which the account's instances can be filtered."""
    kinds = {(r.actual_status, r.verification, r.gpu_name) for r in await _rows(call)}
    return Filters(
        filters=[
            Filter(actual_status=status, verification=verification, gpu_name=name)
            for status, verification, name in sorted(kinds, key=repr)
        ]
    )


class OneInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance under the plural name that clients read; null when there is none."""

    success: bool = True
    instances: InstanceRow | None


async def show(call: Call, asked: ById) -> OneInstance:
    """Show one instance; null when the account has none of this id."""
    found = await call.services.db.run(views.instance, call.account, asked.id)
    box = call.services.house.box
    return OneInstance(instances=instance_row(found, box, call.now_ms) if found else None)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A new intention for an instance, or a new label."""

    id: int
    state: Literal["running", "stopped"] | None = None
    label: str | None = None


async def change(call: Call, asked: Change) -> Done:
    """Start or stop an instance, or label it."""
    if "label" in call.arguments and asked.state is None:
        label = asked.label or None
        await call.services.db.run(
            renting.relabel, call.account, ContractId(asked.id), label, call.now_ms
        )
        return Done(msg=f"Instance {asked.id} is labelled.")
    if asked.state is None:
        raise errors.InvalidRequest("Send state: 'running' or 'stopped', or a label.")
    flow = _start(call) if asked.state == "running" else renting.stop
    await call.services.db.run(flow, call.account, ContractId(asked.id), call.now_ms)
    return Done(msg=f"Instance {asked.id} will be {asked.state}.")


Flow = Callable[[Tx, AccountId, ContractId, int], None]


def _start(call: Call) -> Flow:
    """Starting asks for credit by the house's rules, and for the limits on who asks."""
    start = partial(renting.start, rules=call.services.house.rules)
    return limiting.on_behalf(call.who.scopes, start)


class ChangeMany(msgspec.Struct, frozen=True, kw_only=True):
    """A new intention for several instances."""

    state: Literal["running", "stopped"]
    ids: list[int]


class Many(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each: done, or why not."""

    success: bool = True
    msg: str
    done: list[int]
    refused: dict[str, str]


async def _each(call: Call, ids: list[int], flow: Flow) -> Many:
    """Do the same to each, one transaction apiece: one refusal does not undo the others."""
    if len(ids) > IDS_MAX:
        raise errors.InvalidRequest(f"At most {IDS_MAX} instances at once.")
    done: list[int] = []
    refused: dict[str, str] = {}
    for one in dict.fromkeys(ids):
        try:
            await call.services.db.run(flow, call.account, ContractId(one), call.now_ms)
            done.append(one)
        except errors.Refusal as refusal:
            refused[str(one)] = str(refusal)
    told = f"{len(done)} of {len(done) + len(refused)} done."
    return Many(msg=" ".join([told, *refused.values()]), done=done, refused=refused)


async def change_many(call: Call, asked: ChangeMany) -> Many:
    """Start or stop several instances."""
    flow = _start(call) if asked.state == "running" else renting.stop
    return await _each(call, asked.ids, flow)


async def destroy(call: Call, asked: ById) -> Done:
    """End a rental and delete its disk; a second time changes nothing."""
    await call.services.db.run(_destroy, call.account, ContractId(asked.id), call.now_ms)
    return Done(msg=f"Instance {asked.id} is destroyed.")


def _destroy(tx: Tx, renter: AccountId, instance: ContractId, now_ms: int) -> None:
    """Clients repeat what they lost the answer of: what is destroyed already stays so."""
    known = stored.get(tx, instance)
    if known is None or known.renter_id != renter or known.intended is not Intended.DESTROYED:
        renting.destroy(tx, renter, instance, now_ms)


class DestroyMany(msgspec.Struct, frozen=True, kw_only=True):
    """Several instances."""

    instance_ids: list[int] = []
    ids: list[int] = []


async def destroy_many(call: Call, asked: DestroyMany) -> Many:
    """End several rentals and delete their disks."""
    return await _each(call, [*asked.instance_ids, *asked.ids], _destroy)


async def reboot(call: Call, asked: ById) -> Done:
    """Restart an instance's container, keeping its GPUs."""
    await call.services.db.run(renting.reboot, call.account, ContractId(asked.id), call.now_ms)
    return Done(msg=f"Instance {asked.id} will be restarted.")


async def recycle(call: Call, asked: ById) -> Done:
    """Make an instance's container anew from its image, keeping its GPUs."""
    recycle = limiting.on_behalf(call.who.scopes, renting.recycle)
    await call.services.db.run(recycle, call.account, ContractId(asked.id), call.now_ms)
    return Done(msg=f"Instance {asked.id} will be made anew from its image.")


class AttachKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key for one instance."""

    id: int
    ssh_key: str


async def attach_key(call: Call, asked: AttachKey) -> Done:
    """Let a public key into one instance."""
    public_key = checked_public_key(asked.ssh_key)
    await call.services.db.run(
        renting.attach_key, call.account, ContractId(asked.id), public_key, call.now_ms
    )
    return Done(msg=f"The key opens instance {asked.id}.")


class DetachKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key and the instance that it should no longer open."""

    id: int
    key_id: int


async def detach_key(call: Call, asked: DetachKey) -> Done:
    """Keep a public key out of one instance."""
    await call.services.db.run(
        renting.detach_key, call.account, ContractId(asked.id), SshKeyId(asked.key_id), call.now_ms
    )
    return Done(msg=f"Key {asked.key_id} no longer opens instance {asked.id}.")


class InstanceKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys that open an instance."""

    success: bool = True
    ssh_keys: list[ShownSshKey]


async def list_keys(call: Call, asked: ById) -> InstanceKeys:
    """List the public keys that open an instance."""
    if await call.services.db.run(views.instance, call.account, asked.id) is None:
        raise errors.NoSuchInstance(f"There is no instance {asked.id} among yours.")
    keys = await call.services.db.run(ssh_keys.on_instance, asked.id)
    return InstanceKeys(ssh_keys=[shown_ssh_key(key) for key in keys])
