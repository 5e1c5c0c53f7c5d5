"""Run policies over scenarios and seeds; print a table, write results and a plot."""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Final

from arena.policies import POLICIES, WITH_BIDS
from arena.report import Results, markdown, plot
from arena.scenario import Scenario, read_scenarios, read_trace
from arena.score import Score, score
from arena.world import World

HERE: Final = Path(__file__).resolve().parents[1]
REPOSITORY: Final = HERE.parents[1]
TRACES: Final = REPOSITORY.parent / "shared" / "reference" / "traces"
RESULTS: Final = REPOSITORY / "bench" / "results"


def main() -> None:
    """Read the arguments, play everything, tell."""
    chosen = _arguments()
    everything = read_scenarios(chosen.scenarios)
    scenarios = [one for one in everything if not chosen.only or one.name[:1] in chosen.only]
    names = chosen.policies.split(",") if chosen.policies else [*POLICIES, *WITH_BIDS]
    jobs = [
        (name, scenario, chosen.traces, seed)
        for scenario in sorted(scenarios, key=lambda one: -one.end_s)
        for name in names
        for seed in range(1, chosen.seeds + 1)
    ]
    began_s = time.perf_counter()
    results: Results = {}
    with multiprocessing.Pool(chosen.jobs) as pool:
        for name, scenario_name, found in pool.imap_unordered(_play, jobs):
            results.setdefault(name, {}).setdefault(scenario_name, []).append(found)
    took_s = time.perf_counter() - began_s
    text = markdown({name: results[name] for name in names}, [one.name for one in scenarios])
    print(text)
    print(f"{len(jobs)} runs on {chosen.jobs} processes in {took_s:.0f} s")
    if not chosen.dry:
        chosen.results.mkdir(parents=True, exist_ok=True)
        header = (HERE / "results.head.md").read_text()
        foot = f"\n{len(jobs)} runs on {chosen.jobs} processes took {took_s:.0f} s.\n"
        (chosen.results / "serverless.md").write_text(header + text + foot)
        (chosen.results / "serverless.svg").write_text(plot(results, names))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/serverless/run", description=__doc__)
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder of NAME.csv files")
    parser.add_argument("--scenarios", type=Path, default=HERE / "scenarios.toml")
    parser.add_argument("--only", default="", help="first letters of the scenarios to play")
    parser.add_argument("--policies", default="", help="names, with commas; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    chosen = parser.parse_args()
    if not chosen.traces.is_dir():
        parser.error(f"no traces in {chosen.traces}: name their folder with --traces")
    return chosen


def _play(job: tuple[str, Scenario, Path, int]) -> tuple[str, str, Score]:
    name, scenario, traces, seed = job
    world = World(scenario, read_trace(traces, scenario), seed)
    world.run((POLICIES | WITH_BIDS)[name](world))
    return name, scenario.name, score(world)


if __name__ == "__main__":
    main()
