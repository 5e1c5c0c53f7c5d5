"""How a worker knows that its model is loaded, and that it stays well."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from mercato.pyworker.model import Model
from mercato.pyworker.worker import ModelLog

LOOK_S: Final = 0.1
"""How often a log is looked at for more."""
HEALTH_S: Final = 10.0
LOADING_HEALTH_S: Final = 1.0
UNWELL_AFTER: Final = 2
"""Checks in a row that must fail: one alone may have met a busy server."""
LINE_CHARS_MAX: Final = 65_536


class LogFollower:
    """Reads the lines of a file as they are written, also when the file is rotated or not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._inode = 0
        self._half = ""

    def lines(self) -> list[str]:
        """The whole lines that have come since the last time.

        Raises:
            OSError: when the file is there and cannot be read.
        """
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            return []
        if self._file is None or inode != self._inode:
            # What the old file got before it was moved away must not be missed.
            file = self._path.open(encoding="utf-8", errors="replace")
            found = [] if self._file is None else self._more(self._file)
            self.close()
            self._file = file
            self._inode = inode
            self._half = ""
            return found + self._more(self._file)
        return self._more(self._file)

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _more(self, file: TextIO) -> list[str]:
        if file.tell() > os.fstat(file.fileno()).st_size:
            file.seek(0)  # cut short in place
        *whole, self._half = (self._half + file.read()).split("\n")
        self._half = self._half[-LINE_CHARS_MAX:]
        return whole


async def follow(log: ModelLog, loaded: asyncio.Event, failed: Callable[[str], None]) -> None:
    """Watch a log for ever: set `loaded` at the line that says so, tell `failed` of errors."""
    follower, trouble, bad = LogFollower(Path(log.file)), "", ""
    try:
        while True:
            lines, before = [], trouble
            try:
                lines, trouble = follower.lines(), ""
            except FileNotFoundError:
                trouble = before  # it is just being replaced
            except OSError as error:
                trouble = f"the model's log cannot be read: {error}"
            if trouble != before:
                failed(trouble or bad)  # what the model had said before still holds
            for line in lines:
                if any(text in line for text in log.loaded):
                    loaded.set()
                if any(text in line for text in log.failed):
                    bad = line.strip()
                    failed(bad)
            await asyncio.sleep(LOOK_S)
    finally:
        follower.close()


async def well(model: Model, path: str) -> None:
    """Return at the model server's first good answer."""
    while not await model.is_well(path):  # noqa: ASYNC110 - nobody here could set an event
        await asyncio.sleep(LOADING_HEALTH_S)


async def listening(model: Model) -> None:
    """Return once the model server listens: all there is to go by without log or health."""
    while not await model.listens():  # noqa: ASYNC110 - nobody here could set an event
        await asyncio.sleep(LOADING_HEALTH_S)


async def watch(model: Model, path: str, tell: Callable[[str], None]) -> None:
    """Check for ever; tell what is wrong when it is, and nothing ("") when that is over."""
    failures = 0
    while True:
        await asyncio.sleep(HEALTH_S)
        if await model.is_well(path):
            if failures >= UNWELL_AFTER:
                tell("")
            failures = 0
            continue
        failures += 1
        if failures == UNWELL_AFTER:
            tell(f"the model server's {path} no longer answers 200")
