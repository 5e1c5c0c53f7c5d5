"""Higher prices that hosts ask for contracts to go on past their end, and what renters said."""

from typing import Any, Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.contract import Contract, Terms
from mercato.market.ids import AccountId, ContractId, ListingId
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour


class PriceIncrease(msgspec.Struct, frozen=True, kw_only=True):
    """One of them; the terms are those that would hold from the contract's end on."""

    id: int
    contract_id: ContractId
    listing_id: ListingId
    gpu_rate: NanoUsdPerHour
    disk_price: NanoUsdPerGbMonth
    up_price: NanoUsdPerGb
    down_price: NanoUsdPerGb
    platform_fee_ppm: int
    end_at_ms: int | None
    created_at_ms: int
    answer: str | None
    """`accepted`, `rejected`, or None while it is waited for."""

    def applied_to(self, terms: Terms) -> Terms:
        """The contract's terms once this is part of it."""
        return msgspec.structs.replace(
            terms,
            gpu=self.gpu_rate,
            disk=self.disk_price,
            up=self.up_price,
            down=self.down_price,
            platform_fee_ppm=self.platform_fee_ppm,
            end_at_ms=self.end_at_ms,
        )


_COLUMNS: Final[LiteralString] = (
    "p.id, p.contract_id, p.listing_id, p.gpu_rate, p.disk_price, p.up_price, p.down_price,"
    " p.platform_fee_ppm, p.end_at_ms, p.created_at_ms, p.answer"
)


def ask(tx: Tx, contract: Contract, listing: ListingId, asked: Terms, now_ms: int) -> None:
    """Write what a host asks, in the place of what it asked before."""
    close(tx, contract.id, now_ms)
    tx.run(
        "insert into price_increases (contract_id, listing_id, gpu_rate, disk_price, up_price,"
        " down_price, platform_fee_ppm, end_at_ms, created_at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        contract.id,
        listing,
        asked.gpu,
        asked.disk,
        asked.up,
        asked.down,
        asked.platform_fee_ppm,
        asked.end_at_ms,
        now_ms,
    )


def open_for(tx: Tx, contract: ContractId) -> PriceIncrease | None:
    """What is asked for a contract, answered or not; None when nothing is."""
    row = tx.one(
        f"select {_COLUMNS} from price_increases p"  # noqa: S608 - the columns are fixed above
        " where p.contract_id = %s and p.closed_at_ms is null",
        contract,
    )
    return _increase(row) if row else None


def unanswered(tx: Tx, renter: AccountId) -> list[PriceIncrease]:
    """What is asked of a renter and was not answered; oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from price_increases p"  # noqa: S608 - the columns are fixed above
        " join live_contracts l on l.id = p.contract_id where l.renter_id = %s"
        " and p.closed_at_ms is null and p.answer is null order by p.id",
        renter,
    )
    return [_increase(row) for row in rows]


def answer(tx: Tx, increase: int, answered: str) -> None:
    """Write the renter's word."""
    tx.run("update price_increases set answer = %s where id = %s", answered, increase)


def close(tx: Tx, contract: ContractId, now_ms: int) -> None:
    """Have nothing more be asked for a contract."""
    tx.run(
        "update price_increases set closed_at_ms = %s"
        " where contract_id = %s and closed_at_ms is null",
        now_ms,
        contract,
    )


def _increase(row: dict[str, Any]) -> PriceIncrease:
    return msgspec.convert(row, PriceIncrease)
