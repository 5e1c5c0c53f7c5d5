"""What workers report: read as far as it can be, and not believed beyond what can be."""

import json
import math
from typing import Any

import msgspec
import pytest

from mercato.engine.fleet import ADOPTED_MIN, SEEN_MAX
from mercato.engine.hearing import DEAF_S
from mercato.engine.reports import Unreadable, finished_of, status_of
from mercato.serverless.decision import Kind
from mercato.wire.worker import UNITS_MAX
from tests.engine.scene import Scene
from tests.engine.test_scaling import Script, asked_for


def anybody(worker: int, token: str) -> bool:
    return bool(worker) or not token


def nobody(worker: int, token: str) -> bool:
    return not anybody(worker, token)


NO_NUMBERS: list[Any] = ["x", None, 1.5, [1], {}]


@pytest.mark.parametrize("bad", NO_NUMBERS)
def test_one_bad_row_takes_no_other_with_it(bad: object) -> None:
    good = {"request_idx": 5, "success": True, "status": "Success", "work_started_at": 1.0}
    rows = [good, good | {"request_idx": bad}, "no row", good | {"request_idx": "6"}]
    body = {"worker_id": 1, "mtoken": "t", "requests": rows}
    told, left = finished_of(msgspec.json.encode(body), anybody)
    assert [one.request_idx for one in told.requests] == [5, 6]
    assert (told.worker_id, told.mtoken, len(left)) == (1, "t", 2)


@pytest.mark.parametrize("bad", NO_NUMBERS)
def test_one_bad_number_among_the_working_takes_no_other_with_it(bad: object) -> None:
    body = {"id": 1, "max_perf": 5.0, "working_request_idxs": [7, bad, 8], "cur_load": 3.0}
    status, left = status_of(msgspec.json.encode(body), anybody)
    assert (status.working_request_idxs, status.max_perf, status.cur_load) == ([7, 8], 5.0, 3.0)
    assert len(left) == 1


def test_what_is_no_number_is_left_out_and_an_error_stays_one() -> None:
    said = {"id": "1", "cur_load": math.nan, "disk_usage": None, "error_msg": {"no": "GPU"}}
    status, left = status_of(json.dumps(said).encode(), anybody)  # as Python writes it: NaN
    assert math.isnan(status.cur_load)
    assert (status.id, status.disk_usage) == (1, 0.0)
    assert "GPU" in (status.error_msg or "")
    assert left == ["error_msg", "disk_usage"]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"max_perf":5}',
        b'{"id":1,"max_perf":"fast"}',
        b'{"id":1,"slots":null}',
        b'{"id":1,"url":5}',
        b'{"id":1,"x":' + b"1" * 5_000_000,
    ],
)
def test_what_has_to_be_believed_is_refused_when_it_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Unreadable):
        status_of(body, anybody)
    with pytest.raises(Unreadable):
        finished_of(body, anybody)


@pytest.mark.parametrize("text", ["caf\udce9", "a\0b", "\ud800"])
def test_what_is_said_can_be_kept(text: str) -> None:
    told = json.dumps({"id": 1, "mtoken": "t", "error_msg": f"CUDA {text}", "cur_load": 1}).encode()
    status, _ = status_of(told, anybody)
    row = {"request_idx": 5, "status": text}
    ended, _ = finished_of(json.dumps({"worker_id": 1, "requests": [row, {}]}).encode(), anybody)
    for said in (status.error_msg or "", ended.requests[0].status):
        assert said.encode().decode() == said
    assert "\0" not in (status.error_msg or "")
    assert (status.error_msg or "").startswith("CUDA ")


def test_a_stranger_gets_no_second_reading_and_nobody_an_endless_one() -> None:
    many = json.dumps({"id": 1, "mtoken": "t", "working_request_idxs": [""] * 20_000}).encode()
    rows = json.dumps({"worker_id": 1, "mtoken": "t", "requests": [1] * 20_000}).encode()
    for knows, why in ((nobody, "no worker of ours"), (anybody, "parts of it are bad")):
        with pytest.raises(Unreadable, match=why):
            status_of(many, knows)
        with pytest.raises(Unreadable, match=why):
            finished_of(rows, knows)


@pytest.mark.parametrize("amount", [-5.0, math.nan, math.inf, -math.inf, 1e300])
async def test_an_amount_that_cannot_be_is_bounded_and_the_rest_is_heard(amount: float) -> None:
    scene = await Scene().open()
    await scene.hire(1)
    idxs = [scene.clock.now_ms() << 12]
    names = ("cur_load", "new_load", "cur_perf", "disk_usage", "rej_load")
    scene.report(1, working_request_idxs=idxs, **dict.fromkeys(names, amount))
    post = scene.post(1)
    assert scene.states == {1: "idle"}
    assert 0 <= post.worker.work <= UNITS_MAX
    assert all(0 <= each <= UNITS_MAX for each in (post.load, post.new_load, post.disk_gb))


# Work.


@pytest.mark.parametrize("cost", [1e6, 1e12])
async def test_15_a_request_that_claims_to_be_huge_makes_no_worker_a_giant(cost: float) -> None:
    scene = await Scene().open()
    await scene.staff(1, 2)
    client = scene.ask(cost=cost)
    assert client.worker is not None
    await scene.pass_time(1.0)
    scene.finish(client.worker, client.idx)
    await scene.pass_time(2.0)
    perfs = [post.worker.perf for post in scene.fleet.posts.values()]
    assert max(perfs) <= SEEN_MAX * 100.0


async def test_a_worker_is_not_believed_to_have_any_number_of_strange_requests() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    base = scene.clock.now_ms() << 12
    for turn in range(5):
        scene.clock.time_s += 1.0
        many = [base + 20_000 * turn + n for n in range(20_000)]
        scene.report(1, working_request_idxs=many, cur_load=1.0)
    assert len(scene.fleet.ledger.assigned) <= ADOPTED_MIN
    # What it is done with makes room for others.
    for _ in range(8):
        scene.clock.time_s += 1.0
        scene.report(1, working_request_idxs=[], cur_load=0.0)
    assert scene.fleet.ledger.assigned == {}
    scene.report(1, working_request_idxs=[base + n for n in range(10)], cur_load=1.0)
    assert len(scene.fleet.ledger.assigned) == 10


@pytest.mark.parametrize("idx", [0, -1, 7, 2**70])
async def test_a_number_that_no_engine_gave_is_nobodys(idx: int) -> None:
    scene = await Scene().open()
    await scene.staff(1)
    scene.report(1, working_request_idxs=[idx], cur_load=5.0)
    assert scene.post(1).worker.requests == 0


async def test_a_flood_of_reports_from_one_worker_is_not_looked_at() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    post = scene.post(1)
    for perf in range(1, 1_001):
        scene.report(1, max_perf=float(perf))
    assert post.worker.benchmark < 50.0
    scene.clock.time_s += 1.0
    scene.report(1, max_perf=777.0)
    assert post.worker.benchmark == 777.0


async def test_a_request_that_fails_everywhere_keeps_nobody_from_working() -> None:
    scene = await Scene().open()
    await scene.staff(1, 2, 3, slots=4)
    bad = scene.ask()
    for _ in range(9):
        assert bad.worker is not None
        scene.finish(bad.worker, bad.idx, status="Error")
        scene.clock.time_s += 2.0
        bad.again()
    assert scene.ask().worker is not None
    assert len(scene.fleet.router) == 3


# Runs.


@pytest.mark.parametrize("boot", ["", "a"])
@pytest.mark.parametrize("error", ["", "CUDA error"])
async def test_what_the_old_run_says_after_a_restart_was_ordered_is_not_heard(
    boot: str, error: str
) -> None:
    scene = await Scene().open()
    await scene.staff(1)
    Script(scene)
    scene.report(1, boot=boot, sequence=1, error_msg="CUDA error")
    await scene.pass_time(1.0)
    assert scene.market.rebooted == [1]
    for second in range(10):  # so long a container may take to end
        scene.report(1, boot=boot, sequence=2 + second, error_msg=error)
        assert scene.ask().worker is None
        await scene.pass_time(1.0)
    assert scene.states == {1: "rebooting"}
    assert scene.market.rebooted == [1]
    assert asked_for(scene, Kind.DESTROY) == []
    scene.report(1, boot=boot and "b", sequence=1, loadtime=0.0, max_perf=0.0)
    scene.report(1, boot=boot and "b", sequence=2)
    assert scene.states == {1: "idle"}


async def test_a_run_without_a_name_is_heard_again_after_a_while() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    Script(scene)
    scene.report(1, error_msg="CUDA error")
    await scene.pass_time(1.0)
    await scene.pass_time(DEAF_S)
    scene.report(1)
    assert scene.states == {1: "idle"}


async def test_a_run_whose_restart_the_market_refuses_is_heard() -> None:
    scene = await Scene().open()
    await scene.staff(1)
    Script(scene)

    async def refuse(*_: Any) -> str:
        return "no credit is left"

    scene.market.reboot = refuse  # type: ignore[assignment, method-assign]
    scene.report(1, boot="a", sequence=1, error_msg="CUDA error")
    await scene.pass_time(0.5)
    scene.report(1, boot="a", sequence=2)
    assert scene.states == {1: "idle"}
