"""The ready file: how scripts learn that everything serves, and with which keys."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mercato.cli.errors import Trouble
from mercato.cli.up.place import write_private


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a script needs to use the market."""

    url: str
    engine_url: str
    """The Serverless Engine's address."""
    operator_key: str
    host_key: str
    renter_key: str
    machine_id: int
    image: str
    """The local base image: it can be rented without a pull."""
    pid: int
    """Ending this process by SIGTERM stops everything."""


class ReadyFile:
    """The file, if one is wanted: absent before and after, whole in between."""

    def __init__(self, path: Path | None) -> None:
        """Take its path; None for no file."""
        self._path = path

    def clear(self) -> None:
        """Remove what an earlier run left.

        Raises:
            Trouble: when the file could not be written later.
        """
        if self._path is None:
            return
        try:
            self._path.unlink(missing_ok=True)
            writable = os.access(self._path.resolve().parent, os.W_OK)
        except OSError:
            writable = False
        if not writable:
            raise Trouble(f"cannot write {self._path}: give another --ready-file")

    @contextmanager
    def standing(self, ready: Ready) -> Iterator[None]:
        """Say that everything serves, for as long as this is held."""
        if self._path is None:
            yield
            return
        write_private(self._path, msgspec.json.format(msgspec.json.encode(ready)) + b"\n")
        try:
            yield
        finally:
            self._path.unlink(missing_ok=True)
