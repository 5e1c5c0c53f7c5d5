"""The policy benchmark, with one small scenario and one seed."""

import random
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCENARIO = """
[[scenario]]
name = "S_small"
trace = "small"
end_s = 2400
warm_s = 300
ready = 3
stopped = 4
workers_max = 12
hot_min = 1
"""


def play(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "bench" / "serverless" / "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def write_trace(folder: Path) -> None:
    """Forty minutes of a steady load with a burst of three times as much."""
    rng = random.Random(7)
    rows, at_s = ["t_s,work,claimed"], 0.0
    while at_s < 2_390:
        at_s += rng.expovariate(6.0 if 1_200 <= at_s < 1_500 else 2.0)
        work = rng.lognormvariate(5.5, 0.6)
        rows.append(f"{at_s:.2f},{work:.0f},{work * rng.uniform(0.7, 1.4):.0f}")
    (folder / "small.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
def test_40_any_folder_of_traces_plays_and_every_policy_is_told_of(tmp_path: Path) -> None:
    write_trace(tmp_path)
    scenarios = tmp_path / "scenarios.toml"
    scenarios.write_text(SCENARIO)
    done = play(
        *("--traces", tmp_path, "--scenarios", scenarios),
        *("--seeds", "1", "--jobs", "1", "--results", tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "[12/12] S_small, " in done.stderr
    rows = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \| \*\*", done.stdout, flags=re.MULTILINE))
    j = {name: float(value) for name, value in rows.items()}
    assert len(j) == 12
    # Nobody can do the work for less than the lower bound.
    assert min(j.values()) > 1, j
    assert (tmp_path / "serverless.md").read_text().count("\n") > 20
    assert (tmp_path / "serverless.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("trace", "scenarios", "told"),
    [
        (None, SCENARIO, "small.csv"),
        ("t_s,work\n1,2\n", SCENARIO, "has no column claimed"),
        ("t_s,work,claimed\n1,2,many\n", SCENARIO, "line 2: 'many' is not a number"),
        ("t_s,work,claimed\n1,2,3\n", SCENARIO, "has no work between warm_s 300 and end_s 2400"),
        ("", "scenario = [", "is not TOML"),
        ("", SCENARIO + "hot = 1", "unknown field `hot`"),
        ("", SCENARIO.replace("ready = 3", "ready = 30"), "no more than workers_max"),
        ("", SCENARIO * 2, "2 scenarios of the name 'S_small'"),
    ],
)
def test_what_cannot_be_played_is_told_of_in_one_line(
    tmp_path: Path, trace: str | None, scenarios: str, told: str
) -> None:
    if trace is not None:
        (tmp_path / "small.csv").write_text(trace)
    (tmp_path / "scenarios.toml").write_text(scenarios)
    done = play("--dry", "--traces", tmp_path, "--scenarios", tmp_path / "scenarios.toml")
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
