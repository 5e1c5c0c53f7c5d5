"""How requests find workers: the behaviours that a right engine must show, by their numbers."""

import heapq
import random
import sys
import tracemalloc
from collections import deque
from types import FrameType

import msgspec
import pytest

from mercato.engine.ledger import Where
from mercato.engine.numbers import LARGEST, Numbers
from mercato.engine.request import HOLD_S
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.queue import RequestIdx
from mercato.wire.worker import AuthData, issued_ms
from tests.engine.scene import Asking, Scene, vast


async def test_01_one_signature_serves_all_requests_of_a_worker() -> None:
    scene = await Scene(vast(worker_wait_max_s=1e9)).open()
    await scene.staff(1)
    for _ in range(10_000):
        assert scene.ask().worker == 1
    assert scene.engine.signer.signed == 1


async def test_02_the_answer_has_all_that_a_worker_wants_and_its_number_never_comes_again() -> None:
    scene = await Scene(vast(worker_wait_max_s=1e9)).open()
    await scene.staff(1)
    ready = scene.ask(cost=7.5).answers[0]
    assert ready is not None
    said = msgspec.json.decode(msgspec.json.encode(ready))
    assert {"cost", "endpoint", "reqnum", "request_idx", "signature", "url"} <= said.keys()
    assert said["url"] == "http://127.0.0.1:1"
    assert said["cost"] == 7.5
    auth = msgspec.convert(said, AuthData)
    secret = scene.post(1).fact.token_hash
    assert issued_ms(secret, auth, 1) == scene.clock.now_ms()
    assert issued_ms(secret, auth, 2) is None


def test_02_numbers_are_unique_over_a_million_and_over_a_restart() -> None:
    numbers, seen = Numbers(), set()
    now_ms = 1_800_000_000_000
    for count in range(1_000_000):
        seen.add(numbers.next(now_ms + count // 5_000))
    again = Numbers()
    seen |= {again.next(now_ms + 400 + count) for count in range(1_000)}
    assert len(seen) == 1_001_000
    assert max(seen) < LARGEST


async def test_04_a_decision_takes_no_more_steps_among_many_workers_than_among_few() -> None:
    few, many = [await _steps(workers) for workers in (10, 1_000)]
    assert many < 2 * few


async def _steps(workers: int) -> float:
    """Calls of functions that a decision makes, on average over many: a count, so no luck in it."""
    scene = await Scene(vast(worker_wait_max_s=1e9)).open()
    for worker in range(1, workers + 1):
        scene.market.add_worker(scene.definition, worker, f"token {worker}")
    await scene.engine.refresh()
    for worker in range(1, workers + 1):
        scene.report(worker, slots=4)
    for _ in range(workers):
        scene.ask()  # the first for a worker takes in its secret
    made = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal made
        made += event in {"call", "c_call"}

    sys.setprofile(count)
    for _ in range(2_000):
        scene.ask()
    sys.setprofile(None)
    return made / 2_000


async def test_05_room_is_given_at_once_to_who_is_on_the_line_and_nobody_is_held_long() -> None:
    scene = await Scene(slots=1).open()
    await scene.staff(1)
    first, second = scene.ask(), scene.ask()
    third = scene.ask()
    assert (first.worker, second.worker, third.answers) == (1, 1, [])
    scene.finish(1, first.idx)
    assert third.worker == 1  # in the very call that brought the news
    waiting = scene.ask()
    await scene.pass_time(HOLD_S)
    assert waiting.answers == [None]
    assert HOLD_S < 8


@pytest.mark.parametrize("restart", [False, True])
async def test_06_a_serial_worker_gets_500_requests_in_the_order_of_their_coming(
    restart: bool,  # noqa: FBT001 - a case
) -> None:
    scene = await Scene(slots=1).open()
    await scene.staff(1)
    clients: list[Asking] = []
    for _ in range(500):
        scene.clock.time_s += 0.001
        clients.append(scene.ask())
    handed = [client for client in clients if client.worker]
    if restart:
        scene = await _taken_over(scene, clients, handed)
    order = [client.idx for client in handed]
    while len(order) < 500:
        oldest = min(int(idx) for idx in scene.fleet.ledger.at(scene.post(1).worker.id))
        scene.finish(1, oldest)
        order += [c.idx for c in clients if c.worker and c.idx not in set(order)]
    assert order == [client.idx for client in clients]


async def _taken_over(scene: Scene, clients: list[Asking], handed: list[Asking]) -> Scene:
    """The engine dies; the clients ask the next one, in any order, with the numbers they have."""
    working = [client.idx for client in handed]
    await scene.again()
    scene.report(1, working_request_idxs=working, cur_load=100.0 * len(working), slots=1)
    for client in sorted(clients, key=lambda client: client.idx % 7):
        if client not in handed:
            client.again()
    return scene


async def test_07_unlike_workers_share_the_work_by_their_speed() -> None:
    scene = await Scene(vast()).open()
    speeds = {1: 100.0, 2: 200.0, 3: 400.0}
    for worker, perf in speeds.items():
        await scene.staff(worker, perf=perf)
    luck, clock = random.Random(7), scene.clock
    began_s = clock.time_s
    running: dict[int, deque[int]] = {worker: deque() for worker in speeds}
    ends: list[tuple[float, int]] = []
    done = dict.fromkeys(speeds, 0)
    waits: list[float] = []

    def begin(worker: int) -> None:
        if running[worker]:
            heapq.heappush(ends, (clock.time_s + 100.0 / speeds[worker], worker))

    arrival_s = clock.time_s
    for _ in range(30_000):
        arrival_s += luck.expovariate(0.9 * 7.0)
        while ends and ends[0][0] <= arrival_s:
            clock.time_s, worker = heapq.heappop(ends)
            done[worker] += 1
            scene.finish(worker, running[worker].popleft(), took_s=100.0 / speeds[worker])
            begin(worker)
        clock.time_s = arrival_s
        client = scene.ask(cost=100.0)
        assert client.worker is not None
        waits.append(len(running[client.worker]) * 100.0 / speeds[client.worker])
        running[client.worker].append(client.idx)
        if len(running[client.worker]) == 1:
            begin(client.worker)
    total = sum(done.values())
    for worker, perf in speeds.items():
        assert done[worker] / total == pytest.approx(perf / 700.0, rel=0.05)
    assert clock.time_s > began_s
    assert sorted(waits)[int(0.95 * len(waits))] < 10.0  # M/M/3 at this load: 6 s


REFUSED_S = 30.0
"""The official worker refuses a request when what it has already takes longer than that."""
BYTES_WAITING = 2_048


@pytest.mark.parametrize(
    ("parameters", "most"),
    # By least work one more is bound while the wait is within the endpoint's bound.
    [(Endpoint(workers_min=0), 8), (vast(worker_wait_max_s=REFUSED_S), 9)],
    ids=["auto", "vast"],
)
async def test_08_a_thundering_herd_fills_the_slots_and_no_more(
    parameters: Endpoint, most: int
) -> None:
    scene = await Scene(parameters).open()
    await scene.staff(*range(1, 11), perf=80.0, slots=8)
    workers = [scene.post(worker).worker for worker in range(1, 11)]
    given = deque(scene.ask(cost=300.0) for _ in range(10 * most))
    tracemalloc.start()
    waiting = deque(scene.ask(cost=300.0) for _ in range(5_000 - len(given)))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All that a request costs while it waits, the client's half here included.
    assert held < BYTES_WAITING * len(waiting)
    assert all(worker.requests == most for worker in workers)
    waits = scene.fleet.ledger.waiting(scene.clock.time_s).requests
    assert scene.desk.on_the_line == waits == len(waiting)
    # And so it goes to the last of them: in order, and none is sent to where it is refused.
    while given:
        done = given.popleft()
        assert done.worker is not None
        scene.finish(done.worker, done.idx, took_s=0.0)
        while waiting and waiting[0].worker is not None:
            given.append(waiting.popleft())
        assert all(worker.requests <= most for worker in workers)
        assert all((worker.work - 300.0) / worker.perf <= REFUSED_S for worker in workers)
    assert not waiting
    assert all(worker.requests == 0 for worker in workers)


async def test_09_a_worker_that_dies_is_left_at_once_and_the_request_counts_once() -> None:
    scene = await Scene().open()
    await scene.staff(1, 2, perf=100.0, slots=4)
    clients = [scene.ask(cost=10.0) for _ in range(4)]
    dead = clients[0].worker
    assert dead is not None
    assert scene.desk.load.requests == 4
    clients[0].again()
    assert clients[0].worker not in {None, dead}
    assert scene.desk.load.requests == 4
    for client in clients[1:]:
        if client.worker == dead:
            client.again()
            assert client.worker != dead
    assert all(scene.ask(cost=1.0).worker != dead for _ in range(20))
    await scene.settled()  # nobody answers at its address
    assert scene.post(dead).lost
    assert scene.fleet.ledger.at(scene.post(dead).worker.id) == {}
    assert scene.states[dead] == "error"


async def test_10_a_request_that_comes_back_gets_another_worker_and_always_an_answer() -> None:
    scene = await Scene(vast()).open()
    await scene.staff(1, 2, 3, 4)
    client = scene.ask()
    seen = [client.worker]
    for _ in range(3):
        client.again()
        seen.append(client.worker)
    assert len(set(seen)) == 4  # after three failures, still answered


async def test_10_after_an_error_a_request_goes_elsewhere_and_the_worker_goes_on() -> None:
    scene = await Scene(vast()).open()
    await scene.staff(1, 2)
    other = scene.ask()
    first = other.worker
    assert first is not None
    scene.finish(first, other.idx, status="Error")
    other.again()
    assert other.worker not in {None, first}
    assert scene.ask().worker == first


async def test_10_if_no_other_worker_is_free_the_same_one_may_have_it_again() -> None:
    scene = await Scene(vast()).open()
    await scene.staff(1)
    client = scene.ask()
    scene.finish(1, client.idx, status="Error")
    assert client.again().worker == 1


async def test_13_reports_that_come_twice_or_late_change_nothing() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=4)
    clients = [scene.ask() for _ in range(4)]
    for _ in range(3):
        scene.finish(1, clients[0].idx, clients[1].idx)
    assert scene.post(1).worker.requests == 2
    units = scene.post(1).worker.seen_units
    scene.finish(1, clients[0].idx)
    assert scene.post(1).worker.seen_units == units
    # A report from before the news: what has just ended is not taken up again.
    scene.report(1, working_request_idxs=[client.idx for client in clients], cur_load=400.0)
    assert scene.post(1).worker.requests == 2
    # And with numbers of our own protocol, an older one is not listened to at all.
    scene.report(1, boot="b", sequence=5)
    scene.report(1, boot="b", sequence=4, max_perf=1.0)
    assert scene.post(1).worker.benchmark == 100.0


async def test_14_a_workers_clock_an_hour_off_changes_nothing() -> None:
    seen = []
    for skew_s in (-3_600.0, 0.0, 3_600.0):
        scene = await Scene().open()
        await scene.staff(1)
        client = scene.ask()
        scene.clock.time_s += 2.0
        scene.clock.time_s += skew_s
        told = scene.clock.now_s()
        scene.clock.time_s -= skew_s
        post = scene.post(1)
        finished = msgspec.convert(
            {
                "request_idx": client.idx,
                "success": True,
                "status": "Success",
                "entered_queue_at": told - 2,
                "work_started_at": told - 1,
                "work_completed_at": told,
            },
            type=scene.desk.finish.__annotations__["finished"].__args__[0],
        )
        scene.desk.finish(post, [finished])
        seen.append((post.worker.perf, post.worker.seen_slot_s, post.worker.requests))
    assert seen[0] == seen[1] == seen[2]


async def test_a_request_keeps_its_place_between_polls() -> None:
    scene = await Scene(slots=1).open()
    await scene.staff(1)
    first, second = scene.ask(), scene.ask()
    early = scene.ask()
    await scene.pass_time(HOLD_S)
    late = scene.ask()
    assert early.answers == [None]
    early.again()  # now both are on the line
    scene.finish(1, first.idx)
    assert (early.worker, late.worker) == (1, None)
    scene.finish(1, second.idx)
    assert late.worker == 1


async def test_a_client_that_asks_twice_at_once_has_one_request() -> None:
    scene = await Scene().open()
    client = scene.ask()
    client.again()
    assert client.answers == [None]  # the older line is let go
    assert scene.fleet.ledger.waiting(scene.clock.time_s).requests == 1
    assert scene.desk.load.requests == 1


async def test_who_hangs_up_or_asks_no_more_is_forgotten_in_the_end() -> None:
    scene = await Scene().open()
    client, other = scene.ask(), scene.ask()
    client.hang_up()
    assert scene.desk.on_the_line == 1
    await scene.pass_time(20.0)
    assert scene.fleet.ledger.where(RequestIdx(client.idx)) is Where.UNKNOWN
    assert scene.fleet.ledger.where(RequestIdx(other.idx)) is Where.WAITING
    await scene.pass_time(60.0)
    assert scene.fleet.ledger.where(RequestIdx(other.idx)) is Where.UNKNOWN
    assert scene.fleet.ledger.waiting(scene.clock.time_s).units == 0


async def test_a_deadline_ends_the_wait_and_a_priority_shortens_it() -> None:
    scene = await Scene(slots=1).open()
    await scene.staff(1)
    running = [scene.ask(), scene.ask()]
    hurried = scene.ask(deadline_s=scene.clock.now_s() + 2.0)
    idle, urgent = scene.ask(priority=5), scene.ask(priority=0)
    await scene.pass_time(3.0)
    assert hurried.answers == [None]
    assert scene.fleet.ledger.where(RequestIdx(hurried.idx)) is Where.UNKNOWN
    scene.finish(1, running[0].idx)
    assert (urgent.worker, idle.worker) == (1, None)


async def test_a_busy_caller_does_not_make_the_others_wait_for_all_of_it() -> None:
    scene = await Scene(slots=1).open()
    await scene.staff(1)
    running = [scene.ask(), scene.ask()]
    greedy = [scene.ask(caller=1) for _ in range(50)]
    modest = scene.ask(caller=2)
    scene.finish(1, running[0].idx)
    scene.finish(1, running[1].idx)
    assert modest.worker == 1
    assert sum(client.worker is not None for client in greedy) == 1


async def test_a_number_that_nobody_gave_is_a_new_request() -> None:
    scene = await Scene().open()
    for idx in (-1, 5, 2**60, (scene.clock.now_ms() + 60_000) << 12):
        client = scene.ask(idx=idx)
        assert client.idx != idx


async def test_nobody_can_take_up_anothers_request() -> None:
    scene = await Scene().open()
    mine = scene.ask(caller=1)
    theirs = scene.ask(caller=2, idx=mine.idx)
    assert theirs.idx != mine.idx
    await scene.staff(1, slots=8)
    assert mine.worker == 1
    assert scene.ask(caller=2, idx=mine.idx).idx != mine.idx
    assert scene.fleet.ledger.assigned[RequestIdx(mine.idx)].request.caller == 1


async def test_what_did_not_go_as_it_should_can_be_read_and_how_each_second_went() -> None:
    scene = await Scene(slots=1).open()
    await scene.staff(1)
    client = scene.ask()
    scene.finish(1, client.idx, status="Error")
    forgotten = [scene.ask() for _ in range(3)][-1]
    forgotten.hang_up()
    await scene.pass_time(20.0)
    lines = scene.station.journal.read()
    assert f"request {client.idx} at worker 1: Error" in lines["debug"]
    assert f"request {forgotten.idx} was given up after" in lines["debug"]
    assert "4 requests came, 2 are at work, 1 wait" in lines["trace"]
