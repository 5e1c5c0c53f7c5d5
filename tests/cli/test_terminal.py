"""What a person sees at a terminal, what a pipe gets, and what Ctrl-C does."""

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, assert_one_clear_line
from tests.cli.market import Person
from tests.cli.terminal import CTRL_C, Terminal, at_terminal
from tests.sdk.answering import Answers, answering

INSTANCE: dict[str, Any] = {
    "id": 1_234_567,
    "state": "running",
    "actual_status": "running",
    "intended_status": "running",
    "num_gpus": 8,
    "gpu_name": "RTX 4090",
    "dph_total": 1_234.5,
    "disk_space": 4_000,
    "image_uuid": "registry.example.com/somebody/pytorch:2.9-cuda12.8",
    "label": "the training of the night",
    "public_ipaddr": "203.0.113.177",
    "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "40012"}]},
    "start_date": 1_700_000_000.5,
    "status_msg": "all is well " * 20,
}
PS = {"instances": [INSTANCE], "next_token": None}
OFFERS = {
    "offers": [
        {
            "id": 51_234_567,
            "num_gpus": 8,
            "gpu_name": "RTX PRO 6000 Blackwell",
            "gpu_ram": 98_000,
            "cpu_cores_effective": 128,
            "cpu_ram": 1_024_000,
            "disk_space": 14_000,
            "dph_total": 1_234.5,
            "dlperf": 12_345.6,
            "reliability": 0.995,
            "duration": 2_600_000,
            "geolocation": "Frankfurt am Main, DE",
            "machine_id": 1_234_567,
        }
    ]
}
LOOPS = {
    "loops": [
        {
            "name": "reconcile_deployments",
            "period_s": 86_400.0,
            "age_s": 7_261.0,
            "report": {"looked_at": 12_345, "changed": 678},
            "failure": "the bucket does not answer",
            "purpose": "Has every deployment run what was uploaded for it last, one by one.",
        }
    ]
}
LOG = {
    "clearings": [
        {
            "id": 7_654_321,
            "machine_id": 3,
            "at_ms": 1_700_000_000_000,
            "gpus": 8,
            "claims": [],
            "verdict": [{"contract": 17 + n, "gpus": [n], "price": 150_000_000} for n in range(8)],
        }
    ]
}


@contextmanager
def seated(environment: dict[str, str], server: Answers, *words: str) -> Iterator[Terminal]:
    """Somebody with a key for `server` at a terminal."""
    known = {"MERCATO_URL": server.url, "MERCATO_API_KEY": "secret"}
    with at_terminal(environment | known, *words) as terminal:
        yield terminal


@pytest.mark.parametrize(
    ("words", "answer", "whole"),
    [
        (("ps",), PS, ("1234567", "running", "$1,234.50", "4000G")),
        (("offers",), OFFERS, ("51234567", "$1,234.50", "12,345.6", "99.5%", "1234567")),
        (("admin", "loops"), LOOPS, ("reconcile_deployments", "1d", "2h 1m")),
        (("auction", "log", "3"), LOG, ("7654321", "2023-11-14 22:13:20 UTC")),
        (("show", "7"), {"instances": INSTANCE}, ("actual_status", "intended_status", "1234567")),
    ],
)
def test_ids_numbers_and_money_stand_whole_at_eighty_columns(
    environment: dict[str, str], words: tuple[str, ...], answer: Any, whole: tuple[str, ...]
) -> None:
    with answering() as server:
        server.answer(200, answer)
        with seated(environment, server, *words) as terminal:
            assert terminal.ends() == 0, terminal.text
    assert "…" not in terminal.text
    for word in whole:
        assert word in terminal.text, terminal.text


def test_texts_wrap_at_eighty_columns(environment: dict[str, str]) -> None:
    with answering() as server:
        server.answer(200, PS)
        with seated(environment, server, "ps") as terminal:
            terminal.ends()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.text)
    assert max(map(len, plain.splitlines())) <= 80
    assert "night" in plain


def test_a_pipe_gets_every_cell_whole(mercato: Run) -> None:
    long = "x" * 3_000
    with answering() as server:
        server.answer(200, {"instances": INSTANCE | {"onstart": long}})
        told = Person(mercato, server.url, "secret").says("show", "7")
    assert long in told
    assert "status_msg" in told
    assert all(line == line.rstrip() for line in told.splitlines())


HOSTILE = "\x1b]0;yours\x07\x1b[31mred\u202e\x9b2J"


def test_the_names_of_strangers_command_no_terminal(
    environment: dict[str, str], mercato: Run
) -> None:
    template = {"id": 1, "hash_id": "5f3b", "name": HOSTILE, "image": "debian:12"}
    with answering() as server:
        server.answer(200, {"templates": [template]})
        somebody = Person(mercato, server.url, "secret")
        for words in (("template", "ls"), ("template", "show", "5f3b")):
            told = somebody.says(*words)
            assert "red" in told
            assert all(each.isprintable() for each in told.replace("\n", "")), told
        with seated(environment, server, "template", "ls") as terminal:
            terminal.ends()
    assert "\x1b]" not in terminal.text
    assert "\x07" not in terminal.text


def test_what_a_host_says_commands_no_terminal(mercato: Run) -> None:
    failed = INSTANCE | {"state": "failed", "actual_status": "created"}
    with answering() as server:
        server.answer(200, {"new_contract": 7})
        server.answer(200, {"instances": failed | {"status_msg": HOSTILE, "ports": None}})
        done = Person(mercato, server.url, "secret")(*RENT, "--timeout", "2")
    assert "red" in done.stderr
    assert "\x1b" not in done.stderr


RENT = ("rent", "512", "--image", "nothing:here", "--wait")


def test_nobody_waits_for_an_instance_that_failed(mercato: Run) -> None:
    failed = INSTANCE | {
        "state": "failed",
        "actual_status": "created",
        "intended_status": "stopped",
        "status_msg": "there is no image nothing:here",
        "ports": None,
    }
    with answering() as server:
        server.answer(200, {"new_contract": 7})
        server.answer(200, {"instances": failed})
        done = Person(mercato, server.url, "secret")(*RENT, "--timeout", "5")
    assert done.returncode == 1
    assert "is failed: there is no image nothing:here" in done.stderr


def test_ctrl_c_ends_the_wait_and_says_what_was_rented(environment: dict[str, str]) -> None:
    loading = INSTANCE | {"state": "loading", "actual_status": "loading", "ports": None}
    with answering() as server:
        server.answer(200, {"new_contract": 4711})
        server.answer(200, {"instances": loading | {"status_msg": "layer [1/9]"}})
        with seated(environment, server, *RENT) as terminal:
            terminal.until("layer [1/9]")
            terminal.type(CTRL_C)
            assert terminal.ends() == 130
    assert "instance 4711 is yours" in terminal.text.splitlines()[-1]


@pytest.fixture
def data() -> Iterator[Path]:
    """Not under pytest's own directory, into which the database's user may not look."""
    with tempfile.TemporaryDirectory(prefix="mercato-test-") as made:
        yield Path(made)


def test_ctrl_c_cancels_a_query_and_psql_goes_on(environment: dict[str, str], data: Path) -> None:
    psql = ("database", "--data", data, "--new", "psql", "--no-psqlrc")
    with at_terminal(environment | {"PSQL_HISTORY": "/dev/null"}, *psql) as terminal:
        terminal.until("=#")
        terminal.type("do $$ begin raise notice 'be%', 'gun'; perform pg_sleep(50); end $$;\n")
        terminal.until("begun")
        terminal.type(CTRL_C)
        terminal.until("canceling statement")
        terminal.type("select 'still ' || 'here';\n")
        terminal.until("still here")
        terminal.type("\\q\n")
        assert terminal.ends() == 0, terminal.text


def test_a_dump_is_its_owners_only(mercato: Run, data: Path, tmp_path: Path) -> None:
    dump = tmp_path / "market.dump"
    done = mercato("database", "--data", data, "--new", "pg_dump", f"--file={dump}")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("ps", "--help")])
def test_a_reader_that_has_left_is_no_trouble(
    environment: dict[str, str], words: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "mercato.cli", *words],
        env=environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode in {0, 1}, done.stderr) == (True, "")


def test_several_answers_are_one_list_for_programs(mercato: Run) -> None:
    with answering() as server:
        somebody = Person(mercato, server.url, "secret")
        server.answer(200, {"success": True})
        assert somebody.raw("stop", "7") == {"success": True}
        for verb in ("start", "stop", "reboot", "rm"):
            assert somebody.raw(verb, "7", "8") == [{"success": True}, {"success": True}]
        assert somebody.says("stop", "7", "8").count("is stopping") == 2


def test_of_several_it_is_told_which_were_done_before_one_failed(mercato: Run) -> None:
    with answering() as server:
        server.answer(200, {"success": True})
        server.answer(404, {"error": "no_such_instance", "msg": "There is no instance 8."})
        done = Person(mercato, server.url, "secret")("rm", "7", "8", "9", "--raw")
    assert done.returncode == 1
    assert json.loads(done.stdout) == [{"success": True}]
    assert json.loads(done.stderr)["status"] == 404
    assert_one_clear_line(mercato("rm", "7", "--url", "http://127.0.0.1:1"), "--yes")
