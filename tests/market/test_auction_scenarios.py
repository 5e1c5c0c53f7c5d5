"""The scenarios of tests/scenarios come out as they are written."""

from pathlib import Path

import pytest

from tests.market.scenario import Scenario

SCRIPTS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_scenario_comes_out_as_written(script: Path) -> None:
    scenario = Scenario()
    written, played = [], []
    for line in script.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        done, arrow, expected = (part.strip() for part in line.partition("->"))
        written.append(f"{done} -> {expected}" if arrow else done)
        came = scenario.play(done)
        played.append(f"{done} -> {came}" if arrow else done)
    assert played == written


def test_there_are_enough_of_them() -> None:
    assert len(SCRIPTS) >= 12
