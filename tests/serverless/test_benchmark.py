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
    told = subprocess.run(
        [
            ROOT / "bench" / "serverless" / "run",
            *("--traces", tmp_path, "--scenarios", scenarios),
            *("--seeds", "1", "--jobs", "1", "--results", tmp_path),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    ).stdout
    rows = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \| \*\*", told, flags=re.MULTILINE))
    j = {name: float(value) for name, value in rows.items()}
    assert len(j) == 12
    # Nobody can do the work for less than the lower bound.
    assert min(j.values()) > 1, j
    assert (tmp_path / "serverless.md").read_text().count("\n") > 20
    assert (tmp_path / "serverless.svg").read_text().startswith("<svg")
