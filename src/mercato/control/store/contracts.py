"""Contracts: frozen at signing, amended by new rows; nothing here updates one."""

from typing import Any, Final, LiteralString

from mercato.control.db import Tx
from mercato.market.contract import Contract, Kind, Terms
from mercato.market.ids import AccountId, ContractId, ListingId, MachineId
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour

_COLUMNS: Final[LiteralString] = (
    "id, renter_id, host_id, machine_id, listing_id, kind, gpus, gpu_rate, disk_price, up_price,"
    " down_price, disk_mb, platform_fee_ppm, end_at_ms, signed_at_ms"
)


def sign(tx: Tx, contract: Contract) -> Contract:
    """Write a contract; the id in `contract` is ignored, a new one comes back."""
    terms = contract.terms
    row = tx.one(
        "insert into contracts (renter_id, host_id, machine_id, listing_id, kind, gpus, gpu_rate,"  # noqa: S608 - the columns are fixed above
        " disk_price, up_price, down_price, disk_mb, platform_fee_ppm, end_at_ms, signed_at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        f" returning {_COLUMNS}",
        contract.renter,
        contract.host,
        contract.machine,
        contract.listing,
        terms.kind.value,
        list(contract.gpus),
        terms.gpu,
        terms.disk,
        terms.up,
        terms.down,
        terms.disk_mb,
        terms.platform_fee_ppm,
        terms.end_at_ms,
        contract.signed_at_ms,
    )
    assert row is not None
    return _contract(row)


def amend(tx: Tx, contract: ContractId, terms: Terms, why: str, now_ms: int) -> None:
    """Write what was agreed later: the whole of the terms from now on, `disk_mb` unchanged.

    `why` is `extension`, `price_increase`, `bid` or `reservation`. The caller has the running
    meters go on at the new rates (`metering.reprice`).
    """
    tx.run(
        "insert into amendments (contract_id, why, kind, gpu_rate, disk_price, up_price,"
        " down_price, platform_fee_ppm, end_at_ms, at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        contract,
        why,
        terms.kind.value,
        terms.gpu,
        terms.disk,
        terms.up,
        terms.down,
        terms.platform_fee_ppm,
        terms.end_at_ms,
        now_ms,
    )


def get(tx: Tx, contract: ContractId) -> Contract:
    """A contract that exists, at its terms now."""
    found = find(tx, contract)
    assert found is not None, contract
    return found


def find(tx: Tx, contract: ContractId) -> Contract | None:
    """A contract at its terms now; None when there never was one."""
    row = tx.one(f"select {_COLUMNS} from contracts_now where id = %s", contract)  # noqa: S608 - the columns are fixed above
    return _contract(row) if row else None


def live_on(tx: Tx, machine: MachineId) -> dict[ContractId, Contract]:
    """The contracts that still have something on a machine, by id."""
    rows = tx.all(
        f"select {_COLUMNS} from contracts_now where id in"  # noqa: S608 - the columns are fixed above
        " (select id from live_contracts where machine_id = %s) order by id",
        machine,
    )
    return {ContractId(row["id"]): _contract(row) for row in rows}


def live_of(tx: Tx, renter: AccountId) -> list[ContractId]:
    """The contracts of a renter that still have something on a machine."""
    rows = tx.all("select id from live_contracts where renter_id = %s order by id", renter)
    return [ContractId(row["id"]) for row in rows]


def disk_mb_on(tx: Tx, machine: MachineId) -> int:
    """Megabytes that live contracts have of a machine's disk."""
    row = tx.one(
        "select coalesce(sum(c.disk_mb), 0)::bigint as mb from live_contracts l"
        " join contracts c on c.id = l.id where l.machine_id = %s",
        machine,
    )
    assert row is not None
    return int(row["mb"])


def ended(tx: Tx, now_ms: int) -> list[ContractId]:
    """Contracts past their end that still have something on a machine."""
    rows = tx.all(
        "select c.id from instances i join contracts_now c on c.id = i.id"
        " where i.destroyed_at_ms is null and i.intended <> 'destroyed' and c.end_at_ms <= %s"
        " order by c.id",
        now_ms,
    )
    return [ContractId(row["id"]) for row in rows]


def _contract(row: dict[str, Any]) -> Contract:
    return Contract(
        id=ContractId(row["id"]),
        renter=AccountId(row["renter_id"]),
        host=AccountId(row["host_id"]),
        machine=MachineId(row["machine_id"]),
        listing=ListingId(row["listing_id"]),
        gpus=tuple(row["gpus"]),
        terms=Terms(
            kind=Kind(row["kind"]),
            gpu=NanoUsdPerHour(row["gpu_rate"]),
            disk=NanoUsdPerGbMonth(row["disk_price"]),
            up=NanoUsdPerGb(row["up_price"]),
            down=NanoUsdPerGb(row["down_price"]),
            disk_mb=row["disk_mb"],
            platform_fee_ppm=row["platform_fee_ppm"],
            end_at_ms=row["end_at_ms"],
        ),
        signed_at_ms=row["signed_at_ms"],
    )
