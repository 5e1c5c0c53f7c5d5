"""How contracts go on: higher prices that hosts ask and renters answer, maintenance windows."""

from typing import Any

import msgspec

from mercato.control.api.call import Call, Done
from mercato.control.api.caller import Caller
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import lasting, limiting
from mercato.control.store import contracts, machines, maintenances, price_increases
from mercato.control.store.maintenances import Maintenance, Window
from mercato.control.store.price_increases import PriceIncrease
from mercato.market.contract import Contract
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.money import MS_PER_HOUR, MS_PER_S, PPM, dollars

S_PER_HOUR = MS_PER_HOUR // MS_PER_S
S_PER_MONTH = 30 * 86_400
LISTED_MAX = 500


class PriceIncreaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """Higher prices asked for one contract; `new_…` is null where nothing changes."""

    pending_price_increase_id: int
    contract_id: int
    host_id: int
    contract_end_date: float | None
    ask_end_date: float | None
    created_at: float
    old_gpu_costpersec: float
    """Dollars for one GPU and second."""
    new_gpu_costpersec: float | None
    old_disk_ram_costpersec: float
    """Dollars for a gigabyte of disk and second."""
    new_disk_ram_costpersec: float | None
    old_bwu_cost: float
    """Dollars a gigabyte sent."""
    new_bwu_cost: float | None
    old_bwd_cost: float
    new_bwd_cost: float | None
    old_platform_fee: float
    new_platform_fee: float | None


class PriceIncreases(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for the account's word."""

    success: bool = True
    pending_price_increases: list[PriceIncreaseRow]
    count: int
    truncated: bool


class WhichContract(msgspec.Struct, frozen=True, kw_only=True):
    """One contract, or all."""

    contract_id: int | None = None


async def list_price_increases(call: Call, asked: WhichContract) -> PriceIncreases:
    """List the higher prices that hosts ask for the account's contracts to go on."""
    found = await call.services.db.run(_increases, call.account)
    rows = [row for row in found if asked.contract_id in {None, row.contract_id}]
    return PriceIncreases(
        pending_price_increases=rows[:LISTED_MAX],
        count=len(rows),
        truncated=len(rows) > LISTED_MAX,
    )


def _increases(tx: Tx, renter: AccountId) -> list[PriceIncreaseRow]:
    return [
        _row(increase, contracts.get(tx, increase.contract_id))
        for increase in price_increases.unanswered(tx, renter)
    ]


def _row(increase: PriceIncrease, contract: Contract) -> PriceIncreaseRow:
    old = contract.terms
    gpus = max(1, len(contract.gpus))

    def gpu(rate: int) -> float:
        return dollars(rate) / gpus / S_PER_HOUR

    def disk(price: int) -> float:
        return dollars(price) / S_PER_MONTH

    def new(before: int, after: int) -> int | None:
        return None if before == after else after

    new_gpu, new_disk = new(old.gpu, increase.gpu_rate), new(old.disk, increase.disk_price)
    new_up, new_down = new(old.up, increase.up_price), new(old.down, increase.down_price)
    new_fee = new(old.platform_fee_ppm, increase.platform_fee_ppm)
    return PriceIncreaseRow(
        pending_price_increase_id=increase.id,
        contract_id=contract.id,
        host_id=contract.host,
        contract_end_date=seconds(old.end_at_ms),
        ask_end_date=seconds(increase.end_at_ms),
        created_at=seconds(increase.created_at_ms),
        old_gpu_costpersec=gpu(old.gpu),
        new_gpu_costpersec=None if new_gpu is None else gpu(new_gpu),
        old_disk_ram_costpersec=disk(old.disk),
        new_disk_ram_costpersec=None if new_disk is None else disk(new_disk),
        old_bwu_cost=dollars(old.up),
        new_bwu_cost=None if new_up is None else dollars(new_up),
        old_bwd_cost=dollars(old.down),
        new_bwd_cost=None if new_down is None else dollars(new_down),
        old_platform_fee=old.platform_fee_ppm / PPM,
        new_platform_fee=None if new_fee is None else new_fee / PPM,
    )


class WhichIncrease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One price increase, and nothing else."""

    pending_price_increase_id: int


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The account's word was taken."""

    success: bool = True
    pending_price_increase_id: int
    contract_id: int
    msg: str


async def accept_price_increase(call: Call, asked: WhichIncrease) -> Answered:
    """Have a contract go on past its end at the higher prices; until then nothing changes."""
    return await _answer(call, asked, "accepted")


async def reject_price_increase(call: Call, asked: WhichIncrease) -> Answered:
    """Have a contract end as it was signed."""
    return await _answer(call, asked, "rejected")


def _said(tx: Tx, who: Caller, number: int, answered: str, now_ms: int) -> ContractId:
    contract = lasting.answer(tx, who.account, number, answered, now_ms)
    if answered == "accepted":
        limiting.answers_for(tx, who.account, who.scopes, contract)
    return contract


async def _answer(call: Call, asked: WhichIncrease, answered: str) -> Answered:
    number = asked.pending_price_increase_id
    contract = await call.services.db.run(_said, call.who, number, answered, call.now_ms)
    return Answered(
        pending_price_increase_id=number,
        contract_id=contract,
        msg=f"The price increase of contract {contract} is {answered}.",
    )


# --- Maintenance ----------------------------------------------------------------------------------


class MaintenanceWindow(msgspec.Struct, frozen=True, kw_only=True):
    """When a machine may be down."""

    id: int
    sdate: float
    """When it begins, in seconds since the epoch."""
    duration: float
    """Hours."""
    maintenance_category: str = "not provided"
    maintenance_reason: str = ""


async def announce_maintenance(call: Call, asked: MaintenanceWindow) -> Done:
    """Tell the renters of a machine that it may be down in a window."""
    from_ms = int(asked.sdate * MS_PER_S)
    await call.services.db.run(
        lasting.announce,
        call.account,
        MachineId(asked.id),
        Window(
            from_ms=from_ms,
            to_ms=from_ms + int(asked.duration * MS_PER_HOUR),
            category=asked.maintenance_category.lower(),
            reason=asked.maintenance_reason[:1_000],
        ),
        call.now_ms,
    )
    return Done(msg=f"The renters of machine {asked.id} are told.")


class WhichMachine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine by its id."""

    id: int


async def cancel_maintenance(call: Call, asked: WhichMachine) -> Done:
    """Call off the windows of a machine that are not over."""
    called_off = await call.services.db.run(
        lasting.call_off, call.account, MachineId(asked.id), call.now_ms
    )
    return Done(msg=f"{called_off} maintenance window(s) of machine {asked.id} called off.")


class WhichMachines(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the account's machines, or all."""

    machine_ids: list[int] | None = None


async def list_maintenances(call: Call, asked: WhichMachines) -> list[dict[str, Any]]:
    """List the maintenance windows of the account's machines that are not over."""
    found = await call.services.db.run(_windows, call.account, asked.machine_ids, call.now_ms)
    return [
        {
            "machine_id": one.machine_id,
            "start_time": seconds(one.from_ms),
            "end_time": seconds(one.to_ms),
            "duration_hours": (one.to_ms - one.from_ms) / MS_PER_HOUR,
            "maintenance_category": one.category,
            "maintenance_reason": one.reason,
        }
        for one in found
    ]


def _windows(tx: Tx, host: AccountId, wanted: list[int] | None, now_ms: int) -> list[Maintenance]:
    mine = [machine.id for machine in machines.of_host(tx, host)]
    asked = [machine for machine in mine if wanted is None or machine in wanted]
    return maintenances.coming(tx, asked, now_ms)
