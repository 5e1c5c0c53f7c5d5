"""The page of the 41 behaviours that a right Serverless Engine must show, and the tests that do.

A test shows a behaviour by bearing its number: test_09_… shows the ninth. tests/tidy asks that each
is shown by one at least.
"""

import ast
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = ("engine", "pyworker", "serverless", "control", "e2e")
"""Rooms of the tests in which numbers are behaviours."""

BEHAVIOURS: Final = {
    1: "The official worker accepts every signature; one is made for all routes to a worker.",
    2: "An answer has the six fields that a worker wants; its numbers never repeat.",
    3: "A valid key gets 200 from `/route/` in any overload or change of engines.",
    4: "A decision costs microseconds, with a thousand workers as with ten.",
    5: "Room that comes free is given away at once; no call is held over eight seconds.",
    6: "One worker serves a queue in the order of arrival, over an engine's restart too.",
    7: "Unlike workers share the work by what they can do.",
    8: "A herd of thousands fills the slots and waits; no worker is given too much.",
    9: "A worker dies: its requests go elsewhere, it gets no more, none is counted twice.",
    10: "A request that comes back gets another worker, and is always answered.",
    11: "A silent worker is looked for first, and given up only late.",
    12: "With no reports at all routing goes on, and nobody is stopped.",
    13: "Reports that come twice, late or in the wrong order change nothing.",
    14: "A worker's clock may be an hour off.",
    15: "A false benchmark is found out; one that cannot be is refused.",
    16: "A worker at half its speed is found, drained and replaced within five minutes.",
    17: "A report counts only from the worker itself; a flood of others slows no route.",
    18: "An engine is killed: no request fails, nothing is rented twice or stopped in haste.",
    19: "Of two owners only the younger one's decisions are carried out.",
    20: "Without offers the market is asked seldom, and an offer is taken soon.",
    21: "An offer that cannot be had is left alone, and the next is tried.",
    22: "Half the fleet is outbid: its requests go elsewhere, sleepers are woken at once.",
    23: "A worker that cannot wake is no capacity.",
    24: "There are never more workers than allowed.",
    25: "Over a lowered maximum the sleeping go first, and those that serve drain.",
    26: "An endpoint sleeps when it may, and one request wakes one worker.",
    27: "A crowd before a sleeping endpoint wakes what it needs, and then there is rest.",
    28: "Under a steady load the fleet is left alone.",
    29: "What is wanted on disk is there: the largest of the three rules.",
    30: "Headroom is what the utilisation asks for.",
    31: "A session keeps its worker, counts as load, and ends when it should.",
    32: "Sleep and update cut no request off.",
    33: "A worker that was updated serves once it is ready again.",
    34: "Suspended: routed, nothing decided. Stopped: all asleep within a minute.",
    35: "A worker that never loads is given back; a group that only fails stops renting.",
    36: "What is rented is close to the best price for measured work.",
    37: "The worst price for performance sleeps first.",
    38: "The market bills the seconds that the engine thinks it bills.",
    39: "A hot prefix goes where it is cached, and overfills nobody.",
    40: "In the simulated scenarios the default policy beats its peers.",
    41: "A request is in one place; no sum is negative; decisions survive a crash at any point.",
}

BENCHES: Final = {
    4: ("bench/dataplane/routes.py", "microseconds a decision"),
    17: ("bench/dataplane/reports.py", "routes beside a thousand bad reports a second"),
    40: ("bench/serverless/run", "the study's scenarios, beside the peers' rules"),
}
"""What is not for a test: a matter of speed, or of hours."""


class Shown(NamedTuple):
    """A test that shows a behaviour."""

    path: str
    name: str

    @property
    def sentence(self) -> str:
        """What it shows, in words: tests are named by sentences."""
        return " ".join(self.name.split("_")[2:])


def shown() -> dict[int, list[Shown]]:
    """The tests of each number."""
    found: dict[int, list[Shown]] = {number: [] for number in BEHAVIOURS}
    for room in ROOMS:
        for path in sorted((ROOT / "tests" / room).rglob("test_*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    number = _number(node.name)
                    if number in found:
                        found[number].append(Shown(str(path.relative_to(ROOT)), node.name))
    return found


def _number(name: str) -> int:
    parts = name.split("_")
    numbered = len(parts) > 2 and parts[0] == "test" and len(parts[1]) == 2 and parts[1].isdigit()
    return int(parts[1]) if numbered else 0


def page(drawn: str) -> str:
    """The page; `drawn` is the mark of drawn pages."""
    lines = [
        "# What the Serverless Engine is shown to do",
        drawn,
        "",
        "Forty-one behaviours that an engine must show to be right, and for each the tests that",
        "bear its number.",
        "",
    ]
    tests = shown()
    for number, what in BEHAVIOURS.items():
        lines.append(f"{number}. **{what}**")
        lines += [
            f"    - {one.sentence} ([{Path(one.path).name}](../{one.path}))"
            for one in tests[number]
        ]
        if number in BENCHES:
            bench, of = BENCHES[number]
            lines.append(f"    - measured: {of} ([{bench}](../{bench}))")
    return "\n".join([*lines, ""])
