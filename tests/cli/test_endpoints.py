"""`mercato endpoint` and `mercato worker-group`, against a real market and its engine."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.market import Person, person
from tests.e2e.conftest import Market
from tests.sdk.answering import answering

WAIT_S = 60.0


@pytest.fixture
def renter(mercato: Run, pretend: Market) -> Person:
    return person(mercato, pretend, "renter")


@pytest.fixture
def template(renter: Person, pretend: Market) -> str:
    """The hash of something for workers to run."""
    made = renter.raw("template", "create", "served", "--image", pretend.image)
    return str(made["template"]["hash_id"])


def eventually(look: Callable[[], Any]) -> Any:
    until = time.monotonic() + WAIT_S
    while not (seen := look()):
        assert time.monotonic() < until, "it never happened"
    return seen


def test_an_endpoint_rents_its_workers_and_says_why(renter: Person, template: str) -> None:
    query = ("--query", "num_gpus=1 verified=any", "--max-workers", "1", "--cold-workers", "1")
    said = renter.says("endpoint", "create", "why", "--template", template, *query)
    assert "/openai/why/v1" in said
    [decided] = eventually(lambda: renter.raw("endpoint", "why", "why")["decisions"])
    worker = decided["worker_id"]
    assert decided["kind"] == "rent"
    assert decided["outcome"] == "done"
    told = renter.says("endpoint", "why", "why", str(worker))
    assert decided["reason"] in told
    assert "Nothing was decided" in renter.says("endpoint", "why", "why", "999999")
    [row] = eventually(lambda: renter.raw("endpoint", "workers", "why"))
    assert row["id"] == worker
    assert f"rent offer {decided['offer_id']}" in renter.says("endpoint", "logs", "why")
    assert "rent offer" not in renter.says("endpoint", "logs", "why", "--level", "0")
    shown = renter.says("endpoint", "show", "why")
    assert template in shown
    assert str(worker) in shown
    assert "1 worker(s)" in renter.says("endpoint", "rm", "why", "--yes")


def test_an_endpoint_is_changed_by_its_name(renter: Person, template: str) -> None:
    renter.says("endpoint", "create", "changing", "--max-workers", "0", "--cold-workers", "0")
    renter.says(
        *("endpoint", "update", "changing", "--target-util", "0.7", "--state", "suspended"),
        *("--policy", "queue", "--name", "changed"),
    )
    made = renter.raw("endpoint", "show", "changed")
    assert (made["target_util"], made["endpoint_state"]) == (0.7, "suspended")
    assert made["policy"] == "queue"
    group = renter.raw("worker-group", "create", "changed", "--template", template)["id"]
    renter.says("worker-group", "update", str(group), "--gpu-ram", "24")
    assert "0 worker(s)" in renter.says("worker-group", "renew", str(group))
    assert "24G" in renter.says("worker-group", "ls", "changed")
    renter.says("worker-group", "rm", str(group), "--yes")
    assert renter.raw("endpoint", "show", str(made["id"]))["worker_groups"] == []
    assert "changed" in renter.says("endpoint", "ls")
    renter.says("endpoint", "rm", "changed", "--yes")


def test_what_cannot_be_is_refused_with_what_to_do(renter: Person) -> None:
    renter.says("endpoint", "create", "there", "--max-workers", "0", "--cold-workers", "0")
    renter.refuses("endpoint", "show", "nowhere", names="nowhere", others="there")
    renter.refuses("endpoint", "update", "there", see="--help")
    renter.refuses("endpoint", "update", "there", "--target-util", "3", field="target_util")
    renter.refuses("endpoint", "logs", "there", "--level", "9", bounds="0 to 3")
    renter.refuses("endpoint", "create", "half", "--query", "num_gpus=1", needs="--template")
    renter.refuses("endpoint", "create", "half", "--template", "nothing", why="template")
    assert "half" not in renter.says("endpoint", "ls"), "what could have no worker is not kept"
    renter.refuses(
        *("endpoint", "workers", "there", "--wait", "--timeout", "0"), hint="endpoint why"
    )
    renter.refuses("endpoint", "call", "there", "/x", "{", what="JSON")
    renter.refuses("endpoint", "call", "there", "/x", "[]", what="object")
    renter.says("endpoint", "rm", "there", "--yes")


def test_a_call_prints_what_the_worker_answered(mercato: Run) -> None:
    with answering() as server:
        person = Person(mercato, server.url, "secret")
        waiting = {"request_idx": 5, "status": "workers: 1 loading"}
        ready = {"request_idx": 5, "url": server.url}
        for answer in (waiting, ready, {"text": "hello"}, ready, 'data: {"n":1}\n\ndata: 2\n'):
            server.answer(200, answer)
        done = person("endpoint", "call", "llm", "/x", '{"prompt":"Hi"}')
        assert done.stdout == '{"text":"hello"}\n'
        assert "llm: waiting workers: 1 loading" in done.stderr
        assert person.says("endpoint", "call", "llm", "/x", "--stream") == '{"n":1}\n2\n'


def test_what_if_shows_cost_and_waits_side_by_side(mercato: Run) -> None:
    now = time.time()  # noqa: TID251 - the program asks about the days before this moment
    shown = {
        "id": 3,
        "endpoint_name": "llm",
        "endpoint_state": "active",
        "policy": "vast",
        "target_util": 0.9,
        "cold_mult": 2.5,
        "max_workers": 4,
        "max_queue_time": 30,
        "target_queue_time": 10,
        "created_at": now - 3 * 3_600,
    }
    asked = [{"at": int(now) - 7_200 + 20 * n, "requests": 2, "units": 400.0} for n in range(60)]
    traffic = {"seconds": asked, "gpu_price": 0.36, "storage_price": 0.02}
    with answering() as server:
        person = Person(mercato, server.url, "secret")
        for answer in ({"results": [shown]}, traffic, [{"id": 1, "perf": 100.0, "slots": 4}]):
            server.answer(200, answer)
        done = person("endpoint", "whatif", "llm", "--days", "0.5", "--set", "min_load=90")
    assert done.returncode == 0, done.stderr
    head, plain, other, about = done.stdout.splitlines()
    assert head.split()[:4] == ["PARAMETERS", "COST", "P50", "P95"]
    assert plain.startswith("as it is")
    assert other.startswith("min_load=90")
    costs = [float(line.split("$")[1].split()[0]) for line in (plain, other)]
    assert 0 < costs[0] < costs[1], "a floor of load costs more"
    assert "100.0 units/s" in about
    assert about.startswith("In 3h"), "it is no older"
    assert costs[0] > 3 * 0.02, "its worker's disk is paid all the time"
    assert "replaying 120 requests" in done.stderr


def test_what_if_refuses_what_it_cannot_play(renter: Person) -> None:
    renter.says("endpoint", "create", "idle", "--max-workers", "1", "--cold-workers", "0")
    renter.refuses("endpoint", "whatif", "idle", "--set", "target_util", form="target_util=0.8")
    renter.refuses("endpoint", "whatif", "idle", "--set", "speed=3", names="max_workers")
    renter.refuses("endpoint", "whatif", "idle", needs="--perf")
    kind = ("--perf", "10", "--gpu-price", "0.3", "--storage-price", "0.01")
    renter.refuses("endpoint", "whatif", "idle", *kind, why="nothing was asked")
    renter.says("endpoint", "rm", "idle", "--yes")
