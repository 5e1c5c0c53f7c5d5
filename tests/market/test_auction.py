"""The laws of the auction, each on random machines.

`MERCATO_LAW_CASES` says how many machines the two great laws try; `make laws` tries 100,000.
"""

import os
import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mercato.market.auction import Claim, _Field, came_true, clear, explain, to_win
from mercato.market.contract import FIRM, Kind
from mercato.market.ids import ContractId
from mercato.market.instance import Reason
from mercato.market.money import NanoUsdPerHour
from mercato.market.placing import slices
from tests.market import exhaustive
from tests.market.claims import NOW_MS, shapes, some_claims, units

CASES = int(os.environ.get("MERCATO_LAW_CASES", "2000"))
BATCH = 2_000
LUCK = st.randoms(use_true_random=False)


def new_bid(claims: Sequence[Claim], gpus: tuple[int, ...], price: int) -> Claim:
    return Claim(
        contract=ContractId(len(claims) + 1),
        kind=Kind.INTERRUPTIBLE,
        gpus=gpus,
        price=NanoUsdPerHour(price),
        signed_at_ms=NOW_MS,
    )


@given(luck=LUCK, gpus=st.integers(1, 4), count=st.integers(1, 5))
@settings(max_examples=300)
def test_nothing_that_could_be_decided_is_better(
    luck: random.Random, gpus: int, count: int
) -> None:
    claims = some_claims(luck, gpus, count, prices=3)
    verdict = clear(gpus, claims, NOW_MS)
    met = exhaustive.best(gpus, claims)
    assert met == {at for at, one in enumerate(verdict.outcomes) if one.gpus is not None}


def test_as_good_as_trying_everything_on_random_machines() -> None:
    luck = random.Random(1)
    for begun in range(0, CASES, BATCH):
        machines: list[tuple[int, Sequence[Claim]]] = []
        reached = []
        for _ in range(min(BATCH, CASES - begun)):
            gpus = luck.choice((1, 2, 3, 4, 6, 8, 8, 8))
            claims = some_claims(luck, gpus, luck.randint(1, 12))
            outcomes = clear(gpus, claims, NOW_MS).outcomes
            weighed = zip(exhaustive.weights(claims), outcomes, strict=True)
            machines.append((gpus, claims))
            reached.append(sum(weight for weight, one in weighed if one.gpus is not None))
        assert exhaustive.best_weights(machines).tolist() == reached


@given(
    luck=LUCK, gpus=st.sampled_from((1, 2, 3, 4, 6, 8, 12, 16, 24, 64)), count=st.integers(1, 30)
)
@settings(max_examples=200)
def test_the_verdict_is_one_that_can_come_true(luck: random.Random, gpus: int, count: int) -> None:
    claims = some_claims(luck, gpus, count)
    verdict = clear(gpus, claims, NOW_MS)
    given_out: set[int] = set()
    for claim, outcome in zip(claims, verdict.outcomes, strict=True):
        assert outcome.contract == claim.contract
        if outcome.gpus is None:
            assert outcome.position > 0
            assert not claim.holds or claim.kind not in FIRM, "a firm holder was evicted"
            continue
        assert given_out.isdisjoint(outcome.gpus)
        given_out.update(outcome.gpus)
        if claim.anywhere:
            assert outcome.gpus in slices(gpus, len(claim.gpus))
        else:
            assert outcome.gpus == claim.gpus


@given(
    luck=LUCK, gpus=st.sampled_from((1, 2, 3, 4, 6, 8, 12, 16, 24, 64)), count=st.integers(1, 30)
)
@settings(max_examples=200)
def test_deciding_again_changes_nothing(luck: random.Random, gpus: int, count: int) -> None:
    """Who was displaced and may go anywhere may find another place: it can only now."""
    claims = some_claims(luck, gpus, count)
    verdict = clear(gpus, claims, NOW_MS)
    if any(
        claim.holds and claim.anywhere and outcome.gpus is None
        for claim, outcome in zip(claims, verdict.outcomes, strict=True)
    ):
        assert clear(gpus, claims, NOW_MS) == verdict
        return
    again = clear(gpus, came_true(claims, verdict.outcomes), NOW_MS)
    assert [one.gpus for one in again.outcomes] == [one.gpus for one in verdict.outcomes]
    assert [one.price for one in again.outcomes] == [one.price for one in verdict.outcomes]


@given(luck=LUCK, gpus=st.sampled_from((2, 4, 8)), count=st.integers(1, 12))
@settings(max_examples=200)
def test_who_has_no_gpus_is_told_who_has_them(luck: random.Random, gpus: int, count: int) -> None:
    claims = some_claims(luck, gpus, count)
    verdict = clear(gpus, claims, NOW_MS)
    named = {claim.contract: claim for claim in claims}
    has = {one.contract: one.gpus for one in verdict.outcomes if one.gpus is not None}
    for claim, outcome in zip(claims, verdict.outcomes, strict=True):
        words = explain(outcome, named)
        if outcome.gpus is not None:
            continue
        assert outcome.to
        assert all(set(has[by]) & set(claim.gpus) for by in outcome.to)
        firm = any(named[by].kind in FIRM for by in outcome.to)
        assert outcome.why is (Reason.ON_DEMAND if firm else Reason.OUTBID)
        assert all(str(by) in words for by in outcome.to)
        assert f"place {outcome.position} in the queue" in words


@given(luck=LUCK, gpus=st.sampled_from((2, 3, 4, 8)), count=st.integers(0, 10))
@settings(max_examples=300)
def test_a_bid_wins_when_it_exceeds_what_it_takes_to_win(
    luck: random.Random, gpus: int, count: int
) -> None:
    claims = [
        msgspec.structs.replace(claim, safe_until_ms=0) for claim in some_claims(luck, gpus, count)
    ]
    wanted = luck.choice(shapes(gpus))
    needed = to_win(gpus, claims, wanted)
    if needed is None:
        bid = new_bid(claims, wanted, 1_000_000)
        assert clear(gpus, [*claims, bid], NOW_MS).of(bid.contract).why is Reason.ON_DEMAND
        return
    winner = new_bid(claims, wanted, needed + 1)
    assert clear(gpus, [*claims, winner], NOW_MS).of(winner.contract).gpus == wanted
    if needed > 1:
        loser = new_bid(claims, wanted, needed - 1)
        assert clear(gpus, [*claims, loser], NOW_MS).of(loser.contract).gpus is None


def test_under_uniform_pricing_no_lie_pays_for_who_wants_one_gpu() -> None:
    luck = random.Random(2)
    for _ in range(CASES // 10):
        gpus = luck.choice((1, 2, 4, 8))
        claims = units(luck, gpus, luck.randint(1, 10))
        truth = clear(gpus, claims, NOW_MS)
        for _ in range(10):
            at = luck.randrange(len(claims))
            worth = claims[at].price
            lie = msgspec.structs.replace(claims[at], price=NanoUsdPerHour(luck.randint(3, 22)))
            told = clear(gpus, [*claims[:at], lie, *claims[at + 1 :]], NOW_MS).outcomes[at]
            honest = truth.outcomes[at]
            gain_honest = worth - honest.price if honest.gpus is not None else 0
            gain_lying = worth - told.price if told.gpus is not None else 0
            assert gain_lying <= gain_honest, (gpus, claims, lie)


@given(luck=LUCK, gpus=st.sampled_from((1, 2, 4, 8)), count=st.integers(1, 12))
@settings(max_examples=200)
def test_nobody_pays_more_than_was_bid_or_less_than_the_floor(
    luck: random.Random, gpus: int, count: int
) -> None:
    claims = units(luck, gpus, count)
    for claim, outcome in zip(claims, clear(gpus, claims, NOW_MS).outcomes, strict=True):
        assert claim.floor <= outcome.price <= claim.price


def test_when_all_want_any_gpu_everybody_pays_the_highest_bid_that_lost() -> None:
    claims = [
        Claim(
            contract=ContractId(number),
            kind=Kind.INTERRUPTIBLE,
            gpus=(0,),
            price=NanoUsdPerHour(price),
            floor=NanoUsdPerHour(1),
            anywhere=True,
            uniform=True,
        )
        for number, price in enumerate((9, 7, 5, 4, 2), start=1)
    ]
    verdict = clear(2, claims, NOW_MS)
    assert [one.gpus is not None for one in verdict.outcomes] == [True, True, False, False, False]
    assert [one.price for one in verdict.outcomes[:2]] == [5, 5]
    assert [one.price for one in clear(8, claims, NOW_MS).outcomes] == [1] * 5


@given(luck=LUCK, gpus=st.sampled_from((32, 64)), count=st.integers(1, 40))
@settings(max_examples=100)
def test_beyond_sixteen_gpus_the_total_is_within_the_stated_bound(
    luck: random.Random, gpus: int, count: int
) -> None:
    claims = [
        msgspec.structs.replace(claim, anywhere=False, kind=Kind.INTERRUPTIBLE, safe_until_ms=0)
        for claim in some_claims(luck, gpus, count)
    ]
    field = _Field(gpus, dict(enumerate(claims)), NOW_MS)
    reached, optimum = field.worth(field.place()), field.worth(field.exactly())
    assert optimum / (1 + gpus**0.5) <= reached <= optimum


def test_claims_that_are_no_slice_any_more_are_still_decided_on() -> None:
    """A host added GPUs: what was the whole machine is no slice of it."""
    whole = Claim(contract=ContractId(1), kind=Kind.ON_DEMAND, gpus=(0, 1, 2, 3, 4, 5), holds=True)
    bid = new_bid([whole], (6, 7), 5)
    verdict = clear(8, [whole, bid], NOW_MS)
    assert [one.gpus for one in verdict.outcomes] == [whole.gpus, (6, 7)]
    assert to_win(8, [whole, bid], (6, 7)) == 5
    assert to_win(8, [whole, bid], (0, 1)) is None


def test_who_wants_gpus_that_were_taken_out_is_told() -> None:
    bid = new_bid([], (6, 7), 5)
    outcome = clear(4, [bid], NOW_MS).of(bid.contract)
    assert (outcome.gpus, outcome.why) == (None, Reason.HOST)
    assert "not on the machine" in explain(outcome, {bid.contract: bid})


def test_two_holders_of_one_gpu_are_a_fault_of_the_caller() -> None:
    claim = Claim(contract=ContractId(1), kind=Kind.ON_DEMAND, gpus=(0,), holds=True)
    with pytest.raises(AssertionError, match="same GPU"):
        clear(1, [claim, msgspec.structs.replace(claim, contract=ContractId(2))], NOW_MS)
