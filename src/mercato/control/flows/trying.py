"""What a bid would win now, and would have won lately: the auction asked, nothing changed."""

import msgspec

from mercato.control.db import Tx
from mercato.control.store import clearings, listings, machines, standings
from mercato.market import auction, errors
from mercato.market.auction import Claim
from mercato.market.contract import Kind
from mercato.market.ids import ContractId, OfferId
from mercato.market.money import NanoUsdPerHour
from mercato.market.offer import find_offer, parse_offer_id

_NOBODY = ContractId(0)
"""Stands for whoever would bid."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a bid that was not made."""

    wins: bool
    least: NanoUsdPerHour | None
    """The least that wins now; None while no bid does."""
    floor: NanoUsdPerHour
    displaces: tuple[ContractId, ...]
    held_ms: int
    """For so long it would have had its GPUs,"""
    lost_ms: int
    """and for so long not; of the rest nothing is known."""
    longest_ms: int
    displacements: int


def try_bid(tx: Tx, offer_id: OfferId, bid: NanoUsdPerHour, since_ms: int, now_ms: int) -> Trial:
    """Ask what a bid on an offer would win; nobody's turn is taken for it.

    Raises:
        NoSuchOffer: when it is not, or no longer, on sale.
    """
    gone = errors.NoSuchOffer(f"Offer {offer_id} is no longer on sale; search again for what is.")
    parsed = parse_offer_id(offer_id)
    stored = listings.get(tx, parsed[0]) if parsed is not None else None
    machine = machines.get(tx, stored.listing.machine) if stored is not None else None
    if stored is None or stored.closed_at_ms is not None or machine is None:
        raise gone
    offer = find_offer(offer_id, stored.listing, machine.hardware, (), 0)
    if offer is None:
        raise gone
    claims = standings.claims_on(tx, machine.id)
    mine = Claim(
        contract=_NOBODY,
        kind=Kind.INTERRUPTIBLE,
        gpus=offer.gpus,
        price=bid,
        floor=offer.bid_floor,
        signed_at_ms=now_ms,
    )
    before = auction.clear(offer.gpus_total, claims, now_ms)
    after = auction.clear(offer.gpus_total, [*claims, mine], now_ms)
    had = {one.contract for one in before.outcomes if one.gpus is not None}
    has = {one.contract for one in after.outcomes if one.gpus is not None}
    needed = auction.to_win(offer.gpus_total, claims, offer.gpus)
    allowed = bid >= offer.bid_floor
    history = [
        (
            one.at_ms,
            auction.to_win(one.gpus, auction.came_true(one.claims, one.verdict), offer.gpus),
        )
        for one in clearings.since(tx, machine.id, since_ms)
    ]
    held_ms, lost_ms, longest_ms, displacements = _lately(
        [(at_ms, allowed and least is not None and bid > least) for at_ms, least in history],
        since_ms,
        now_ms,
    )
    return Trial(
        wins=allowed and _NOBODY in has,
        least=None if needed is None else auction.least_bid(needed, offer.bid_floor),
        floor=offer.bid_floor,
        displaces=tuple(sorted(had - has)) if allowed else (),
        held_ms=held_ms,
        lost_ms=lost_ms,
        longest_ms=longest_ms,
        displacements=displacements,
    )


def _lately(
    wins_from: list[tuple[int, bool]], since_ms: int, now_ms: int
) -> tuple[int, int, int, int]:
    """Time won, time lost, the longest time won, and how often it was lost again."""
    held_ms = lost_ms = longest_ms = run_ms = displacements = 0
    ends = [*(at_ms for at_ms, _ in wins_from), now_ms][1:]
    for (at_ms, wins), end_ms in zip(wins_from, ends, strict=True):
        lasted_ms = max(0, end_ms - max(at_ms, since_ms))
        if wins:
            held_ms += lasted_ms
            run_ms += lasted_ms
            longest_ms = max(longest_ms, run_ms)
        else:
            lost_ms += lasted_ms
            displacements += run_ms > 0
            run_ms = 0
    return held_ms, lost_ms, longest_ms, displacements
