"""The endpoint's queue: who is next."""

from hypothesis import given
from hypothesis import strategies as st

from mercato.serverless.queue import Queue, Request, RequestIdx


def waiting(idx: int, *, caller: int = 0, cost: float = 1.0, priority: int = 0) -> Request:
    return Request(
        idx=RequestIdx(idx), cost=cost, arrived_s=float(idx), caller=caller, priority=priority
    )


def drain(queue: Queue) -> list[int]:
    found: list[int] = []
    while (request := queue.pop()) is not None:
        found.append(request.idx)
    return found


@given(st.permutations(range(12)))
def test_06_one_caller_is_served_in_order_of_arrival_whatever_the_order_of_polls(
    order: list[int],
) -> None:
    queue = Queue()
    for idx in order:
        queue.push(waiting(idx))
    assert drain(queue) == sorted(order)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30), st.data())
def test_a_request_leaves_once_and_the_sums_agree(
    asked: list[tuple[int, int]], data: st.DataObject
) -> None:
    queue = Queue()
    for idx, (caller, priority) in enumerate(asked):
        queue.push(waiting(idx, caller=caller, priority=priority, cost=1.5))
    gone = data.draw(st.sets(st.integers(0, max(0, len(asked) - 1)), max_size=len(asked)))
    cancelled = {idx for idx in gone if queue.cancel(RequestIdx(idx)) is not None}
    seen = queue.waiting(100.0)
    assert seen.requests == len(asked) - len(cancelled) == len(queue)
    assert abs(seen.units - 1.5 * seen.requests) < 1e-9
    served = drain(queue)
    assert sorted(served) == sorted(set(range(len(asked))) - cancelled)
    assert queue.waiting(100.0).units == 0


def test_a_caller_who_sends_much_does_not_make_the_others_wait_for_all_of_it() -> None:
    queue = Queue()
    for idx in range(100):
        queue.push(waiting(idx, caller=1))
    queue.push(waiting(100, caller=2))
    assert drain(queue).index(100) <= 1


def test_a_lower_priority_number_goes_first() -> None:
    queue = Queue()
    queue.push(waiting(1, priority=1))
    queue.push(waiting(2, priority=0))
    assert drain(queue) == [2, 1]


def test_who_stops_asking_is_given_up_and_so_is_who_is_past_the_deadline() -> None:
    queue = Queue(poll_timeout_s=60)
    queue.push(waiting(1))
    queue.push(waiting(2))
    late = waiting(3)
    late.deadline_s = 30.0
    queue.push(late)
    queue.poll(RequestIdx(2), 50.0)
    assert [request.idx for request in queue.expire(40.0)] == [3]
    assert [request.idx for request in queue.expire(70.0)] == [1]
    assert drain(queue) == [2]
