"""The data directory: everything that `mercato up` keeps, and the lock that makes it the only one.

```
lock            held while it runs; says which process holds it
keys.json       the keys of operator, host and renter; only the owner can read it
ssh/            the renter's key pair for the demonstration
database/       the embedded PostgreSQL
server/         what the control plane keeps beside the database
machine-1/      each agent's own: its key, its journal, its SSH host key
docker/         images and containers, when the Docker Engine was started from here
logs/           what every part printed
```
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mercato.cli.errors import Trouble


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets of the demonstration's accounts.

    Drawn first and written to the database after, so that a start that was cut short goes on with
    the same ones.
    """

    operator: str
    host: str
    renter: str


class Place:
    """One data directory."""

    def __init__(self, root: Path) -> None:
        """Name the directory; nothing is touched yet."""
        self.root = root.expanduser().resolve()

    def make(self) -> None:
        """Create the directory, closed to others.

        Raises:
            Trouble: when it cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise Trouble(f"cannot write to {self.root}: {error.strerror}") from error

    @property
    def logs(self) -> Path:
        """Where every part's output goes."""
        return self.root / "logs"

    @property
    def database(self) -> Path:
        """The embedded database's directory."""
        return self.root / "database"

    @property
    def server(self) -> Path:
        """The control plane's own directory."""
        return self.root / "server"

    @property
    def ssh_key(self) -> Path:
        """The renter's private key."""
        return self.root / "ssh" / "id_ed25519"

    def machine(self, number: int) -> Path:
        """The directory of the agent of the `number`-th machine, from 1."""
        return self.root / f"machine-{number}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the directory for this process only.

        Raises:
            Trouble: when another process holds it.
        """
        path = self.root / "lock"
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = file.read().strip() or "unknown"
                raise Trouble(
                    f"{self.root} is in use by another mercato (process {holder}); "
                    "stop that one, or give another --data"
                ) from error
            file.truncate(0)
            file.seek(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def keys(self) -> Keys:
        """The accounts' keys, drawn at the first start and kept.

        Raises:
            Trouble: when the file is damaged.
        """
        path = self.root / "keys.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Keys)
        except FileNotFoundError:
            keys = Keys(
                operator=secrets.token_hex(32),
                host=secrets.token_hex(32),
                renter=secrets.token_hex(32),
            )
            write_private(path, msgspec.json.format(msgspec.json.encode(keys)))
            return keys
        except msgspec.DecodeError as error:
            raise Trouble(f"{path} is damaged ({error}); give another --data") from error

    def need_space(self, gigabytes: float) -> None:
        """Make sure that the disk has that much free.

        Raises:
            Trouble: when it has not.
        """
        free = shutil.disk_usage(self.root).free / 1e9
        if free < gigabytes:
            raise Trouble(
                f"{self.root} has {free:.1f} GB free and {gigabytes:g} GB are needed: free some, "
                "or give another --data"
            )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
