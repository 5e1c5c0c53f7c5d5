"""The program starts fast, explains itself, and fails in one line."""

import json
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mercato.cli.table import COMMANDS
from mercato.cli.tree import tree
from tests.cli.conftest import Run, assert_one_clear_line
from tests.sdk.answering import answering

START_S = 0.25


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_it_starts_fast(argument: str, environment: dict[str, str]) -> None:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "mercato.cli", argument],
            env=environment,
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - began

    once()  # fills the byte code cache
    assert min(once() for _ in range(5)) < START_S


def test_help_names_every_command(mercato: Run) -> None:
    text = mercato("--help").stdout
    for name, command in COMMANDS.items():
        assert name in text
        assert command.purpose in text
    assert mercato().stdout == text


def _leaves(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None, name
        if found.hidden:
            continue
        if isinstance(found, click.Group):
            yield from _leaves(found, f"{path} {name}")
        else:
            yield f"{path} {name}", found


def test_every_command_has_help_with_an_example() -> None:
    leaves = dict(_leaves(tree(), "mercato"))
    assert len(leaves) > len(COMMANDS)
    for path, command in leaves.items():
        names = [each.name for each in command.params]
        assert len(names) == len(set(names)), f"{path} has two parameters of one name"
        text = command.get_help(click.Context(command, info_name=path))
        assert path in text.removeprefix(f"Usage: {path}"), f"{path} --help shows no example"


@pytest.mark.parametrize("arguments", [("ps",), ("endpoint",), ("limits", "set")])
def test_help_is_printed_and_all_is_well(mercato: Run, arguments: tuple[str, ...]) -> None:
    done = mercato(*arguments, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: mercato" in done.stdout


def test_a_mistyped_command_is_answered_with_the_nearest(mercato: Run) -> None:
    done = mercato("offres")
    assert done.returncode == 2
    assert "offers" in done.stderr


def test_without_a_server_it_says_how_to_name_one(mercato: Run) -> None:
    assert_one_clear_line(mercato("ps"), "--url", "MERCATO_URL", "mercato login")


def test_an_unreachable_server_is_said_in_a_line(mercato: Run, free_port: int) -> None:
    done = mercato("ps", "--url", f"http://127.0.0.1:{free_port}", "--api-key", "x")
    assert_one_clear_line(done, "cannot reach", str(free_port))


def test_trouble_is_json_where_json_was_asked_for(mercato: Run, free_port: int) -> None:
    done = mercato("ps", "--raw", "--url", f"http://127.0.0.1:{free_port}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"] == "unreachable"


def test_a_bad_query_is_refused_before_anything_is_sent(mercato: Run) -> None:
    done = mercato("offers", "num_gpus>>2", "--url", "http://127.0.0.1:1")
    assert_one_clear_line(done, "num_gpus")


def test_a_rental_of_nothing_is_refused(mercato: Run) -> None:
    assert_one_clear_line(mercato("rent", "5", "--url", "http://127.0.0.1:1"), "--image")


def test_completion_knows_the_commands(mercato: Run) -> None:
    done = mercato(_MERCATO_COMPLETE="bash_complete", COMP_WORDS="mercato of", COMP_CWORD="1")
    assert done.stdout.split() == ["plain,offers"]
    assert "_MERCATO_COMPLETE" in mercato("completion", "zsh").stdout


def test_a_damaged_login_file_is_said_in_a_line(mercato: Run, tmp_path: Path) -> None:
    path = tmp_path / "config" / "mercato" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert_one_clear_line(mercato("ps"), "mercato login")


def test_login_keeps_the_key_from_others(mercato: Run, tmp_path: Path) -> None:
    with answering() as server:
        server.answer(200, {"id": 1, "email": "ann@example.com"})
        assert mercato("login", server.url, "secret").returncode == 0
        path = tmp_path / "config" / "mercato" / "config.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        server.answer(200, {"instances": [], "next_token": None})
        assert mercato("ps", "--raw").stdout.strip() == "[]"
        assert server.seen[-1].headers["Authorization"] == "Bearer secret"
        mercato("ps", "--url", f"{server.url}/")
        assert server.seen[-1].headers["Authorization"] == "Bearer secret"
        # Another server does not get to see the key of this one.
        with answering() as other:
            other.answer(401, {"error": "auth_error", "msg": "Invalid user key"})
            assert_one_clear_line(mercato("ps", "--url", other.url), "Invalid user key")
            assert "Authorization" not in other.seen[0].headers


def test_what_can_be_no_key_is_said_in_a_line(mercato: Run) -> None:
    assert_one_clear_line(mercato("login", "http://127.0.0.1:1", "schlüssel"), "API key")
    done = mercato("ps", MERCATO_URL="http://127.0.0.1:1", MERCATO_API_KEY="two\nlines")
    assert_one_clear_line(done, "API key")


def test_a_configuration_that_cannot_be_kept_is_said_in_a_line(
    mercato: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = {"XDG_CONFIG_HOME": str(tmp_path / "file"), "MERCATO_API_KEY": "secret"}
    row = {"id": 7, "ssh_host": "ssh.example.com", "ssh_port": 20_000}
    with answering() as server:
        server.answer(200, {"id": 1, "email": "ann@example.com"})
        done = mercato("login", server.url, "secret", **nowhere)
        assert_one_clear_line(done, "XDG_CONFIG_HOME", str(tmp_path / "file"))
        server.answer(200, {"instances": row})
        for words in (("ssh", "7"), ("ssh", "--print", "7")):
            done = mercato(*words, MERCATO_URL=server.url, **nowhere)
            assert_one_clear_line(done, "XDG_CONFIG_HOME")


@pytest.mark.parametrize(
    "words",
    [
        ("rent", "5", "--image", "debian:12", "--bid", "inf"),
        ("bid", "7", "nan"),
        ("bill", "--days", "inf"),
        ("list", "3", "--gpu", "0.3", "--min-bid=-inf"),
        ("rent", "5", "--image", "debian:12", "--wait", "--timeout", "nan"),
        ("endpoint", "create", "llm", "--target-util", "inf"),
    ],
)
def test_what_is_no_finite_number_is_refused_before_anything_is_sent(
    mercato: Run, words: tuple[str, ...]
) -> None:
    with answering() as server:
        server.answer(200, {})
        done = mercato(*words, "--url", server.url, "--api-key", "secret")
    assert done.returncode == 2, done
    assert "must be a finite number" in done.stderr
    assert server.seen == []


def test_a_span_beyond_the_calendar_is_refused(mercato: Run) -> None:
    announce = ("maintenance", "announce", "1", "--hours", "1", "--url", "http://127.0.0.1:1")
    for span in ("99999999d", "9" * 400 + "d"):
        assert_one_clear_line(mercato(*announce, "--in", span), "--in", "calendar")


def test_what_is_no_text_is_no_value_of_a_variable(mercato: Run, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text").write_text("größer\n")
    with answering() as server:
        server.answer(200, {"secrets": {}, "msg": "kept"})
        asked = ("variable", "set", "NAME", "-", "--url", server.url)
        assert_one_clear_line(mercato(*asked, given=tmp_path / "binary"), "UTF-8")
        assert server.seen == []
        assert mercato(*asked, given=tmp_path / "text", LC_ALL="C").returncode == 0
        assert server.seen[-1].body["value"] == "größer"


def test_a_private_key_stays_here(mercato: Run, tmp_path: Path) -> None:
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END"
    (tmp_path / "id_ed25519").write_text(private)
    with answering() as server:
        server.answer(200, {"key": {"id": 1}})
        for words in (("add",), ("attach", "7")):
            for given in (tmp_path / "id_ed25519", f" {private}"):
                done = mercato("ssh-key", *words, given, "--url", server.url)
                assert_one_clear_line(done, "That is a private key", ".pub")
        assert server.seen == []


LISTED = {
    "id": 7,
    "machine_id": 3,
    "at_ms": 1_700_000_000_000,
    "gpus": 2,
    "claims": [{"contract": 17, "kind": "bid", "gpus": [0, 1], "price": 5}],
    "verdict": [{"contract": 17, "gpus": [0, 1], "price": 5}],
}


@pytest.mark.parametrize(
    "wrong", [{"gpus": -1}, {"gpus": 10**30}, {"verdict": [{"contract": "x"}]}, {"verdict": [5]}]
)
def test_a_log_of_what_cannot_be_is_said_in_a_line(
    mercato: Run, tmp_path: Path, wrong: dict[str, object]
) -> None:
    log = tmp_path / "log.json"
    log.write_text(json.dumps({"clearings": [LISTED]}))
    assert mercato("auction", "replay", log).returncode == 0
    log.write_text(json.dumps({"clearings": [LISTED | wrong]}))
    assert_one_clear_line(mercato("auction", "replay", log), "verdict 7")


def test_options_of_a_job_stand_before_its_machine(mercato: Run) -> None:
    with answering() as server:
        server.answer(200, {"success": True})
        asked = {"MERCATO_URL": server.url, "MERCATO_API_KEY": "secret"}
        assert_one_clear_line(mercato("job", "1", "--remove", **asked), "--remove stands before")
        assert server.seen == []
        behind = mercato("job", "1", "miner:2", "--price", "0.05", **asked).stdout
        assert "`miner:2 --price 0.05`" in behind
        assert server.seen[-1].body["price_gpu"] is None
        before = mercato("job", "--price", "0.05", "1", "miner:2", "--threads", **asked).stdout
        assert "`miner:2 --threads`" in before
        assert "bids from $0.0500" in before
        assert server.seen[-1].body["price_gpu"] == 0.05


def test_raw_output_is_only_json(mercato: Run) -> None:
    with answering() as server:
        server.answer(200, {"offers": [{"id": 256, "num_gpus": 1, "gpu_name": "RTX 4090"}]})
        done = mercato("offers", "num_gpus=1", "--raw", "--url", server.url)
        assert json.loads(done.stdout)["offers"][0]["id"] == 256
        shown = mercato("offers", "num_gpus=1", "--url", server.url).stdout
        assert "1x RTX 4090" in shown
