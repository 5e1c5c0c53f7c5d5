"""How long the program takes to start; the aim is below 250 ms.

Run as `.venv/bin/python bench/cli_start.py`. Beside it, a Python that does nothing.
"""

import subprocess
import sys
from functools import partial

from measure import Table, ms, quantile, report, times_ms

RUNS = 15


def main() -> None:
    commands = {
        "python -c pass": ["-c", "pass"],
        "mercato --help": ["-m", "mercato.cli", "--help"],
        "mercato ps --help": ["-m", "mercato.cli", "ps", "--help"],
        "mercato admin --help": ["-m", "mercato.cli", "admin", "--help"],
    }
    rows = []
    for name, arguments in commands.items():
        run = partial(subprocess.run, [sys.executable, *arguments], check=True, capture_output=True)
        times = times_ms(run, RUNS)
        rows.append([name, ms(quantile(times, 0.5)), ms(quantile(times, 0.99))])
    report(
        __file__,
        "Starting the program",
        "From asking for a process to its end.",
        [Table("", ("command", "p50 ms", "p99 ms"), rows)],
    )


if __name__ == "__main__":
    main()
