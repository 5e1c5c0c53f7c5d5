"""Draw the pages of docs/ that say what the code says: states, the schema, the list of decisions.

`make docs` writes them; tests/tidy compares them. Each is a function from the code to text.
"""

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path

from mercato.control import migrations
from mercato.control.embedded import EmbeddedPostgres, programs
from mercato.control.migrate import migrate
from mercato.market.instance import Actual, Facts, Intended, State, state_of
from mercato.serverless import worker
from scripts import behaviours

DOCS = Path(__file__).parents[1] / "docs"
SCHEMA_HEAD = (
    "-- What the migrations make. Drawn by `make docs`, to be read and not run. Of history "
)
DRAWN = "<!-- Drawn by `make docs`. Change the code, not this page. -->"


def main() -> None:
    """Write every page that is drawn."""
    for name, draw in {**PAGES, "schema.sql": schema}.items():
        (DOCS / name).write_text(draw())
        print(f"wrote docs/{name}")


def instance_states() -> str:
    """An instance's states, from the table in market/instance.py."""
    columns = list(product((Intended.RUNNING, Intended.STOPPED), (True, False)))
    return "\n".join(
        [
            "# An instance's states",
            DRAWN,
            "",
            "Nobody stores a state. Renter and market write what is *intended*, the agent what is",
            "*actual*, and `state_of` in `market/instance.py` reads the two together, with whether",
            "it holds its GPUs and whether its host can be heard.",
            "",
            "| state | means | bills | may hold GPUs |",
            "|---|---|---|---|",
            *(
                f"| {one.label} | {one.meaning} | {one.bills.value} | {_yes(one.may_hold_gpus)} |"
                for one in State
            ),
            "",
            "## From facts to state",
            "",
            "While its host can be heard and it is not to be destroyed:",
            "",
            *_table(
                ["actual", *(f"{_wish(intended, holds=holds)}" for intended, holds in columns)],
                (
                    [
                        actual.value,
                        *(
                            _label(intended, actual, holds=holds, online=True)
                            for intended, holds in columns
                        ),
                    ]
                    for actual in Actual
                ),
            ),
            "",
            f"- While its host cannot be heard: {_only(online=False)}.",
            "- From the end of its notice until it has let its GPUs go: stopping.",
            f"- Once it is to be destroyed: {_only(destroyed=True)};",
            f"  {_label(Intended.DESTROYED, Actual.ABSENT, holds=False)} when its host has nothing",
            "  of it and its GPUs are let go.",
            "",
        ]
    )


def _wish(intended: Intended, *, holds: bool) -> str:
    return f"to be {intended.value}, {'holds' if holds else 'without'} GPUs"


def _label(intended: Intended, actual: Actual, *, holds: bool, online: bool = True) -> str:
    facts = Facts(intended=intended, actual=actual, holds_gpus=holds, machine_online=online)
    return state_of(facts).label


def _only(*, online: bool = True, destroyed: bool = False) -> str:
    """The one state of all such facts, but for what is gone."""
    intended = (Intended.DESTROYED,) if destroyed else (Intended.RUNNING, Intended.STOPPED)
    found = {
        _label(one, actual, holds=holds, online=online)
        for one, actual, holds in product(intended, Actual, (True, False))
    }
    [only] = found - {State.DESTROYED.label}
    return only


def worker_states() -> str:
    """A worker's states, from the table in serverless/worker.py."""
    return "\n".join(
        [
            "# A worker's states",
            DRAWN,
            "",
            "A worker is an instance that serves an endpoint; the engine reads its state from the",
            "market and from the worker's own reports. The table is `serverless/worker.py`.",
            "",
            *_table(
                ["state", "means", "bills GPU", "bills storage", "promises"],
                (
                    [
                        one.label,
                        one.meaning,
                        _yes(one.bills_gpu),
                        _yes(one.bills_storage),
                        one.outlook.value,
                    ]
                    for one in worker.State
                ),
            ),
            "",
        ]
    )


def decisions() -> str:
    """The page of decisions: its introduction as it stands, and the list of the records."""
    introduction = (DOCS / "decisions" / "README.md").read_text().partition(DRAWN)[0].rstrip()
    lines = []
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        number, _, title = path.read_text().partition("\n")[0].removeprefix("# ").partition(". ")
        lines.append(f"{number}. [{title}]({path.name})")
    return "\n".join([introduction, "", DRAWN, "", *lines, ""])


def schema() -> str:
    """The schema that the migrations make, as PostgreSQL itself tells it."""
    with tempfile.TemporaryDirectory(prefix="mercato-docs-") as home:
        postgres = EmbeddedPostgres(Path(home))
        with postgres as url:
            migrate(url)
            return dumped(url)


def dumped(url: str) -> str:
    """The schema of a database, without what differs from dump to dump."""
    told = subprocess.run(
        [programs() / "pg_dump", "--schema-only", "--no-owner", "--no-privileges", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    kept = [
        line
        for line in told.splitlines()
        if not line.startswith(("--", "SET ", "SELECT pg_catalog.set_config", "\\"))
    ]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return f"{SCHEMA_HEAD}{history()}\n\n{text}\n"


def history() -> str:
    """A mark of all migrations together, by which a schema drawn from others is known."""
    files = sorted(Path(migrations.__file__).parent.glob("*.sql"))
    return hashlib.sha256(b"".join(one.read_bytes() for one in files)).hexdigest()[:16]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _yes(truth: bool) -> str:  # noqa: FBT001 - a cell of a table
    return "yes" if truth else "no"


PAGES: dict[str, Callable[[], str]] = {
    "states/instance.md": instance_states,
    "states/worker.md": worker_states,
    "decisions/README.md": decisions,
    "behaviours.md": lambda: behaviours.page(DRAWN),
}
"""Those that are drawn in no time; the schema takes a database."""


if __name__ == "__main__":
    main()
