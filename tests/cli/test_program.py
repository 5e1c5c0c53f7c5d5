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
    from tests.sdk.answering import answering

    with answering() as server:
        server.answer(200, {"id": 1, "email": "ann@example.com"})
        assert mercato("login", server.url, "secret").returncode == 0
        path = tmp_path / "config" / "mercato" / "config.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        server.answer(200, {"instances": [], "next_token": None})
        assert mercato("ps", "--raw").stdout.strip() == "[]"
        assert server.seen[-1].headers["Authorization"] == "Bearer secret"
        # Another server does not get to see the key of this one.
        mercato("ps", "--url", f"{server.url}/")
        with answering() as other:
            other.answer(401, {"error": "auth_error", "msg": "Invalid user key"})
            assert_one_clear_line(mercato("ps", "--url", other.url), "Invalid user key")
            assert "Authorization" not in other.seen[0].headers


def test_raw_output_is_only_json(mercato: Run) -> None:
    from tests.sdk.answering import answering

    with answering() as server:
        server.answer(200, {"offers": [{"id": 256, "num_gpus": 1, "gpu_name": "RTX 4090"}]})
        done = mercato("offers", "num_gpus=1", "--raw", "--url", server.url)
        assert json.loads(done.stdout)["offers"][0]["id"] == 256
        shown = mercato("offers", "num_gpus=1", "--url", server.url).stdout
        assert "1x RTX 4090" in shown
