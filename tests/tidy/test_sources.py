"""What the linters do not ask of the sources. Each test lists all that offends against it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from mercato.control.migrate import __file__ as migrate_file

ROOT = Path(__file__).parents[2]
SOURCES = {
    path: path.read_text()
    for room in ("src", "tests", "bench", "scripts")
    for path in sorted((ROOT / room).rglob("*.py"))
}
MODULES = {path: text for path, text in SOURCES.items() if "src" in path.parts}
MODULE_LINES = 500
FUNCTION_LINES = 60


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_modules_are_short() -> None:
    lengths = {named(path): len(text.splitlines()) for path, text in MODULES.items()}
    assert not {name: length for name, length in lengths.items() if length > MODULE_LINES}


def test_functions_are_short() -> None:
    lengths = {
        f"{named(path)}: {node.name}": length
        for path, text in MODULES.items()
        for node, length in functions(text)
    }
    assert not {name: length for name, length in lengths.items() if length >= FUNCTION_LINES}


def functions(text: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # From its first statement on: a command's options are a table, not work.
            assert node.end_lineno is not None
            yield node, node.end_lineno - node.body[0].lineno


def test_a_module_says_what_it_is() -> None:
    silent = [
        named(path)
        for path, text in SOURCES.items()
        if text.strip() and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent


def test_what_is_left_to_do_names_an_issue() -> None:
    assert not offending(r"#.*\b(TODO|FIXME|XXX)\b", r"#\d+")


def test_a_rule_that_is_switched_off_has_its_reason_beside_it() -> None:
    assert not offending(r"# noqa", r"# noqa: [A-Z0-9, ]+ - \S")


def offending(sign: str, wanted: str) -> list[str]:
    """Every line that has the sign and not what is wanted beside it."""
    return [
        f"{named(path)}:{number}: {line.strip()}"
        for path, text in SOURCES.items()
        if path != Path(__file__)
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(sign, line) and not re.search(wanted, line)
    ]


def test_every_rule_that_the_project_does_without_has_its_reason() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    lint = settings.partition("[tool.ruff.lint]")[2].partition("[tool.mypy]")[0]
    rules = [line for line in lint.splitlines() if re.match(r'  "[A-Z]+[0-9]*",', line)]
    assert len(rules) > 20
    assert not [line for line in rules if not re.search(r"# \S", line)]


def test_migrations_are_numbered_without_gaps() -> None:
    folder = Path(migrate_file).parent / "migrations"
    numbers = [int(path.name[:4]) for path in sorted(folder.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
