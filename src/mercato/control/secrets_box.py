"""The box for secrets: what the database keeps of them is unreadable without the data key.

The key is a file beside the data, readable by its owner only; a copy of the database alone gives
nothing away, and a lost key file loses the secrets.
"""

import os
from pathlib import Path
from typing import Self

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class WrongDataKey(Exception):  # noqa: N818 - what is the matter, in the words of the operator
    """A secret was sealed with another key than the one at hand."""


class SecretsBox:
    """Seals and opens short texts with one symmetric key."""

    def __init__(self, key: bytes) -> None:
        """Use `key`, as `Fernet.generate_key` makes it."""
        self._key = key
        self._fernet = Fernet(key)

    @classmethod
    def at(cls, path: Path) -> Self:
        """The box whose key lies at `path`; a new key is put there when there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_bytes())
        key = Fernet.generate_key()
        with os.fdopen(handle, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        return cls(key)

    def derived(self, purpose: str) -> bytes:
        """32 secret bytes for one purpose, which tell nothing of the key or of any other's."""
        return HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(self._key)

    def seal(self, text: str) -> bytes:
        """Make `text` unreadable."""
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """The text that was sealed.

        Raises:
            WrongDataKey: when it was sealed with another key.
        """
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise WrongDataKey(
                "a stored secret cannot be opened: the data key is not the one it was sealed with"
            ) from None
