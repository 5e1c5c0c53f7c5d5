"""What the linters do not ask of the sources."""

import ast
import re
from pathlib import Path

import pytest

from mercato.control.migrate import __file__ as migrate_file

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
MODULE_LINES = 500
FUNCTION_LINES = 60


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_short_and_so_are_its_functions(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # From its first statement on: a command's options are a table, not work.
            assert node.end_lineno is not None
            assert node.end_lineno - node.body[0].lineno < FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_what_is_left_to_do_names_an_issue(path: Path) -> None:
    for line in path.read_text().splitlines():
        if re.search(r"#.*\b(TODO|FIXME|XXX)\b", line):
            assert re.search(r"#\d+", line), line


def test_migrations_are_numbered_without_gaps() -> None:
    folder = Path(migrate_file).parent / "migrations"
    numbers = [int(path.name[:4]) for path in sorted(folder.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
