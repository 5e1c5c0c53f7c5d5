"""What the engine believes of workers, and what becomes of those that are not well."""

import contextlib
import math
from collections.abc import AsyncIterator

import pytest

from mercato.engine.post import ORDER_SEEN_S, BadReport
from mercato.http.call import Call
from mercato.http.server import Server
from mercato.market.contract import Kind as Contract
from mercato.market.ids import ContractId
from mercato.market.instance import State as Instance
from mercato.serverless.decision import Kind
from mercato.serverless.endpoint import Endpoint
from mercato.serverless.scale import decide
from tests.engine.scene import Scene, vast


@contextlib.asynccontextmanager
async def alive() -> AsyncIterator[str]:
    """An address at which something answers."""

    def take(call: Call) -> None:
        call.answer(404)

    server = Server(take, print)
    port = await server.listen("127.0.0.1", 0)
    yield f"http://127.0.0.1:{port}"
    await server.stop(0.0)


def destroyed(scene: Scene) -> list[int]:
    return [
        int(decision.worker or 0)
        for _, decision, _, _ in scene.market.carried_out
        if decision.kind is Kind.DESTROY
    ]


async def test_11_a_silent_worker_that_is_there_goes_on_and_one_that_is_not_is_left() -> None:
    async with alive() as url:
        scene = await Scene().open()
        await scene.staff(1, 2, slots=4)
        scene.report(1, url=url)
        await scene.pass_time(26.0, quiet=[1, 2])
        assert scene.states == {1: "idle", 2: "error"}
        assert all(scene.ask(cost=1.0).worker == 1 for _ in range(3))
        await scene.pass_time(30.0, quiet=[1, 2])
        assert scene.states[1] == "idle"
        assert scene.market.rebooted == []
        await scene.pass_time(10.0, quiet=[1, 2])
        assert scene.market.rebooted == [2]
        assert destroyed(scene) == []
        assert scene.states[1] == "idle"


async def test_11_nobody_is_given_back_for_silence_alone_before_three_minutes() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    await scene.pass_time(179.0, quiet=[1])
    assert destroyed(scene) == []


async def test_12_when_no_report_comes_through_routing_goes_on_by_the_clock() -> None:
    async with alive() as url:
        scene = await Scene(slots=2).open()
        await scene.staff(1, 2, 3, perf=100.0, slots=2)
        for worker in (1, 2, 3):
            scene.report(worker, url=url)
        clients = []
        for _ in range(300):
            clients.append(scene.ask(cost=100.0))
            await scene.pass_time(1.0, quiet=[1, 2, 3])
            for client in clients:
                if client.answers and client.answers[-1] is None:
                    client.again()
        # The clock alone frees their slots, late but surely: 3 workers of 2 slots, 10 s each.
        served = [client.worker is not None for client in clients]
        assert sum(served) > 150
        assert all(served[:100])
        assert scene.market.carried_out == []
        assert scene.market.rebooted == []
        assert set(scene.states.values()) == {"idle"}


@pytest.mark.parametrize(
    "said",
    [
        {"max_perf": -1.0},
        {"max_perf": math.nan},
        {"max_perf": math.inf},
        {"max_perf": 1e308},
        {"loadtime": -1.0},
        {"loadtime": math.nan},
        {"slots": -1},
        {"slots": 10**9},
        {"url": "ftp://127.0.0.1:1"},
        {"url": "http://127.0.0.1:1/path"},
        {"url": "http://user@127.0.0.1:1"},
        {"url": "http://evil.example:1"},
        {"url": "http://127.0.0.1:99999"},
        {"working_request_idxs": list(range(30_000))},
    ],
)
async def test_15_a_report_that_cannot_be_true_is_refused_whole(said: dict[str, object]) -> None:
    scene = await Scene().open()
    await scene.hire(1, address="127.0.0.1")
    with pytest.raises(BadReport):
        scene.report(1, **said)
    assert scene.ask().worker is None
    scene.report(1)
    with pytest.raises(BadReport):
        scene.report(1, **said)
    assert scene.ask().worker == 1


async def test_15_a_worker_without_performance_gets_nothing() -> None:
    scene = await Scene().open()
    await scene.hire(1)
    scene.report(1, max_perf=0.0)
    assert scene.states == {1: "loading"}
    assert scene.ask().worker is None


async def test_15_one_workers_boast_is_known_for_one_by_its_kind_and_by_its_work() -> None:
    scene = await Scene().open()
    await scene.staff(1, 2, 3, perf=100.0, slots=4)
    await scene.staff(4, perf=800.0, slots=4)
    await scene.pass_time(1.0)
    post = scene.post(4)
    assert post.worker.perf == pytest.approx(160.0)
    for _ in range(120):  # two minutes of work at 100 units/s, in four slots
        clients = [scene.ask(cost=100.0) for _ in range(4)]
        scene.clock.time_s += 4.0
        for client in clients:
            if client.worker is not None:
                scene.finish(client.worker, client.idx, took_s=4.0)
    assert post.worker.perf == pytest.approx(100.0, rel=0.25)


async def test_16_a_worker_at_half_its_speed_is_drained_and_replaced_within_five_minutes() -> None:
    scene = await Scene(vast()).open()
    await scene.staff(1, 2, 3, perf=100.0)
    began_s = scene.clock.time_s
    while not destroyed(scene):
        assert scene.clock.time_s - began_s < 300.0
        clients = [scene.ask(cost=100.0) for _ in range(3)]
        await scene.pass_time(2.0)
        for client in clients:
            if client.worker is not None:
                took_s = 2.0 if client.worker == 1 else 1.0
                scene.finish(client.worker, client.idx, took_s=took_s)
    assert destroyed(scene) == [1]


async def test_16_where_nobody_keeps_its_claim_the_requests_are_hard_and_nobody_is_to_blame() -> (
    None
):
    scene = await Scene(vast()).open()
    await scene.staff(1, 2, perf=100.0)
    await scene.staff(3, perf=180.0)  # a benchmark is a matter of luck, too
    for _ in range(100):
        clients = [scene.ask(cost=100.0) for _ in range(3)]
        await scene.pass_time(5.0)
        for client in clients:
            assert client.worker is not None
            scene.finish(client.worker, client.idx, took_s=5.0)
    assert destroyed(scene) == []
    assert all(post.worker.perf < 60.0 for post in scene.fleet.posts.values())


async def test_23_a_stopped_worker_whose_gpus_are_taken_counts_for_nothing() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    scene.market.change_worker(1, state=Instance.STOPPED)
    await scene.engine.refresh()
    assert scene.states == {1: "stopped"}
    scene.market.change_worker(1, state=Instance.SCHEDULING)
    await scene.engine.refresh()
    assert scene.states == {1: "unavail"}


async def test_22_when_half_are_outbid_their_requests_go_elsewhere_and_sleepers_are_woken() -> None:
    scene = await Scene(Endpoint(workers_min=0, load_min=360.0)).open()
    await scene.staff(1, 2, slots=2)
    for worker in (3, 4):
        await scene.hire(worker, contract=Contract.INTERRUPTIBLE, gpu_price=0)
        scene.report(worker, slots=2)
    await scene.staff(5, 6, slots=2)
    for worker in (5, 6):
        scene.market.change_worker(worker, state=Instance.STOPPED)
    await scene.engine.refresh()
    assert [scene.post(worker).worker.interruptible for worker in (1, 3)] == [False, True]
    clients = [scene.ask() for _ in range(8)]
    lost = [client for client in clients if client.worker in {3, 4}]
    assert len(lost) == 4
    for worker in (3, 4):
        scene.market.change_worker(worker, state=Instance.STOPPING)
    await scene.engine.refresh()
    scene.policy = decide
    for client in lost:
        client.again()
        assert len(client.answers) == 1 or client.worker in {1, 2}
    for worker in (3, 4):
        scene.market.change_worker(worker, state=Instance.SCHEDULING)
    await scene.pass_time(1.0)
    # Nobody wakes who cannot wake: an on-demand worker that sleeps is woken in the same second.
    woken = [one.worker for _, one, _, _ in scene.market.carried_out if one.kind is Kind.WAKE]
    assert sorted(int(worker or 0) for worker in woken) == [5, 6]
    for worker in (5, 6):
        scene.report(worker, max_perf=100.0, slots=8)
    assert all(client.worker in {1, 2, 5, 6} for client in lost)
    assert {scene.states[worker] for worker in (3, 4)} == {"unavail"}
    assert [scene.post(worker).worker.requests for worker in (3, 4)] == [0, 0]
    # Its bid wins again: it starts, and serves once it says so.
    scene.market.change_worker(3, state=Instance.RUNNING)
    await scene.engine.refresh()
    assert scene.states[3] == "starting"
    scene.report(3, max_perf=100.0)
    assert scene.states[3] == "idle"


async def test_22_who_was_outbid_finishes_and_gets_nothing_new_unless_nobody_else_is_there() -> (
    None
):
    scene = await Scene().open()
    await scene.staff(1, 2)
    first, second = scene.ask(), scene.ask()
    assert {first.worker, second.worker} == {1, 2}
    scene.market.change_worker(2, leaves=True)
    await scene.engine.refresh()
    assert scene.post(2).worker.requests == 1
    for client in (first, second):
        assert client.worker is not None
        scene.finish(client.worker, client.idx)
    more = [scene.ask() for _ in range(4)]
    assert {client.worker for client in more} <= {1, None}
    assert more[-1].worker is None
    scene.market.change_worker(1, state=Instance.STOPPED)
    await scene.engine.refresh()
    await scene.pass_time(1.0)
    assert scene.post(2).worker.requests > 0


@pytest.mark.parametrize("ended", [Instance.STOPPED, Instance.EXITED, Instance.FAILED])
async def test_a_worker_whose_container_has_ended_has_no_requests(ended: Instance) -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=4)
    clients = [scene.ask() for _ in range(3)]
    scene.market.change_worker(1, state=ended)
    await scene.engine.refresh()
    assert (scene.post(1).worker.requests, scene.post(1).worker.work) == (0, 0.0)
    await scene.staff(2, slots=4)
    assert all(client.again().worker == 2 for client in clients)
    assert scene.desk.load.requests == 3


@pytest.mark.parametrize(
    ("instance", "label"),
    [
        (Instance.SCHEDULING, "pending"),
        (Instance.CREATING, "creating"),
        (Instance.LOADING, "loading"),
        (Instance.RUNNING, "loading"),
        (Instance.STOPPING, "stopping"),
        (Instance.STOPPED, "stopped"),
        (Instance.EXITED, "error"),
        (Instance.FAILED, "error"),
        (Instance.OFFLINE, "unavail"),
        (Instance.DESTROYING, "destroying"),
    ],
)
async def test_a_new_workers_state_is_what_the_market_says(instance: Instance, label: str) -> None:
    scene = await Scene().open()
    await scene.hire(1, state=instance)
    assert scene.states == {1: label}


async def test_a_woken_worker_starts_and_needs_no_loading() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    scene.market.change_worker(1, state=Instance.STOPPED)
    await scene.engine.refresh()
    scene.market.change_worker(1, state=Instance.RUNNING)
    await scene.engine.refresh()
    assert scene.states == {1: "starting"}
    scene.report(1, loadtime=0.0, max_perf=0.0)
    assert scene.states == {1: "starting"}
    scene.report(1, max_perf=100.0)
    assert scene.states == {1: "idle"}


async def test_a_worker_in_error_is_restarted_twice_then_given_back_and_its_machine_cooled() -> (
    None
):
    scene = await Scene().open()
    await scene.staff(1)
    for count in (1, 2):
        scene.report(1, error_msg="CUDA error")
        assert scene.states == {1: "error"}
        await scene.pass_time(1.0)
        assert scene.market.rebooted == [1] * count
        assert scene.states == {1: "rebooting"}
        scene.report(1, loadtime=0.0)
        scene.report(1)
        assert scene.states == {1: "idle"}
    scene.report(1, error_msg="CUDA error")
    await scene.pass_time(1.0)
    assert destroyed(scene) == [1]
    assert "CUDA error" in scene.market.carried_out[-1][1].reason


async def test_a_restart_that_the_market_refuses_is_told_and_blames_no_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await Scene().open()

    async def refuse(_worker: ContractId, _fence: int) -> str:
        return "no credit is left"

    monkeypatch.setattr(scene.market, "reboot", refuse)
    await scene.staff(1)
    for _ in range(2):
        scene.report(1, error_msg="CUDA error")
        await scene.pass_time(1.0)
        scene.report(1)
    scene.report(1, error_msg="CUDA error")
    await scene.pass_time(1.0)
    assert destroyed(scene) == [1]
    reason = scene.market.carried_out[-1][1].reason
    assert "CUDA error; the market would not restart it: no credit is left" in reason
    events = str(scene.station.journal.read())
    assert "worker 1 is restarted: CUDA error [no credit is left]" in events
    assert not scene.station.scaling._sale._cool_machines


async def test_a_worker_whose_container_ended_has_time_to_be_started_before_it_is_given_up() -> (
    None
):
    scene = await Scene().open()
    await scene.staff(1)
    scene.market.change_worker(1, state=Instance.EXITED)
    await scene.pass_time(ORDER_SEEN_S - 1.0)
    assert scene.market.rebooted == [1]
    assert scene.states == {1: "rebooting"}
    scene.market.change_worker(1, state=Instance.STOPPING)
    await scene.pass_time(30.0, quiet=[1])
    assert scene.states == {1: "rebooting"}
    scene.market.change_worker(1, state=Instance.RUNNING)
    await scene.pass_time(1.0)
    scene.report(1, loadtime=0.0)
    scene.report(1)
    assert scene.states == {1: "idle"}
    assert scene.market.rebooted == [1]


async def test_a_worker_whose_container_ends_at_every_start_is_given_back() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    scene.market.change_worker(1, state=Instance.EXITED)
    await scene.pass_time(3.0 * ORDER_SEEN_S, quiet=[1])
    assert scene.market.rebooted == [1, 1]
    assert destroyed(scene) == [1]


async def test_a_worker_that_restarts_by_itself_has_lost_what_it_had() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=4)
    scene.report(1, boot="a", sequence=9)
    clients = [scene.ask() for _ in range(4)]
    assert scene.post(1).worker.requests == 4
    scene.report(1, boot="b", sequence=1, loadtime=0.0, max_perf=0.0, working_request_idxs=[])
    assert scene.post(1).worker.requests == 0
    assert scene.states == {1: "starting"}
    scene.report(1, boot="b", sequence=2, max_perf=100.0)
    assert clients[0].again().worker == 1
    assert scene.desk.load.requests == 4


async def test_what_a_client_never_brought_to_its_worker_is_let_go() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=4)
    scene.ask()
    for _ in range(10):
        scene.clock.time_s += 1.0
        scene.report(1, working_request_idxs=[], cur_load=0.0)
    assert scene.post(1).worker.requests == 1
    scene.clock.time_s += 1.0
    scene.report(1, working_request_idxs=[], cur_load=0.0)
    assert scene.post(1).worker.requests == 0


async def test_what_a_worker_has_that_nobody_gave_it_is_counted_as_its_load() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=2)
    strange = [(scene.clock.now_ms() << 12) + n for n in range(2)]
    scene.report(1, working_request_idxs=strange, cur_load=300.0)
    assert (scene.post(1).worker.requests, scene.post(1).worker.work) == (2, 300.0)
    scene.finish(1, *strange)
    assert (scene.post(1).worker.requests, scene.post(1).worker.work) == (0, 0.0)


async def test_a_request_whose_end_was_never_told_is_let_go() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=2)
    scene.ask()
    scene.report(1)
    for _ in range(7):
        scene.clock.time_s += 1.0
        scene.report(1, working_request_idxs=[], cur_load=0.0)
    assert scene.post(1).worker.requests == 0


async def test_slots_are_learned_from_requests_that_were_worked_on_at_once() -> None:
    scene = await Scene().open()
    await scene.hire(1)
    scene.report(1, slots=0)
    assert scene.post(1).worker.slots == 1
    for _ in range(40):
        for _ in range(12):
            scene.ask()
        scene.clock.time_s += 2.0
        for idx in tuple(scene.fleet.ledger.at(scene.post(1).worker.id)):
            scene.finish(1, int(idx), took_s=1.5)
    assert scene.post(1).worker.slots == 10


async def test_three_failures_of_ten_keep_a_worker_out_for_a_while() -> None:
    scene = await Scene().open()
    await scene.staff(1, slots=8)
    for _ in range(3):
        client = scene.ask()
        scene.finish(1, client.idx, status="Error")
    assert scene.ask().worker is None
    waiting = scene.ask()
    await scene.pass_time(6.0)
    assert waiting.worker == 1


async def test_a_client_that_comes_back_to_a_living_worker_costs_it_nothing() -> None:
    async with alive() as url:
        scene = await Scene().open()
        await scene.staff(1, slots=8)
        scene.report(1, url=url)
        client = scene.ask()
        client.again()
        assert client.answers[-1] is not None or scene.desk.on_the_line == 1
        await scene.settled()
        assert client.worker == 1
        assert scene.states == {1: "idle"}
