"""The key by which renters recognise this machine's SSH server."""

import os
from pathlib import Path
from typing import Final

import asyncssh

FILE: Final = "ssh_host_ed25519_key"


def host_key(data: Path) -> asyncssh.SSHKey:
    """The key kept in `data`, made on first use; only its owner may read it.

    Refuses with OSError when the directory cannot be used, or asyncssh.KeyImportError when the file
    is not a key: a new one in its place would look like an attack to every renter.
    """
    path = data / FILE
    if path.exists():
        path.chmod(0o600)
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519", comment="mercato")
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.export_private_key())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return key
