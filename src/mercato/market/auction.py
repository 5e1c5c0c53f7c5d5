"""Who holds a machine's GPUs: one decision over everybody's claim on them.

On-demand and reserved contracts come first and keep what they hold. Bids share what is left so
that together they pay the most, which on one slice is the highest price per GPU; the host's own
background job gets what nobody wants. Of two sets of bids that pay the same, the one of which more
GPUs are held already wins, then the one with the older contract.

The decision is exact on machines of up to 16 GPUs whose claims are for slices, and beyond that as
good as placing.py says. Deciding again, when what was decided has come true, changes nothing.

Who holds GPUs competes for these alone: nobody is moved to make room for a weaker claim. Who waits
and may go `anywhere` competes for every slice of the same size.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from math import lcm
from typing import Final

import msgspec

from mercato.market.contract import FIRM, Kind
from mercato.market.ids import ContractId
from mercato.market.instance import Reason
from mercato.market.money import NanoUsdPerHour, dollars, nano
from mercato.market.placing import EXACT_GPUS_MAX, Gpus, Placings, Wish, bits, greedy, is_slice


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One contract that wants to run."""

    contract: ContractId
    kind: Kind
    gpus: Gpus
    """Those that it holds; when it holds none, those of its contract."""
    price: NanoUsdPerHour = NanoUsdPerHour(0)
    """What it offers for all its GPUs for an hour. A firm contract's decides nothing."""
    floor: NanoUsdPerHour = NanoUsdPerHour(0)
    """The least that its host takes for them."""
    holds: bool = False
    """It holds its GPUs now."""
    anywhere: bool = False
    """Any slice of the machine of the same size will do."""
    signed_at_ms: int = 0
    safe_until_ms: int = 0
    """No other bid can take its GPUs before: the end of its minimum run."""
    uniform: bool = False
    """It pays what it had to beat instead of its own bid."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided of one claim."""

    contract: ContractId
    gpus: Gpus | None
    """It should hold these; None: it waits, or gives up what it holds."""
    price: NanoUsdPerHour = NanoUsdPerHour(0)
    """What its GPUs cost an hour while it holds them; of a claim that waits, what it offers."""
    why: Reason | None = None
    """Why it has no GPUs: `outbid`; `on_demand` when a firm contract has them; `host` when they are
    on the machine no more."""
    to: tuple[ContractId, ...] = ()
    """Who has GPUs that it wants, the strongest first."""
    position: int = 0
    """Its place among those that wait for some of its GPUs; 0 when it has them."""


class Verdict(msgspec.Struct, frozen=True):
    """What was decided, in the order of the claims."""

    outcomes: tuple[Outcome, ...]

    def of(self, contract: ContractId) -> Outcome:
        """What was decided of one contract, which must have a claim."""
        return next(one for one in self.outcomes if one.contract == contract)


def clear(gpus: int, claims: Sequence[Claim], now_ms: int) -> Verdict:
    """Decide who should hold the `gpus` GPUs of a machine.

    The claims that hold GPUs must not overlap.
    """
    held = [gpu for claim in claims if claim.holds for gpu in claim.gpus]
    assert len(held) == len(set(held)), "two claims hold the same GPU"
    field = _Field(gpus, dict(enumerate(claims)), now_ms)
    placed = field.place()
    found = _losers(field, placed)
    for number, has in placed.items():
        price = _price(field, number, placed)
        found[number] = Outcome(contract=claims[number].contract, gpus=has, price=price)
    return Verdict(tuple(found[number] for number in range(len(claims))))


def came_true(claims: Sequence[Claim], verdict: Sequence[Outcome]) -> list[Claim]:
    """The claims when everybody holds what was decided, and nobody else holds anything."""
    return [
        msgspec.structs.replace(
            claim, holds=outcome.gpus is not None, gpus=outcome.gpus or claim.gpus
        )
        for claim, outcome in zip(claims, verdict, strict=True)
    ]


def to_win(gpus: int, claims: Sequence[Claim], wanted: Gpus) -> NanoUsdPerHour | None:
    """What a new bid for `wanted` must exceed by the hour, for the whole slice; 0 when it is free.

    None while a firm contract has some of these GPUs. Minimum runs are taken to be over.
    """
    field = _Field(gpus, dict(enumerate(claims)), _FOR_EVER)
    placed = field.place()
    if any(
        claims[at].kind in FIRM and not set(has).isdisjoint(wanted) for at, has in placed.items()
    ):
        return None
    without = field.place(blocked=wanted)
    return NanoUsdPerHour(max(0, field.worth(placed) - field.worth(without)))


_FOR_EVER: Final = 1 << 62

TICK: Final = NanoUsdPerHour(nano("0.001"))
"""By so much the least winning bid that is shown is above what it has to beat."""


def least_bid(needed: NanoUsdPerHour, floor: NanoUsdPerHour) -> NanoUsdPerHour:
    """The least bid that is said to win, given what `to_win` says and the floor of the slice."""
    return NanoUsdPerHour(max(floor, needed + TICK)) if needed else floor


def explain(outcome: Outcome, claims: Mapping[ContractId, Claim]) -> str:
    """An outcome for a person, in one sentence."""
    if outcome.gpus is not None:
        return f"It has GPUs {span(outcome.gpus)} for ${dollars(outcome.price):.6g} an hour."
    winners = ", ".join(_named(claims[contract]) for contract in outcome.to)
    queue = f"place {outcome.position} in the queue"
    if outcome.why is Reason.HOST:
        return "Its GPUs are not on the machine any more; rent anew."
    if outcome.why is Reason.ON_DEMAND:
        return f"Its GPUs went to {winners}, which no bid can displace; {queue}."
    mine = claims[outcome.contract]
    if mine.kind is Kind.BACKGROUND:
        return f"Displaced by {winners}, as the host's own job always is; {queue}."
    return f"Outbid at ${_per_gpu(mine):.6g} a GPU and hour by {winners}; {queue}."


def span(gpus: Gpus) -> str:
    """GPU numbers for a person: `0-3`, or `5`."""
    return f"{gpus[0]}-{gpus[-1]}" if len(gpus) > 1 else str(gpus[0])


def _named(claim: Claim) -> str:
    match claim.kind:
        case Kind.INTERRUPTIBLE:
            return f"bid {claim.contract} at ${_per_gpu(claim):.6g} a GPU and hour"
        case Kind.BACKGROUND:
            return f"the host's own job {claim.contract}"
        case Kind.RESERVED:
            return f"reserved contract {claim.contract}"
        case Kind.ON_DEMAND:
            return f"on-demand contract {claim.contract}"


def _per_gpu(claim: Claim) -> float:
    return dollars(claim.price) / len(claim.gpus)


class _Tier(IntEnum):
    """Claims of a higher tier go before all of the lower ones together."""

    BACKGROUND = 0
    BID = 1
    SAFE = 2
    """A bid in its minimum run."""
    FIRM = 3


_Strength = tuple[int, int, bool, int, int]
"""Tier, price per GPU, whether it holds its GPUs, age: the strongest is the greatest."""


class _Field:
    """The claims that compete, by number."""

    def __init__(self, gpus: int, claims: Mapping[int, Claim], now_ms: int) -> None:
        self.gpus = gpus
        self.claims = claims
        self.now_ms = now_ms
        sizes = {len(claim.gpus) for claim in claims.values()}
        self._per_gpu = {size: lcm(*sizes) // size for size in sizes}
        """By size, what makes prices comparable per GPU without leaving whole numbers."""
        self.strength = {number: self._strength(claim) for number, claim in claims.items()}
        self.strongest = sorted(claims, key=self.strength.__getitem__, reverse=True)
        """All numbers, the strongest first."""
        shapes = {claim.gpus for claim in claims.values()}
        self._exact = gpus <= EXACT_GPUS_MAX and all(is_slice(gpus, shape) for shape in shapes)

    def worth(self, placed: Iterable[int]) -> int:
        """What the bids among the placed offer an hour together."""
        return sum(
            self.claims[number].price
            for number in placed
            if self.claims[number].kind is Kind.INTERRUPTIBLE
        )

    def place(self, blocked: Gpus = (), but: int | None = None) -> dict[int, Gpus]:
        """Who should hold which GPUs, when nobody gets the `blocked`, nor one claim anything."""
        if self._exact:
            return self.exactly(blocked, but)
        wishes = ((number, wish) for number, wish in self._greediest if number != but)
        return greedy(self.gpus, wishes, blocked)

    def exactly(self, blocked: Gpus = (), but: int | None = None) -> dict[int, Gpus]:
        """The best placing, whatever it takes; every claim must be for a slice."""
        if blocked:
            return Placings(self.gpus, self._wishes, blocked).best()
        return self._placings.best() if but is None else self._placings.without(but)

    def _strength(self, claim: Claim) -> _Strength:
        tier = self._tier(claim)
        per_gpu = 0 if tier is _Tier.FIRM else claim.price * self._per_gpu[len(claim.gpus)]
        return (tier, per_gpu, claim.holds, -claim.signed_at_ms, -claim.contract)

    def _tier(self, claim: Claim) -> _Tier:
        if claim.kind in FIRM:
            return _Tier.FIRM
        if claim.kind is Kind.BACKGROUND:
            return _Tier.BACKGROUND
        return _Tier.SAFE if claim.holds and claim.safe_until_ms > self.now_ms else _Tier.BID

    def _greed(self, number: int) -> _Strength:
        """The order of the greedy way: as by strength, but by price over the root of the size."""
        tier, per_gpu, holds, newness, contract = self.strength[number]
        return (tier, per_gpu * self.claims[number].price, holds, newness, contract)

    @cached_property
    def _greediest(self) -> list[tuple[int, Wish]]:
        """All claims as the greedy way takes them."""
        order = sorted(self.claims, key=self._greed, reverse=True)
        return [(number, self._wish(number, 0)) for number in order]

    @cached_property
    def _spare(self) -> int:
        """How many claims may be left out at a time: one, when some pay what they had to beat."""
        return int(any(claim.uniform for claim in self.claims.values()))

    @cached_property
    def _wishes(self) -> dict[int, Wish]:
        """The wishes of the claims that can win, with their weights."""
        return self._weighed(self._contenders(self.strongest, self._spare))

    @cached_property
    def _placings(self) -> Placings:
        return Placings(self.gpus, self._wishes, spare=self._spare)

    def _wish(self, number: int, weight: int) -> Wish:
        claim = self.claims[number]
        return Wish(weight, claim.gpus, claim.anywhere and not claim.holds)

    def _contenders(self, strongest_first: Iterable[int], spare: int) -> list[int]:
        """The claims that can win, in their order: of each slice one, or as many as can roam.

        `spare` more of each.
        """
        room: dict[Gpus | int, int] = {}
        found = []
        for number in strongest_first:
            claim = self.claims[number]
            size, roams = len(claim.gpus), claim.anywhere and not claim.holds
            among = size if roams else claim.gpus
            left = room.get(among, spare + (self.gpus // size if roams else 1))
            if left:
                found.append(number)
                room[among] = left - 1
        return found

    def _weighed(self, contenders: Iterable[int]) -> dict[int, Wish]:
        """The claims that can win, with weights whose sums compare as the rules say.

        A weight is a number of several fields, each wide enough that no sum carries into the next:
        by tier what is offered, then how many GPUs are held already, then one bit for each claim,
        the oldest first, so that no two sets weigh the same. Firm claims have that bit alone,
        holders before all others.
        """
        wishes: dict[int, Wish] = {}
        tiers: dict[int, list[int]] = {tier: [] for tier in _Tier}
        for number in contenders:
            tiers[self.strength[number][0]].append(number)
        held_bits, shift = self.gpus.bit_length(), 0
        for tier, strongest_first in tiers.items():
            mine = strongest_first[::-1]
            if tier is not _Tier.FIRM:
                mine.sort(key=lambda number: self.strength[number][3:])
            total, count = 0, len(mine)
            for at, number in enumerate(mine):
                weight = 1 << at
                if tier is not _Tier.FIRM:
                    claim = self.claims[number]
                    held = len(claim.gpus) if claim.holds else 0
                    weight += ((claim.price << held_bits) + held) << count
                wishes[number] = self._wish(number, weight << shift)
                total += weight
            shift += total.bit_length()
        return wishes


def _price(field: _Field, number: int, placed: Mapping[int, Gpus]) -> NanoUsdPerHour:
    """What a winner pays: its own bid, or under uniform pricing what it keeps others from.

    That is the least that it could have bid and won, so that it gains nothing by bidding other
    than what the GPUs are worth to it (Vickrey 1961, Clarke 1971). Where everybody wants any one
    GPU it is the highest bid that lost.
    """
    claim = field.claims[number]
    if claim.kind is not Kind.INTERRUPTIBLE or not claim.uniform:
        return claim.price
    without = field.worth(field.place(but=number))
    kept_out = without - (field.worth(placed) - claim.price)
    return NanoUsdPerHour(min(claim.price, max(claim.floor, kept_out)))


def _losers(field: _Field, placed: Mapping[int, Gpus]) -> dict[int, Outcome]:
    """The outcomes of those that have no place."""
    losers = [number for number in field.strongest if number not in placed]
    winners = [(field.claims[at], bits(placed[at])) for at in field.strongest if at in placed]
    takers: dict[Gpus, tuple[tuple[ContractId, ...], Reason]] = {}
    for wanted in {field.claims[number].gpus for number in losers}:
        by = [claim for claim, has in winners if has & bits(wanted)]
        firm = any(claim.kind in FIRM for claim in by)
        why = Reason.ON_DEMAND if firm else Reason.OUTBID if by else Reason.HOST
        takers[wanted] = (tuple(claim.contract for claim in by), why)
    found: dict[int, Outcome] = {}
    for number, position in _positions([field.claims[at] for at in losers]):
        claim = field.claims[losers[number]]
        to, why = takers[claim.gpus]
        found[losers[number]] = Outcome(
            contract=claim.contract,
            gpus=None,
            price=claim.price,
            why=why,
            to=to,
            position=position,
        )
    return found


def _positions(strongest_first: Sequence[Claim]) -> Iterator[tuple[int, int]]:
    """Each with its place among those that want some of the same GPUs, from 1."""
    shapes = {claim.gpus: bits(claim.gpus) for claim in strongest_first}
    near = {
        one: [other for other, theirs in shapes.items() if theirs & mine]
        for one, mine in shapes.items()
    }
    before = dict.fromkeys(shapes, 1)
    for number, claim in enumerate(strongest_first):
        yield number, number + 1 if claim.anywhere else before[claim.gpus]
        for shape in shapes if claim.anywhere else near[claim.gpus]:
            before[shape] += 1
