"""Who holds which GPU now. The primary key makes holding one twice unwritable."""

from collections.abc import Iterable

from mercato.control.db import Tx
from mercato.market.ids import ContractId, MachineId


def on(tx: Tx, machine: MachineId) -> dict[int, ContractId]:
    """The holder of every held GPU of a machine."""
    rows = tx.all("select gpu, contract_id from gpu_holds where machine_id = %s", machine)
    return {row["gpu"]: ContractId(row["contract_id"]) for row in rows}


def take(
    tx: Tx, machine: MachineId, gpus: Iterable[int], contract: ContractId, now_ms: int
) -> None:
    """Hold free GPUs for a contract."""
    for gpu in gpus:
        tx.run(
            "insert into gpu_holds (machine_id, gpu, contract_id, held_since_ms)"
            " values (%s, %s, %s, %s)",
            machine,
            gpu,
            contract,
            now_ms,
        )


def release(tx: Tx, contract: ContractId) -> int:
    """Let a contract's GPUs go; how many it held."""
    return tx.run("delete from gpu_holds where contract_id = %s", contract)


def orphans(tx: Tx) -> list[ContractId]:
    """Contracts that hold GPUs though nothing of them is left; there must never be one."""
    rows = tx.all(
        "select distinct h.contract_id from gpu_holds h left join instances i"
        " on i.id = h.contract_id where i.id is null or i.destroyed_at_ms is not null"
    )
    return [ContractId(row["contract_id"]) for row in rows]
