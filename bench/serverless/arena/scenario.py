"""Scenarios and traces: what is asked of a fleet, when, and what it starts from."""

import csv
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from arena.market import Faults


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the scenario file."""

    name: str
    trace: str
    """File name in the trace folder, without .csv."""
    end_s: float
    warm_s: float = 0.0
    """Money and requests count from here on."""
    slots: int = 8
    ready: int = 1
    stopped: int = 0
    workers_max: int = 20
    hot_min: int = 0
    faults: Faults = Faults()


class Trace(msgspec.Struct, frozen=True):
    """Requests in order of arrival: seconds, true work, claimed cost."""

    at_s: list[float]
    work: list[float]
    claimed: list[float]


def read_scenarios(file: Path) -> list[Scenario]:
    """The scenarios of a TOML file; see scenarios.toml for every field."""
    rows: list[dict[str, Any]] = tomllib.loads(file.read_text())["scenario"]
    return [msgspec.convert(row, Scenario) for row in rows]


def read_trace(folder: Path, scenario: Scenario) -> Trace:
    """The trace of a scenario, cut at its end."""
    found: list[tuple[float, float, float]] = []
    with (folder / f"{scenario.trace}.csv").open() as lines:
        for row in csv.DictReader(lines):
            at_s = float(row["t_s"])
            if at_s < scenario.end_s:
                found.append((at_s, float(row["work"]), float(row["claimed"])))
    found.sort(key=lambda row: row[0])
    return Trace(*(list(column) for column in zip(*found, strict=True)))
