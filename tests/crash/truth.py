"""What Docker says ran, and when: neither the server nor the agent has a hand in it."""

import contextlib
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Container:
    """A container as Docker shows it."""

    id: str
    instance: int
    machine: int
    gpus: tuple[int, ...]
    running: bool
    started_at: str
    """As Docker writes it, to the nanosecond."""


@dataclass
class Run:
    """A container ran from a moment to another, or does still."""

    from_ms: int
    to_ms: int | None = None


def containers(owners: Iterable[str]) -> dict[int, Container]:
    """Every container of some agents, by its instance."""
    found: dict[int, Container] = {}
    for owner in owners:
        label = f"label=mercato.owner={owner}"
        ids = _docker("ps", "-aq", "--no-trunc", "--filter", label).split()
        for shown in json.loads(_docker("inspect", *ids)) if ids else ():
            labels, state = shown["Config"]["Labels"], shown["State"]
            if "mercato.instance" not in labels:
                continue
            gpus = labels["mercato.gpus"]
            instance = int(labels["mercato.instance"])
            assert instance not in found, f"instance {instance} has two containers"
            found[instance] = Container(
                id=shown["Id"],
                instance=instance,
                machine=int(labels["mercato.machine"]),
                gpus=tuple(map(int, gpus.split(","))) if gpus else (),
                running=state["Running"],
                started_at=state["StartedAt"],
            )
    return found


class Journal:
    """Every start and end of the containers of some agents, written down by Docker's own events."""

    def __init__(self, path: Path, owners: Iterable[str]) -> None:
        """Read them from `path`."""
        self._path = path
        self._owners = frozenset(owners)

    def runs(self) -> dict[int, list[Run]]:
        """When each instance's container ran."""
        found: dict[int, list[Run]] = defaultdict(list)
        for line in self._path.read_text().splitlines():
            event = json.loads(line)
            told = event["Actor"]["Attributes"]
            if told.get("mercato.owner") not in self._owners or "mercato.instance" not in told:
                continue
            runs, at_ms = found[int(told["mercato.instance"])], event["timeNano"] // 1_000_000
            if event["Action"] == "start":
                runs.append(Run(at_ms))
            elif runs and runs[-1].to_ms is None:
                runs[-1].to_ms = at_ms
        return found


@contextlib.contextmanager
def journal(path: Path, owners: Iterable[str]) -> Iterator[Journal]:
    """Docker's events are written to `path` for as long as this is held."""
    filters = ("--filter", "type=container", "--filter", "event=start", "--filter", "event=die")
    command = ["docker", "events", "--since", "1m", *filters, "--format", "{{json .}}"]
    with path.open("wb") as file, subprocess.Popen(command, stdout=file) as process:
        try:
            yield Journal(path, owners)
        finally:
            process.terminate()


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    # One that was removed since it was listed is no container any more.
    assert done.returncode == 0 or "No such" in done.stderr, done.stderr
    return done.stdout
