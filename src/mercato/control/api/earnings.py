"""What an account's machines earned, by machine and by day."""

from collections import defaultdict
from typing import Final

import msgspec

from mercato.control.api.call import Call
from mercato.control.db import Tx
from mercato.control.flows import metering
from mercato.control.store import accounts, statements
from mercato.market.ids import AccountId
from mercato.market.money import dollars

DAY_MS: Final = 86_400_000


class EarningsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A window in days since the epoch, and one machine or all."""

    sday: float | None = None
    eday: float | None = None
    machid: int | None = None


class Earnings(msgspec.Struct, frozen=True, kw_only=True):
    """What the account's machines earned, in dollars; only what has been posted."""

    success: bool = True
    summary: dict[str, float]
    username: str
    email: str
    fullname: str
    current: dict[str, float]
    per_machine: list[dict[str, float]]
    per_day: list[dict[str, float]]


async def show_earnings(call: Call, asked: EarningsQuery) -> Earnings:
    """Show what the account's machines earned, by machine and by day."""
    return await call.services.db.run(_earnings, call.account, asked, call.now_ms)


def _earnings(tx: Tx, host: AccountId, asked: EarningsQuery, now_ms: int) -> Earnings:
    today = now_ms / DAY_MS
    begin = 0.0 if asked.sday is None else min(max(0.0, asked.sday), today)
    end = today if asked.eday is None else min(max(begin, asked.eday + 1), today + 1)
    found = [
        one
        for one in statements.earned(tx, host, int(begin * DAY_MS), int(end * DAY_MS))
        if asked.machid is None or one.machine_id == asked.machid
    ]
    totals: dict[str, float] = defaultdict(float)
    machines: dict[int, dict[str, float]] = {}
    days: dict[int, dict[str, float]] = {}
    for one in found:
        column = _earn_column(one.kind)
        amount = dollars(one.amount)
        totals[column] += amount
        for key, name, table in (
            (one.machine_id, "machine_id", machines),
            (one.day, "day", days),
        ):
            row = table.setdefault(key, {name: key, **dict.fromkeys(_EARN_COLUMNS, 0.0)})
            row[column] += amount
    owner = accounts.get(tx, host)
    assert owner is not None
    money = metering.balance(tx, host, now_ms)
    balance, credit = dollars(money.earnings), dollars(money.spendable)
    return Earnings(
        summary={
            "total_gpu": totals["gpu_earn"],
            "total_stor": totals["sto_earn"],
            "total_bwu": totals["bwu_earn"],
            "total_bwd": totals["bwd_earn"],
        },
        username=owner.username,
        email=owner.email,
        fullname=owner.fullname,
        current={"balance": balance, "service_fee": 0.0, "total": balance, "credit": credit},
        per_machine=list(machines.values()),
        per_day=list(days.values()),
    )


_EARN_COLUMNS: Final = ("gpu_earn", "sto_earn", "bwu_earn", "bwd_earn")


def _earn_column(kind: str) -> str:
    """The column of a charge's item; what an early end gives back was granted on GPU time."""
    return {"disk": "sto_earn", "up": "bwu_earn", "down": "bwd_earn"}.get(kind, "gpu_earn")
