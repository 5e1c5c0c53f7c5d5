"""Scenarios and traces: what is asked of a fleet, when, and what it starts from."""

import csv
import math
import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from arena.market import Faults


class BadInputError(Exception):
    """A file, a folder or a name is not what it should be; the message says what to do."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
    start_s: float = 30.0
    """From waking a worker to its first request, usually."""
    load_s: float = 210.0
    """From the container to its first request, usually."""
    faults: Faults = Faults()

    def wrong(self) -> str | None:
        """Why it cannot be played."""
        if not 0 <= self.warm_s < self.end_s < math.inf:
            return "it needs 0 <= warm_s < end_s"
        if self.slots < 1:
            return "slots must be 1 or more"
        if not (0 <= self.start_s < math.inf and 0 <= self.load_s < math.inf):
            return "start_s and load_s must be 0 or more"
        if self.hot_min not in (0, 1):
            return "hot_min must be 0 or 1"
        if min(self.ready, self.stopped) < 0 or self.ready + self.stopped > self.workers_max:
            return "ready and stopped must be 0 or more and together no more than workers_max"
        return None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scenario: list[Scenario]


class Trace(msgspec.Struct, frozen=True):
    """Requests in order of arrival: seconds, true work, claimed cost."""

    at_s: list[float]
    work: list[float]
    claimed: list[float]


COLUMNS: Final = ("t_s", "work", "claimed")


def read_scenarios(file: Path) -> list[Scenario]:
    """The scenarios of a TOML file; see scenarios.toml for every field."""
    try:
        found = msgspec.convert(tomllib.loads(file.read_text()), _File).scenario
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"cannot read the scenarios: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{file} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise BadInputError(f"{file}: {error}; scenarios.toml shows every field") from None
    if not found:
        raise BadInputError(f"{file} has no [[scenario]]")
    for scenario in found:
        if (wrong := scenario.wrong()) is not None:
            raise BadInputError(f"{file}: scenario {scenario.name!r}: {wrong}")
    name, times = Counter(one.name for one in found).most_common(1)[0]
    if times > 1:
        raise BadInputError(f"{file} has {times} scenarios of the name {name!r}")
    return found


def read_trace(folder: Path, scenario: Scenario) -> Trace:
    """The trace of a scenario, cut at its end."""
    if not folder.is_dir():
        raise BadInputError(f"no folder {folder}: name that of the traces with --traces")
    file = folder / f"{scenario.trace}.csv"
    found: list[tuple[float, float, float]] = []
    try:
        with file.open() as lines:
            rows = csv.DictReader(lines)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise BadInputError(f"{file} has no column {', '.join(missing)} in its first line")
            for row in rows:
                at_s, work, claimed = (_number(file, rows.line_num, row[one]) for one in COLUMNS)
                if at_s < scenario.end_s:
                    found.append((at_s, work, claimed))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        name = scenario.name
        raise BadInputError(f"cannot read the trace of scenario {name!r}: {error}") from None
    found.sort(key=lambda row: row[0])
    if not any(work for at_s, work, _ in found if at_s >= scenario.warm_s):
        span = f"between warm_s {scenario.warm_s:g} and end_s {scenario.end_s:g}"
        raise BadInputError(f"{file} has no work {span} of scenario {scenario.name!r}")
    return Trace(*(list(column) for column in zip(*found, strict=True)))


def _number(file: Path, line: int, text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise BadInputError(f"{file}, line {line}: {text!r} is not a number of 0 or more")
    return number
