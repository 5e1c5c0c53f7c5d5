"""Run seeds from the command line.

python -m tests.simulation --seed 17          replays one market
python -m tests.simulation --seeds 200        runs many, and tells of each that breaks a law
"""

import argparse
import os
import sys
import time
from collections import Counter

from tests.simulation.many import outcomes
from tests.simulation.seeds import Scale


def main() -> int:
    """Run what was asked for; 1 when a law was broken, or a worker."""
    given = _parser().parse_args()
    scale = Scale(machines=given.machines, days=given.days)
    first, count = (given.first, given.seeds) if given.seed is None else (given.seed, 1)
    began = time.monotonic()
    tally: Counter[str] = Counter()
    transactions = broken = 0
    for outcome in outcomes(range(first, first + count), scale, given.workers):
        if isinstance(outcome, str):
            _say(outcome)
            broken += 1
            continue
        tally.update(outcome.tally)
        transactions += outcome.transactions
        _say(f"seed {outcome.seed} {outcome.digest} {outcome.transactions} transactions")
    took_s = time.monotonic() - began
    for what, times in sorted(tally.items()):
        _say(f"{times:8} {what}")
    _say(
        f"{count} seeds of {scale.days:g} days and {scale.machines} machines,"
        f" {transactions} transactions, {took_s:.0f} s,"
        f" {60 * count / took_s:.1f} seeds a minute:"
        f" {f'{broken} did not hold' if broken else 'every law held'}"
    )
    return int(broken > 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, help="replay this one market")
    which.add_argument("--seeds", type=int, default=20, help="run so many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--machines", type=int, default=Scale.machines)
    parser.add_argument("--days", type=float, default=Scale.days)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
