"""Which offers are rented: what was measured outweighs what was promised."""

from hypothesis import given
from hypothesis import strategies as st

from mercato.serverless.fleet import Usual, look
from mercato.serverless.recruit import Candidate, Kinds, choose, middle
from mercato.serverless.worker import State
from tests.serverless.fleets import offer, worker

ABOUT = st.floats(0.88, 1.12)
"""How far off a score made elsewhere is."""
KINDS = st.lists(st.tuples(st.floats(50, 500), st.floats(0.05, 1.5), ABOUT), min_size=2, max_size=6)


def learned(kinds: list[tuple[float, float, float]]) -> tuple[list[Candidate], Kinds]:
    """An offer of each kind, and what three workers of each have shown."""
    shown = Kinds()
    offers = []
    for number, (perf, price, off) in enumerate(kinds, start=1):
        kind = f"kind {number}"
        shown.learn(worker(10 * number + n, perf=perf, kind=kind) for n in range(3))
        offers.append(offer(number, perf=perf * off, price=price, kind=kind))
    return offers, shown


@given(KINDS)
def test_36_after_three_workers_of_each_kind_the_choice_is_within_a_tenth_of_the_best(
    kinds: list[tuple[float, float, float]],
) -> None:
    offers, shown = learned(kinds)
    (chosen,) = choose(1.0, 1.0, offers, shown, awake_share=1.0, usual=1_000.0)

    def truly(one: Candidate) -> float:
        perf, _, _ = kinds[one.offer - 1]
        return (one.gpu_price + one.storage_price) / perf

    # Beside the price of fetching the image, which is the same for all of them.
    assert truly(chosen) <= 1.10 * min(map(truly, offers)) + 4_000_000 / 50


def test_36_a_kind_that_is_a_third_worse_is_rented_only_when_nothing_else_is_left() -> None:
    kinds = [(300.0, 0.36, 1.0), (200.0, 0.36, 1.12)]
    offers, shown = learned(kinds)
    good = [offer(100 + n, kind="kind 1") for n in range(5)]
    chosen = choose(1_900.0, 3_000.0, [*offers, *good], shown, awake_share=1.0, usual=1_000.0)
    assert [one.kind for one in chosen] == 6 * ["kind 1"] + ["kind 2"]


def test_36_where_no_offer_is_as_small_as_usual_the_smallest_is_rented() -> None:
    """A large machine's disk costs little for its performance, but it may have to be awake."""
    offers = [offer(1, perf=900.0, price=2.10, kind="H100"), offer(2, perf=172.0, price=0.17)]
    (chosen,) = choose(140.0, 280.0, offers, Kinds(), awake_share=0.0, usual=140.0)
    assert chosen.offer == 2


def test_hardware_of_which_nothing_is_known_is_of_the_usual_size_and_rented_last() -> None:
    unknown = [offer(name, perf=0.0, price=0.01, kind="unknown") for name in (1, 2, 3)]
    offers = [*unknown, offer(4)]
    chosen = choose(500.0, 3_000.0, offers, Kinds(), awake_share=1.0, usual=300.0)
    assert [one.offer for one in chosen] == [4, 1]
    assert middle(offers, Kinds()) == 300.0
    assert middle(unknown, Kinds()) == 0.0


def test_a_worker_of_which_nothing_is_known_counts_as_an_average_one() -> None:
    unknown = worker(2, State.LOADING, perf=0.0, kind="unknown")
    before = Usual(worker=80.0)
    assert look([worker(1), unknown], Kinds(), before).perfs == {1: 300.0, 2: 300.0}
    assert look([unknown], Kinds(), before).perfs == {2: 80.0}


def test_an_offer_is_rented_by_bid_or_on_demand_and_not_twice() -> None:
    offers = [offer(1, price=0.36), offer(1, price=0.18, by_bid=True), offer(2, price=0.40)]
    chosen = choose(500.0, 3_000.0, offers, Kinds(), awake_share=1.0, usual=300.0)
    assert [(one.offer, one.bid is not None) for one in chosen] == [(1, True), (2, False)]
