"""What a visitor asks for, as a command for the container. Pure."""

from collections.abc import Mapping
from typing import Final

ROOT: Final = "root"
COPIER: Final = "vastai_kaalia"
"""The name by which `vastai copy` comes; it may copy files and nothing else."""

USERS: Final = frozenset({ROOT, COPIER})

_SHELL: Final = """\
cd "${HOME:-/root}" 2> /dev/null || cd /
export USER=root LOGNAME=root
if [ -x /bin/bash ]; then SHELL=/bin/bash; else SHELL=/bin/sh; fi
export SHELL
"""
_LOGIN: Final = ("/bin/sh", "-c", f'{_SHELL}exec "$SHELL" -l')
_COMMAND: Final = ("/bin/sh", "-c", f'{_SHELL}exec "$SHELL" -c "$1"', "sh")

_COPY: Final = """\
command -v rsync > /dev/null || {
  echo "this image has no rsync, which vastai copy needs; use scp or sftp instead" >&2
  exit 127
}
umask 077
config=/tmp/.mercato-rsyncd-$$
trap 'rm -f "$config"' EXIT
trap 'exit 1' HUP INT TERM
printf '%s\\n' "$1" > "$config" || exit 1
rsync --server --daemon --config="$config" .
"""

COPY_COMMAND: Final = "rsync --server --daemon ."


def shell() -> tuple[str, ...]:
    """A login shell: bash where there is one, else sh."""
    return _LOGIN


def run(command: str) -> tuple[str, ...]:
    """A command as the login shell takes it, in the home directory."""
    return (*_COMMAND, command)


def copy(instance: int) -> tuple[str, ...]:
    """An rsync daemon for one connection, whose modules are the whole of the container."""
    return ("/bin/sh", "-c", _COPY, "sh", copy_config(instance))


def copy_config(instance: int) -> str:
    """What the rsync daemon is told: the instance by both of its names."""
    lines = ["use chroot = no", "uid = 0", "gid = 0", "read only = no", "numeric ids = yes"]
    for name in (f"C.{instance}", str(instance)):
        lines += [f"[{name}]", "path = /"]
    return "\n".join(lines)


def variables(
    asked: Mapping[str, str], terminal: str | None, peer: tuple[str, int], here: tuple[str, int]
) -> dict[str, str]:
    """What a session's environment has beside the container's own.

    `asked` is what the visitor sends along; names that a shell could not hold are left out.
    """
    kept = {name: value for name, value in asked.items() if _is_name(name) and "\0" not in value}
    if terminal:
        kept["TERM"] = terminal
    kept["SSH_CLIENT"] = f"{peer[0]} {peer[1]} {here[1]}"
    kept["SSH_CONNECTION"] = f"{peer[0]} {peer[1]} {here[0]} {here[1]}"
    return kept


def _is_name(name: str) -> bool:
    return name.isascii() and name.isidentifier()
