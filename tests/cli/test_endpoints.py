"""`mercato endpoint` and `mercato worker-group`, against a real market and its engine."""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cli.conftest import Run, assert_one_clear_line
from tests.cli.market import Person, person
from tests.e2e.conftest import Market
from tests.sdk.answering import Answers, answering

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


def test_a_call_streams_what_is_no_stream(mercato: Run) -> None:
    with answering() as server:
        person = Person(mercato, server.url, "secret")
        ready = {"request_idx": 5, "url": server.url}
        server.answer(200, ready)
        server.answer(200, '{\n  "n": 1\n}', Content_Type="application/json")
        assert person.says("endpoint", "call", "llm", "/x", "--stream") == '{"n":1}\n'


def test_a_call_may_wait_for_ever_but_not_for_no_number(mercato: Run) -> None:
    with answering() as server:
        person = Person(mercato, server.url, "secret")
        server.answer(200, {"request_idx": 5, "url": server.url})
        server.answer(200, {"text": "hello"})
        asked = ("endpoint", "call", "llm", "/x", "--timeout")
        assert person.says(*asked, "inf") == '{"text":"hello"}\n'
        refused = person(*asked, "nan")
        assert refused.returncode == 2
        assert "'--timeout'" in refused.stderr


def test_an_endpoint_without_a_name_is_called_as_the_server_named_it(mercato: Run) -> None:
    with answering() as server:
        person = Person(mercato, server.url, "secret")
        server.answer(200, {"id": 4})
        server.answer(200, {"results": [{"id": 4, "endpoint_name": "endpoint-a1702973"}]})
        said = person.says("endpoint", "create", "")
    assert "Endpoint 4 (endpoint-a1702973)" in said
    assert "worker-group create endpoint-a1702973 --template" in said


CREATE = ("endpoint", "create", "llm", "--template", "5f3b", "--wait", "--timeout", "40")


def test_the_first_worker_is_waited_for_before_the_engine_knows_of_it(mercato: Run) -> None:
    mine = {"id": 3, "endpoint_name": "llm", "cold_workers": 1, "max_workers": 1}
    with answering() as server:
        for status, answer in (
            *((200, {"id": 3}), (200, {"id": 4}), (200, {"results": [mine]})),
            *((404, {"msg": "no such endpoint"}), (200, [{"id": 1, "status": "idle"}])),
        ):
            server.answer(status, answer)
        assert "Endpoint 3 (llm)" in Person(mercato, server.url, "secret").says(*CREATE)
    assert len(server.seen) == 5


def test_nobody_waits_for_a_worker_that_is_rented_for_requests_only(mercato: Run) -> None:
    mine = {"id": 3, "endpoint_name": "llm", "cold_workers": 0, "max_workers": 1}
    with answering() as server:
        for answer in ({"id": 3}, {"id": 4}, {"results": [mine]}):
            server.answer(200, answer)
        done = Person(mercato, server.url, "secret")(*CREATE)
    assert done.returncode == 0, done.stderr
    assert "before the first request" in done.stderr
    assert "Endpoint 3 (llm)" in done.stdout
    assert len(server.seen) == 3, "its workers are not asked for"


@dataclass(frozen=True)
class Past:
    """An endpoint three hours old with its traffic, and who asks about it."""

    server: Answers
    person: Person

    def whatif(self, *options: str) -> subprocess.CompletedProcess[str]:
        self.server.seen.clear()
        return self.person("endpoint", "whatif", "llm", *options)


@pytest.fixture
def past(mercato: Run) -> Iterator[Past]:
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
        for answer in ({"results": [shown]}, traffic, [{"id": 1, "perf": 100.0, "slots": 4}]):
            server.answer(200, answer)
        yield Past(server, Person(mercato, server.url, "secret"))


def test_what_if_shows_cost_and_waits_side_by_side(past: Past) -> None:
    done = past.whatif("--days", "0.5", "--set", "min_load=90")
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


@pytest.mark.parametrize("days", ["3650", "1e18"])
def test_what_if_reads_no_traffic_from_before_there_was_an_endpoint(past: Past, days: str) -> None:
    done = past.whatif("--days", days)
    assert done.returncode == 0, done.stderr
    assert len(past.server.seen) == 3, "its endpoint, one day of traffic, its workers"


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--days", ("-1", "0")),
        ("--gpu-price", ("-1",)),
        ("--perf", ("0",)),
        ("--slots", ("0",)),
        ("--start-s", ("-1",)),
    ],
)
def test_what_if_says_which_option_cannot_be(
    past: Past, option: str, values: tuple[str, ...]
) -> None:
    for value in values:
        assert_one_clear_line(past.whatif("--days", "0.2", option, value), option)
        assert len(past.server.seen) <= 1, "nothing is read for it"


def test_what_if_refuses_what_it_cannot_play(renter: Person) -> None:
    renter.says("endpoint", "create", "idle", "--max-workers", "1", "--cold-workers", "0")
    renter.refuses("endpoint", "whatif", "idle", "--set", "target_util", form="target_util=0.8")
    renter.refuses("endpoint", "whatif", "idle", "--set", "speed=3", names="max_workers")
    renter.refuses("endpoint", "whatif", "idle", needs="--perf")
    kind = ("--perf", "10", "--gpu-price", "0.3", "--storage-price", "0.01")
    renter.refuses("endpoint", "whatif", "idle", *kind, why="nothing was asked")
    renter.says("endpoint", "rm", "idle", "--yes")
