"""What GPUs cost now and did cost, and how long bids held: read for renters."""

from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.prices import Spell

DISPLACED_WITHIN_MS: Final = 60_000
"""A spell that ended this close to a notice's end was ended by it."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """GPUs of one model that a contract holds now, and what it pays for one of them an hour."""

    gpu_name: str
    gpus: int
    price: int
    by_bid: bool


class PriceHour(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU model in one hour; prices are nano-dollars for one GPU and hour."""

    gpu_name: str
    hour_ms: int
    gpus_offered: int
    gpus_rented: int
    ask_p10: int | None
    ask_p50: int | None
    ask_p90: int | None
    paid_p50: int | None
    bid_p50: int | None


_COLUMNS: Final[LiteralString] = (
    "gpu_name, hour_ms, gpus_offered, gpus_rented, ask_p10, ask_p50, ask_p90, paid_p50, bid_p50"
)


def held(tx: Tx) -> list[Held]:
    """What every contract that holds GPUs pays."""
    rows = tx.all(
        "select m.hardware->'gpu_model'->>'name' as gpu_name, count(*)::int as gpus,"
        " c.kind = 'bid' as by_bid,"
        " coalesce(s.price, c.gpu_rate) / greatest(1, cardinality(c.gpus)) as price"
        " from gpu_holds h join contracts_now c on c.id = h.contract_id"
        " join machines m on m.id = h.machine_id"
        " left join standings s on s.contract_id = c.id and c.kind = 'bid'"
        " where c.kind <> 'background'"
        " group by m.hardware->'gpu_model'->>'name', c.id, c.kind, c.gpu_rate, c.gpus, s.price"
    )
    return [msgspec.convert(row, Held) for row in rows]


def keep(tx: Tx, hour: PriceHour) -> None:
    """Write an hour; again writes it anew."""
    tx.run(
        f"insert into price_hours ({_COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608 - the columns are fixed above
        " on conflict (gpu_name, hour_ms) do update set gpus_offered = excluded.gpus_offered,"
        " gpus_rented = excluded.gpus_rented, ask_p10 = excluded.ask_p10,"
        " ask_p50 = excluded.ask_p50, ask_p90 = excluded.ask_p90, paid_p50 = excluded.paid_p50,"
        " bid_p50 = excluded.bid_p50",
        *msgspec.structs.astuple(hour),
    )


def has(tx: Tx, hour_ms: int) -> bool:
    """Whether an hour was written."""
    return tx.one("select from price_hours where hour_ms = %s limit 1", hour_ms) is not None


def history(tx: Tx, gpu_name: str, from_ms: int) -> list[PriceHour]:
    """A model's hours from a moment on, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from price_hours where gpu_name = %s and hour_ms >= %s"  # noqa: S608 - the columns are fixed above
        " order by hour_ms",
        gpu_name,
        from_ms,
    )
    return [msgspec.convert(row, PriceHour) for row in rows]


def spells(tx: Tx, gpu_name: str, from_ms: int, now_ms: int) -> list[Spell]:
    """How long bids on a model held their GPUs, of those that began after a moment."""
    rows = tx.all(
        "select s.rate / greatest(1, cardinality(c.gpus)) as price,"
        " coalesce(s.to_ms, %s::bigint) - s.from_ms as lasted_ms,"
        " s.to_ms is not null and exists (select from events e where e.contract_id = c.id"
        " and e.kind = 'instance_paused' and e.at_ms between s.to_ms - %s and s.to_ms + %s)"
        " as displaced"
        " from segments s join contracts c on c.id = s.contract_id"
        " join machines m on m.id = c.machine_id"
        " where s.kind = 'gpu' and c.kind = 'bid' and s.from_ms >= %s"
        " and m.hardware->'gpu_model'->>'name' = %s",
        now_ms,
        DISPLACED_WITHIN_MS,
        DISPLACED_WITHIN_MS,
        from_ms,
        gpu_name,
    )
    return [
        Spell(price=row["price"], lasted_ms=max(0, row["lasted_ms"]), displaced=row["displaced"])
        for row in rows
    ]


def forget_before(tx: Tx, before_ms: int) -> int:
    """Delete hours before; how many."""
    return tx.run("delete from price_hours where hour_ms < %s", before_ms)
