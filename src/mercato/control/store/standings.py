"""How every instance that wants to run stands on its machine, and the claims it stands by."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.auction import Claim
from mercato.market.contract import FIRM, Kind
from mercato.market.ids import ContractId, MachineId
from mercato.market.instance import Reason
from mercato.market.listing import BidTerms
from mercato.market.money import NanoUsdPerHour, with_fee
from mercato.market.standing import Standing

_COLUMNS: Final[LiteralString] = (
    "contract_id, price, promised, safe_until_ms, yields_at_ms, pauses_at_ms, pausing, why,"
    " displaced_by, position, message"
)

_CLAIMS: Final[LiteralString] = """
select i.machine_id, i.id, c.kind, coalesce(i.gpus, c.gpus) as gpus, c.gpu_rate, c.signed_at_ms,
       c.platform_fee_ppm, c.renter_id = c.host_id as own, i.reschedule, l.bid_floor, l.bid_uniform,
       coalesce(s.safe_until_ms, 0) as safe_until_ms,
       exists (select from gpu_holds h where h.contract_id = i.id)
           and not coalesce(s.pausing, false) as holds
  from instances i
  join contracts_now c on c.id = i.id
  join listings l on l.id = c.listing_id
  left join standings s on s.contract_id = i.id
 where i.destroyed_at_ms is null and i.intended = 'running'
"""


_WHERE_BIDS_ARE: Final[LiteralString] = """
   and i.machine_id in (
       select b.machine_id from instances b join contracts_now k on k.id = b.id
        where b.destroyed_at_ms is null and b.intended = 'running' and b.machine_id = any(%s)
          and k.kind in ('bid', 'background'))
 order by i.id
"""


def claims_on(tx: Tx, machine: MachineId) -> list[Claim]:
    """Everybody who wants to run on a machine, the oldest first."""
    rows = tx.all(_CLAIMS + "and i.machine_id = %s order by i.id", machine)
    return [_claim(row) for row in rows]


def claims_where_bids_are(tx: Tx, machines: Sequence[MachineId]) -> dict[MachineId, list[Claim]]:
    """The same for those of some machines on which somebody is who can be displaced."""
    rows = tx.all(_CLAIMS + _WHERE_BIDS_ARE, list(machines))
    found: dict[MachineId, list[Claim]] = {}
    for row in rows:
        found.setdefault(MachineId(row["machine_id"]), []).append(_claim(row))
    return found


def _claim(row: dict[str, Any]) -> Claim:
    gpus = tuple(row["gpus"])
    floor = 0 if row["own"] else with_fee(row["bid_floor"] * len(gpus), row["platform_fee_ppm"])
    return Claim(
        contract=ContractId(row["id"]),
        kind=Kind(row["kind"]),
        gpus=gpus,
        price=NanoUsdPerHour(row["gpu_rate"]),
        floor=NanoUsdPerHour(floor),
        holds=row["holds"],
        anywhere=row["reschedule"],
        signed_at_ms=row["signed_at_ms"],
        safe_until_ms=row["safe_until_ms"],
        uniform=row["bid_uniform"],
    )


def bid_terms_on(tx: Tx, machine: MachineId) -> dict[ContractId, BidTerms]:
    """On what terms about bids each who wants to run on a machine signed."""
    rows = tx.all(
        "select i.id, l.bid_notice_ms, l.bid_run_ms_min, l.bid_uniform from instances i"
        " join contracts c on c.id = i.id join listings l on l.id = c.listing_id"
        " where i.destroyed_at_ms is null and i.intended = 'running' and i.machine_id = %s",
        machine,
    )
    return {
        ContractId(row["id"]): BidTerms(
            notice_ms=row["bid_notice_ms"],
            run_ms_min=row["bid_run_ms_min"],
            uniform=row["bid_uniform"],
        )
        for row in rows
    }


def on(tx: Tx, machine: MachineId) -> dict[ContractId, Standing]:
    """How everybody who wants to run on a machine stands."""
    rows = tx.all(f"select {_COLUMNS} from standings where machine_id = %s", machine)  # noqa: S608 - the columns are fixed above
    return {ContractId(row["contract_id"]): _standing(row) for row in rows}


def write(tx: Tx, machine: MachineId, contract: ContractId, standing: Standing) -> None:
    """Write how one stands."""
    tx.run(
        "insert into standings (contract_id, machine_id, price, promised, safe_until_ms,"
        " yields_at_ms, pauses_at_ms, pausing, why, displaced_by, position, message)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (contract_id) do update set price = excluded.price,"
        " promised = excluded.promised, safe_until_ms = excluded.safe_until_ms,"
        " yields_at_ms = excluded.yields_at_ms, pauses_at_ms = excluded.pauses_at_ms,"
        " pausing = excluded.pausing, why = excluded.why, displaced_by = excluded.displaced_by,"
        " position = excluded.position, message = excluded.message",
        contract,
        machine,
        standing.price,
        None if standing.promised is None else list(standing.promised),
        standing.safe_until_ms,
        standing.yields_at_ms,
        standing.pauses_at_ms,
        standing.pausing,
        standing.why and standing.why.value,
        list(standing.to),
        standing.position,
        standing.message,
    )


def forget(tx: Tx, machine: MachineId, but: Iterable[ContractId]) -> int:
    """Forget how those stood that no longer want to run; how many."""
    return tx.run(
        "delete from standings where machine_id = %s and not (contract_id = any(%s))",
        machine,
        list(but),
    )


def due(tx: Tx, now_ms: int) -> list[MachineId]:
    """Machines where a notice or a minimum run has ended."""
    rows = tx.all(
        "select distinct s.machine_id from standings s join machines m on m.id = s.machine_id"
        " where m.offline_since_ms is null and (not s.pausing and s.pauses_at_ms <= %s"
        " or s.safe_until_ms between 1 and %s) order by 1",
        now_ms,
        now_ms,
    )
    return [MachineId(row["machine_id"]) for row in rows]


def firm_gpus(tx: Tx, machine: MachineId) -> set[int]:
    """GPUs that no bid can have: held by firm contracts, or promised to them."""
    rows = tx.all(
        "select h.gpu from gpu_holds h join contracts_now c on c.id = h.contract_id"
        " where h.machine_id = %s and c.kind = any(%s) union select unnest(s.promised)"
        " from standings s join contracts_now c on c.id = s.contract_id"
        " where s.machine_id = %s and c.kind = any(%s)",
        machine,
        [kind.value for kind in FIRM],
        machine,
        [kind.value for kind in FIRM],
    )
    return {row["gpu"] for row in rows}


def _standing(row: dict[str, Any]) -> Standing:
    return Standing(
        price=NanoUsdPerHour(row["price"]),
        promised=None if row["promised"] is None else tuple(row["promised"]),
        safe_until_ms=row["safe_until_ms"],
        yields_at_ms=row["yields_at_ms"],
        pauses_at_ms=row["pauses_at_ms"],
        pausing=row["pausing"],
        why=None if row["why"] is None else Reason(row["why"]),
        to=msgspec.convert(row["displaced_by"], tuple[ContractId, ...]),
        position=row["position"],
        message=row["message"],
    )
