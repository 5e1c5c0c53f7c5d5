"""Play policies over scenarios and seeds; print tables and keep them, with a plot."""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from arena.policies import POLICIES, WITH_BIDS
from arena.report import Results, markdown, plot
from arena.scenario import BadInputError, Scenario, Trace, read_scenarios, read_trace
from arena.score import Score, score
from arena.world import World
from measure import where

HERE: Final = Path(__file__).resolve().parents[1]
REPOSITORY: Final = HERE.parents[1]
TRACES: Final = REPOSITORY.parent / "shared" / "reference" / "traces"
RESULTS: Final = REPOSITORY / "bench" / "results"
EVERY_POLICY: Final = POLICIES | WITH_BIDS


class Job(NamedTuple):
    """One run."""

    policy: str
    scenario: Scenario
    seed: int


def main() -> None:
    """Read the arguments, play everything, tell."""
    parser = _parser()
    chosen = parser.parse_args()
    try:
        names = _policies(chosen.policies)
        scenarios = _scenarios(chosen.scenarios, chosen.only)
        traces = {one.name: read_trace(chosen.traces, one) for one in scenarios}
    except BadInputError as error:
        parser.error(str(error))
    # The longest first, so that no process is left alone with one at the end.
    jobs = [
        Job(name, scenario, seed)
        for scenario in sorted(scenarios, key=lambda one: -one.end_s)
        for name in names
        for seed in range(1, chosen.seeds + 1)
    ]
    began_s = time.perf_counter()
    results = _play_all(jobs, traces, chosen.jobs)
    wall_s, spent = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    took = (
        f"{len(jobs)} runs on {chosen.jobs} processes took {wall_s:.0f} s, "
        f"{spent.ru_utime + spent.ru_stime:.0f} s of CPU"
    )
    ordered = {name: results[name] for name in names}
    text = markdown(ordered, [one.name for one in scenarios])
    print(text)
    print(took)
    if not chosen.dry:
        chosen.results.mkdir(parents=True, exist_ok=True)
        header = (HERE / "results.head.md").read_text()
        header += "![Dollars against late requests](serverless.svg)\n\n"
        foot = f"\n{took}. {where()}\n"
        (chosen.results / "serverless.md").write_text(header + text + foot)
        (chosen.results / "serverless.svg").write_text(plot(ordered, names))
        print(f"written: {chosen.results / 'serverless.md'} and serverless.svg")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/serverless/run", description=__doc__)
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder of NAME.csv files")
    parser.add_argument("--scenarios", type=Path, default=HERE / "scenarios.toml")
    parser.add_argument("--only", default="", help="first letters of the scenarios to play")
    parser.add_argument("--policies", default="", help="names, with commas; all by default")
    parser.add_argument("--seeds", type=_positive, default=3, help="how many markets to draw")
    parser.add_argument("--jobs", type=_positive, default=multiprocessing.cpu_count())
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _policies(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(","))) if text else list(EVERY_POLICY)
    for name in names:
        if name not in EVERY_POLICY:
            raise BadInputError(f"no policy {name!r}: there are {', '.join(EVERY_POLICY)}")
    return names


def _scenarios(file: Path, only: str) -> list[Scenario]:
    scenarios = read_scenarios(file)
    found = [one for one in scenarios if not only or one.name[:1] in only]
    if not found:
        raise BadInputError(f"no scenario of {file} begins with any of {only!r}")
    return found


def _play_all(jobs: Sequence[Job], traces: dict[str, Trace], processes: int) -> Results:
    """Every run's score; each is told of on standard error when it is there."""
    results: Results = {}
    # Results come as they are there; the seeds of a mean stay in their order.
    scores: dict[tuple[str, str, int], Score] = {}
    with multiprocessing.Pool(processes, _share, (traces,)) as pool:
        for job, found in pool.imap_unordered(_play, jobs):
            scores[job.policy, job.scenario.name, job.seed] = found
            sys.stderr.write(
                f"[{len(scores)}/{len(jobs)}] {job.scenario.name}, {job.policy}, seed {job.seed}: "
                f"J {found.j:.2f}\n"
            )
    for (policy, scenario, _), found in sorted(scores.items()):
        results.setdefault(policy, {}).setdefault(scenario, []).append(found)
    return results


_traces: dict[str, Trace] = {}
"""What the process that plays has been given to play."""


def _share(traces: dict[str, Trace]) -> None:
    _traces.update(traces)


def _play(job: Job) -> tuple[Job, Score]:
    world = World(job.scenario, _traces[job.scenario.name], job.seed)
    world.run(EVERY_POLICY[job.policy](world))
    return job, score(world)


if __name__ == "__main__":
    main()
