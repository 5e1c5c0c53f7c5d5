"""What a verdict means for a contract that wants to run: grant, notice, pause, wait. Pure.

    waits ──► promised ──► holds ──► yields ──► pauses ──► waits
                             ▲          │
                             └── kept ──┘

A winner is *promised* its GPUs and gets them when they are free. Who must give GPUs up *yields*:
it runs, and pays, until its notice ends, and keeps them when it wins again before. Then it
*pauses*: it was told to stop and holds its GPUs until its host says that it has.
"""

from enum import Enum, auto

import msgspec

from mercato.market.auction import Claim, Outcome
from mercato.market.ids import ContractId
from mercato.market.instance import Reason
from mercato.market.money import NanoUsdPerHour
from mercato.market.placing import Gpus


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a contract that wants to run stands on its machine."""

    price: NanoUsdPerHour
    """What an hour of its GPUs costs while it holds them."""
    promised: Gpus | None = None
    """What it gets as soon as they are free."""
    safe_until_ms: int = 0
    """No other bid can take its GPUs before."""
    yields_at_ms: int | None = None
    """When its GPUs go to somebody else."""
    pauses_at_ms: int | None = None
    """When it is told to stop, so that it has by then."""
    pausing: bool = False
    """It was told to stop, and holds its GPUs until it has."""
    why: Reason | None = None
    """Why it waits or yields."""
    to: tuple[ContractId, ...] = ()
    """Who has, or gets, GPUs that it wants."""
    position: int = 0
    """Its place among those that wait for some of its GPUs; 0 when it has them or they are its."""
    message: str = ""
    """The same for a person; empty when there is nothing to say."""


class Change(Enum):
    """What there is to tell of a contract."""

    GRANTED = auto()
    """It has its GPUs."""
    YIELDS = auto()
    """Somebody stronger gets its GPUs when its notice ends."""
    KEPT = auto()
    """It keeps its GPUs after all."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """How long a contract is warned before it loses its GPUs."""

    notice_ms: int
    end_ms: int
    """The last part of it, between the signal to end and the end."""

    @property
    def signal_ms(self) -> int:
        """How long after the notice the signal comes; the end is at most a quarter of the whole."""
        return self.notice_ms - min(self.end_ms, self.notice_ms // 4)


def follow(
    before: Standing | None, claim: Claim, outcome: Outcome, notice: Notice | None, now_ms: int
) -> tuple[Standing, Change | None]:
    """How a contract stands after a verdict, and what there is to tell.

    Granting is the caller's, who knows what is free, and the message, who knows everybody. No
    `notice` while nobody could hear one: who should yield then keeps its GPUs for now.
    """
    old = before or Standing(price=outcome.price)
    if not claim.holds:
        waits = Standing(
            price=outcome.price,
            promised=outcome.gpus,
            yields_at_ms=old.yields_at_ms if old.pausing else None,
            pauses_at_ms=old.pauses_at_ms if old.pausing else None,
            pausing=old.pausing,
            why=outcome.why,
            to=outcome.to,
            position=outcome.position,
        )
        return waits, None
    keeps = Standing(price=outcome.price, safe_until_ms=old.safe_until_ms)
    if outcome.gpus is not None:
        return keeps, None if old.yields_at_ms is None else Change.KEPT
    if old.yields_at_ms is None and notice is None:
        return keeps, None
    yields = msgspec.structs.replace(
        keeps,
        yields_at_ms=old.yields_at_ms,
        pauses_at_ms=old.pauses_at_ms,
        why=outcome.why,
        to=outcome.to,
        position=outcome.position,
    )
    if yields.yields_at_ms is not None or notice is None:
        return yields, None
    return noticed(yields, notice, now_ms), Change.YIELDS


def noticed(standing: Standing, notice: Notice, now_ms: int) -> Standing:
    """The standing with a notice that begins now."""
    return msgspec.structs.replace(
        standing,
        yields_at_ms=now_ms + notice.notice_ms,
        pauses_at_ms=now_ms + notice.signal_ms,
    )


def granted(standing: Standing, run_ms_min: int, now_ms: int) -> Standing:
    """The standing of a contract that was promised its GPUs, once it has them."""
    return Standing(price=standing.price, safe_until_ms=now_ms + run_ms_min if run_ms_min else 0)
