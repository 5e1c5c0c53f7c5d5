"""What is on sale for an endpoint's worker groups, without what is not to be tried now.

An offer that could not be rented is left alone for long, and a machine whose worker failed for
longer. An account that cannot pay an offer is shown the cheapest. A group whose workers fail one
after another is shown none for a while: more of them would only cost money.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Final, TypeVar

from mercato.engine.market import Market
from mercato.market.ids import MachineId, OfferId
from mercato.serverless.endpoint import GroupId
from mercato.serverless.recruit import Candidate
from mercato.wire.fleet import NothingToRent

LOOK_S: Final = 5.0
LOOK_MAX_S: Final = 10.0
"""How often the market is asked for offers; more seldom while there are none."""
OFFER_COOLS_S: Final = 7_200.0
MACHINE_COOLS_S: Final = 86_400.0
POOR_S: Final = 120.0
"""An account that could not pay an offer is tried with the cheapest one for this long."""
FAILED_RECRUITS: Final = 3
"""Workers of a group that fail one after another without any that got ready."""
RECRUITS_WINDOW_S: Final = 600.0
NOTHING_FITS: Final = (
    "nothing that is on sale now fits its query, its disk and its arguments (machines that nobody"
    " has verified fit only with verified=any)"
)

Cooling = TypeVar("Cooling", bound=int)


class Sale:
    """The offers for the groups of one endpoint."""

    def __init__(
        self,
        market: Market,
        contained: Callable[[str], AbstractContextManager[None]],
        tell: Callable[[GroupId, str], None],
    ) -> None:
        """`contained` keeps trouble with one group from the others.

        `tell` is told of a group why it can rent nothing; "" when it can.
        """
        self._market = market
        self._contained = contained
        self._tell = tell
        self._looks: dict[GroupId, tuple[float, float, list[Candidate]]] = {}
        self._cool_offers: dict[OfferId, float] = {}
        self._cool_machines: dict[MachineId, float] = {}
        self._poor_until_s: dict[GroupId, float] = {}
        self._failed: dict[GroupId, deque[float]] = {}

    async def offers(self, groups: Iterable[GroupId], now_s: float) -> list[Candidate]:
        """What could be rented; each group's are looked for seldom while there are none."""
        found: list[Candidate] = []
        for group in groups:
            known = [one for one in await self._look(group, now_s) if not self._cools(one, now_s)]
            if known and self._poor_until_s.get(group, 0.0) > now_s:
                known = [min(known, key=_hour)]
            found += known
        return found

    async def _look(self, group: GroupId, now_s: float) -> list[Candidate]:
        next_s, wait_s, known = self._looks.get(group, (0.0, LOOK_S, []))
        if now_s < next_s:
            return known
        known = []
        if not self._backs_off(group, now_s):
            with self._contained(f"the search for offers of group {group}"):
                try:
                    known = list(await self._market.candidates(group))
                except NothingToRent as why:
                    self._tell(group, f"no worker can be made of it: {why}")
                else:
                    self._tell(group, "" if known else NOTHING_FITS)
        wait_s = LOOK_S if known else min(2 * wait_s, LOOK_MAX_S)
        self._looks[group] = (now_s + wait_s, wait_s, known)
        return known

    def _cools(self, offer: Candidate, now_s: float) -> bool:
        return (
            self._cool_offers.get(offer.offer, 0.0) > now_s
            or self._cool_machines.get(offer.machine, 0.0) > now_s
        )

    def _backs_off(self, group: GroupId, now_s: float) -> bool:
        failed = self._failed.get(group)
        return (
            failed is not None
            and len(failed) == FAILED_RECRUITS
            and now_s - failed[0] < RECRUITS_WINDOW_S
        )

    # What came of offers.

    def rented(self, group: GroupId) -> None:
        """One is on offer no longer, and perhaps no other part of its machine is."""
        self._looks.pop(group, None)

    def not_to_be_had(self, offer: Candidate, now_s: float) -> None:
        """It was refused, and not for its renter's sake."""
        self._cool_offers[offer.offer] = now_s + OFFER_COOLS_S

    def too_dear(self, offer: Candidate, now_s: float) -> bool:
        """The account cannot pay it; whether there is a cheaper one to try."""
        _, _, known = self._looks.get(offer.group, (0.0, 0.0, []))
        cheaper = any(_hour(one) < _hour(offer) and not self._cools(one, now_s) for one in known)
        if cheaper:
            self._poor_until_s[offer.group] = now_s + POOR_S
        return cheaper

    def failed(self, group: GroupId, machine: MachineId, now_s: float) -> None:
        """A worker was no good, for its machine's sake."""
        self._cool_machines[machine] = now_s + MACHINE_COOLS_S
        self._failed.setdefault(group, deque(maxlen=FAILED_RECRUITS)).append(now_s)

    def went_well(self, group: GroupId) -> None:
        """A worker of a group got ready."""
        self._failed.pop(group, None)

    def forget(self, groups: Iterable[GroupId], now_s: float) -> None:
        """Forget what is of no use any more: all groups but these, and what has cooled."""
        _drop_over(self._cool_offers, now_s)
        _drop_over(self._cool_machines, now_s)
        _drop_over(self._poor_until_s, now_s)
        there = set(groups)
        for known in (self._looks, self._failed):
            for gone in known.keys() - there:
                del known[gone]


def _hour(offer: Candidate) -> float:
    """What an offer costs for an hour, nano-dollars."""
    return offer.gpu_price + offer.storage_price


def _drop_over(until: dict[Cooling, float], now_s: float) -> None:
    for what in [what for what, until_s in until.items() if until_s <= now_s]:
        del until[what]
