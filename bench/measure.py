"""What every benchmark here shares: timing one call many times, and telling what was found."""

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def times_ms(call: Callable[[], object], runs: int, warm: int = 3) -> list[float]:
    """How long each of `runs` calls took, in milliseconds, after `warm` that do not count."""
    for _ in range(warm):
        call()
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        found.append((time.perf_counter() - began) * 1_000)
    return found


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` of them lie; the nearest rank."""
    ranked = sorted(samples)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def told(name: str, samples_ms: Sequence[float]) -> str:
    """One line: median, 99th percentile, how many."""
    return (
        f"{name:<44} p50 {quantile(samples_ms, 0.5):9.3f} ms   "
        f"p99 {quantile(samples_ms, 0.99):9.3f} ms   n={len(samples_ms)}"
    )


@dataclass(frozen=True)
class Table:
    """Figures side by side; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self) -> list[str]:
        widths = [max(map(len, each)) for each in zip(self.columns, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            first, *rest = zip(cells, widths, strict=True)
            padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
            return f"| {' | '.join(padded)} |"

        ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        title = [f"## {self.title}", ""] if self.title else []
        return [*title, line(self.columns), line(ruler), *map(line, self.rows), ""]


def report(script: str, title: str, text: str, tables: Sequence[Table]) -> None:
    """Print what a benchmark found and keep it in bench/results, with where and when it was."""
    lines = [f"# {title}", "", *text.strip().splitlines(), "", command(), where(), ""]
    for table in tables:
        lines += table.lines()
    page = "\n".join(lines)
    print(page)
    target = Path(__file__).parent / "results" / f"{Path(script).stem}.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(page)


def command() -> str:
    """How it was run."""
    program = Path(sys.argv[0]).resolve().relative_to(Path(__file__).parents[1])
    return f"By `PYTHONPATH=bench:. .venv/bin/python {' '.join([str(program), *sys.argv[1:]])}`."


def where() -> str:
    """The machine, the day and the versions that figures depend on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "msgspec", "psycopg"))
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores of {model} with "  # noqa: TID251 - the day of the measurement
        f"{memory_gib:.0f} GiB, load {os.getloadavg()[0]:.1f}, Python "
        f"{platform.python_version()}, {versions}. Trust the ratios inside one table."
    )


def ms(value: float) -> str:
    """Milliseconds with three digits that mean something."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:,.0f}"
