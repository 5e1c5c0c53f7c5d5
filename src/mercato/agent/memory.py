"""What the agent remembers, so that being killed at any moment changes nothing.

One SQLite file in the data directory: who this machine is, the generation of its reports, and one
record per instance. Every change is on disk before it is acted on or told. Without a path the
memory is only that, for the pretend host of the simulation.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from mercato.agent.engine import Contained, Measured
from mercato.wire.agent import DesiredInstance


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an instance could not be started."""

    revision: int
    boots: int
    message: str

    def concerns(self, desired: DesiredInstance) -> bool:
        """Whether what is wanted now is what failed."""
        return (self.revision, self.boots) == (desired.revision, desired.boots)


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of earlier runs, and what the present run had when last seen."""

    up_before: int = 0
    down_before: int = 0
    up_run: int = 0
    down_run: int = 0
    run: int | None = None
    """When the run began in which `up_run` was seen."""

    def seen(self, container: Contained, measured: Measured) -> "Counters":
        """The counters after a measurement; their sums never fall."""
        fell = measured.up_bytes < self.up_run or measured.down_bytes < self.down_run
        if container.started_at_ms == self.run and not fell:
            return msgspec.structs.replace(
                self, up_run=measured.up_bytes, down_run=measured.down_bytes
            )
        return Counters(
            up_before=self.up,
            down_before=self.down,
            up_run=measured.up_bytes,
            down_run=measured.down_bytes,
            run=container.started_at_ms,
        )

    @property
    def up(self) -> int:
        """Bytes sent since the contract began."""
        return self.up_before + self.up_run

    @property
    def down(self) -> int:
        """Bytes received since the contract began."""
        return self.down_before + self.down_run


class InstanceMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known of one instance beside what its container says."""

    instance: int = 0
    ports: dict[str, int] = {}
    """Wish to outside port."""
    boots: int = 0
    """The boot that was last begun."""
    stopped: bool = False
    """Its last run was ended by us."""
    settled: bool = False
    """Its end or failure was seen while it was not wanted; wanting it again is a new try."""
    failure: Failure | None = None
    step: str = ""
    """The long step that was begun and not finished; empty when none was."""
    step_at_ms: int = 0
    """When it was begun."""
    notice_at_ms: int = 0
    """The end of the notice that its programs can read; 0 when they read of none."""
    counters: Counters = Counters()


_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS machine (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instance (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
"""


class Memory:
    """The records of one machine, in memory and, given a path, on disk."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what is there; the file is made, readable by its owner only, when it is not."""
        self.instances: dict[int, InstanceMemory] = {}
        self._facts: dict[str, str] = {}
        self._db = _opened(path) if path is not None else None
        if self._db is None:
            return
        for number, record in self._db.execute("SELECT id, record FROM instance"):
            self.instances[number] = msgspec.json.decode(record, type=InstanceMemory)
        self._facts = dict(self._db.execute("SELECT name, value FROM machine"))

    def of(self, instance: int) -> InstanceMemory:
        """What is remembered of an instance; an empty record when nothing is."""
        return self.instances.get(instance) or InstanceMemory(instance=instance)

    def keep(self, record: InstanceMemory) -> None:
        """Remember an instance's record, on disk before this returns."""
        assert record.instance > 0
        if self.instances.get(record.instance) == record:
            return
        self.instances[record.instance] = record
        if self._db is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO instance VALUES (?, ?)",
                (record.instance, msgspec.json.encode(record)),
            )

    def change(self, instance: int, **changes: object) -> InstanceMemory:
        """Remember some things anew of an instance."""
        record = msgspec.structs.replace(self.of(instance), **changes)
        self.keep(record)
        return record

    def forget(self, instance: int) -> None:
        """Remember nothing of an instance."""
        if self.instances.pop(instance, None) is not None and self._db is not None:
            self._db.execute("DELETE FROM instance WHERE id = ?", (instance,))

    def ports_of_others(self, instance: int) -> Iterator[int]:
        """Every outside port that another instance has."""
        for number, record in self.instances.items():
            if number != instance:
                yield from record.ports.values()

    def next_generation(self) -> int:
        """A number above every one given before, over restarts too."""
        generation = int(self._facts.get("generation", "0")) + 1
        self.set_fact("generation", str(generation))
        return generation

    def fact(self, name: str) -> str | None:
        """A fact about the machine, such as its id."""
        return self._facts.get(name)

    def facts(self, beginning: str) -> dict[str, str]:
        """Every fact whose name has this beginning."""
        return {name: it for name, it in self._facts.items() if name.startswith(beginning)}

    def drop_fact(self, name: str) -> None:
        """Remember a fact no more."""
        if self._facts.pop(name, None) is not None and self._db is not None:
            self._db.execute("DELETE FROM machine WHERE name = ?", (name,))

    def set_fact(self, name: str, value: str) -> None:
        """Remember a fact about the machine."""
        self._facts[name] = value
        if self._db is not None:
            self._db.execute("INSERT OR REPLACE INTO machine VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()


def _opened(path: Path) -> sqlite3.Connection:
    """The file at `path`, made when it is not there, readable by its owner only."""
    path.touch(mode=0o600)
    db = sqlite3.connect(path, isolation_level=None)
    # A commit survives the death of this process at once, a power cut within a moment.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(_SCHEMA)
    return db
