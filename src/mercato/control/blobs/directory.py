"""Files in a directory of this server, behind links that the server signs itself."""

import filecmp
import hashlib
import hmac
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlencode

from mercato.control.blobs.blobs import LINK_S, BlobsTrouble, Form, checked
from mercato.market import errors

PATH: Final = "/api/v0/uploads"
FETCH: Final = "fetch"
BRING: Final = "bring"

_EXPIRED: Final = "This link is not good, or not any more: ask for another."


class Directory:
    """The store that needs nothing: for one server, or several on one shared file system."""

    def __init__(self, root: Path, key: bytes) -> None:
        """Keep files below `root`; sign links with `key`."""
        self._root = root
        self._key = key

    def form(self, name: str, size: int, origin: str, now_ms: int) -> Form:
        """A form whose signature names the file, its size and an end."""
        return Form(url=self._signed(BRING, name, size, origin, now_ms), fields={})

    def link(self, name: str, origin: str, now_ms: int) -> str:
        """A URL of this server whose signature names the file and an end."""
        return self._signed(FETCH, name, 0, origin, now_ms)

    def has(self, name: str, now_ms: int) -> bool:  # noqa: ARG002 - nothing is signed
        """Whether it was brought."""
        return self._path(name).is_file()

    def remove(self, name: str, now_ms: int) -> None:  # noqa: ARG002 - nothing is signed
        """Forget a file."""
        self._path(name).unlink(missing_ok=True)

    # What the routes of uploads.py do.

    def check(self, deed: str, name: str, size: int, until: int, signature: str) -> None:
        """Refuse what is not signed by this market for just this; see `expired` for the time.

        Raises:
            NotPermitted: when it is not.
        """
        wanted = self._signature(deed, name, size, until)
        if not hmac.compare_digest(wanted.encode(), signature.encode()):
            raise errors.NotPermitted(_EXPIRED)

    def take(self, name: str, size: int, source: IO[bytes]) -> None:
        """Keep a file that was brought; all of it or nothing.

        Raises:
            InvalidRequest: when it has another size than was announced.
            Conflict: when another is there: somebody may use it already.
            BlobsTrouble: when it cannot be written.
        """
        path = self._path(name)
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=self._root, delete=False) as part:
                try:
                    _copy(source, part, size)
                    _place(Path(part.name), path)
                except BaseException:
                    Path(part.name).unlink(missing_ok=True)
                    raise
        except OSError as problem:
            raise BlobsTrouble(f"cannot write to {self._root}: {problem.strerror}") from None

    def read(self, name: str) -> tuple[int, Iterator[bytes]]:
        """A file's size and its content, piece by piece.

        Raises:
            NotFound: when there is none of that name.
        """
        try:
            file = self._path(name).open("rb")
        except OSError:
            raise errors.NotFound("There is no such file.") from None
        return os.fstat(file.fileno()).st_size, _pieces(file)

    def _path(self, name: str) -> Path:
        return self._root / checked(name)

    def _signed(self, deed: str, name: str, size: int, origin: str, now_ms: int) -> str:
        until = now_ms // 1_000 + LINK_S
        signature = self._signature(deed, checked(name), size, until)
        query = urlencode({"size": size, "until": until, "signature": signature})
        return f"{origin}{PATH}/{name}/?{query}"

    def _signature(self, deed: str, name: str, size: int, until: int) -> str:
        told = f"{deed}\n{name}\n{size}\n{until}".encode()
        return hmac.new(self._key, told, hashlib.sha256).hexdigest()


def expired(until: int, now_ms: int) -> None:
    """Refuse a link whose time is over.

    Raises:
        NotPermitted: when it is.
    """
    if until * 1_000 < now_ms:
        raise errors.NotPermitted(_EXPIRED)


def _copy(source: IO[bytes], part: IO[bytes], size: int) -> None:
    shutil.copyfileobj(source, part)
    if part.tell() != size:
        raise errors.InvalidRequest(f"The file has {part.tell()} bytes; {size} were announced.")
    part.flush()
    os.fsync(part.fileno())


def _place(part: Path, path: Path) -> None:
    """Give a file its name, unless it would take the place of another."""
    if path.exists() and not filecmp.cmp(part, path, shallow=False):
        raise errors.Conflict(
            "A file of this name was brought already, and this one differs from it: it may be in"
            " use and stays. Deploy again to be told whether anything is to be uploaded."
        )
    part.replace(path)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(1 << 18):
            yield piece
