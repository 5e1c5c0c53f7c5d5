"""What the papers say is so: drawn pages, links, files, verbs, commands and their options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mercato.cli.table import COMMANDS
from mercato.cli.tree import tree
from mercato.control.api import openapi
from mercato.control.api.routes import ROUTES
from scripts import behaviours, write_docs

ROOT = Path(__file__).parents[2]
PAPERS = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "bench").rglob("*.md"),
    ]
)
VERBS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """A paper without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def code(path: Path) -> Iterator[str]:
    """Everything in a paper that a reader may type: lines of blocks, and what is in backticks."""
    text = path.read_text()
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    for line in prose(path).splitlines():
        if line.startswith("    "):
            yield line
        yield from re.findall(r"`([^`]+)`", line)


@pytest.mark.parametrize("name", sorted(write_docs.PAGES))
def test_a_drawn_page_is_what_the_code_says(name: str) -> None:
    assert (write_docs.DOCS / name).read_text() == write_docs.PAGES[name](), "run `make docs`"


def test_the_kept_openapi_is_what_the_code_says() -> None:
    kept = ROOT / "openapi" / "control.json"
    assert kept.read_bytes() == openapi.encoded(ROUTES), "run `make openapi`"


def test_each_behaviour_of_the_engine_is_shown_by_a_test_of_its_number() -> None:
    assert len(behaviours.BEHAVIOURS) == 41
    assert not [number for number, tests in behaviours.shown().items() if not tests]


def test_the_drawn_schema_is_of_these_migrations() -> None:
    # That it is also what they make is tests/control/test_schema.py's: that takes a database.
    first = (write_docs.DOCS / "schema.sql").read_text().splitlines()[0]
    assert first == write_docs.SCHEMA_HEAD + write_docs.history(), "run `make docs`"


@pytest.mark.parametrize("path", PAPERS, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        assert aim.exists(), target
        assert not anchor or anchor in anchors(aim), target


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAPERS, ids=named)
def test_files_of_the_code_that_are_named_exist(path: Path) -> None:
    for word in code(path):
        if re.fullmatch(r"[\w./-]+\.(py|sql)|[a-z_]+(/[a-z_]+)*/", word) and "/" in word:
            rooms = ROOT / "src" / "mercato"
            places = (ROOT, rooms, rooms / "control", path.parent, ROOT / "docs")
            assert any((place / word).exists() for place in places) or word in MADE, word


MADE = {"data/", "database/"}
"""Directories that exist where the program has run."""


@pytest.mark.parametrize("path", PAPERS, ids=named)
def test_verbs_and_commands_that_are_named_exist(path: Path) -> None:
    for line in code(path):
        words = typed(line)
        if words[:1] == ["make"] and "-C" not in words:
            assert len(words) < 2 or words[1] in VERBS, line
        if words[:1] in (["mercato"], [".venv/bin/mercato"]):
            follow(words[1:], line)


def typed(line: str) -> list[str]:
    """The words of a command line, without the comment, the settings before it and the rest."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return []
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    return words


def follow(words: list[str], line: str) -> None:
    """Walk down the tree of commands by words; every long option on the way is one."""
    if not words or words[0].startswith("-") or words[0].isupper():
        return
    assert words[0] in COMMANDS, line
    found = tree().get_command(click.Context(tree()), words.pop(0))
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in found.commands, line
        found = found.commands[words.pop(0)]
    assert found is not None
    known = {name for option in found.params for name in option.opts} | {"--help"}
    for word in words:
        if not found.context_settings.get("allow_interspersed_args", True) and "-" not in word[:1]:
            return  # what follows belongs to another program
        if word.startswith("--") and len(word) > 2:
            assert word.partition("=")[0] in known, line
