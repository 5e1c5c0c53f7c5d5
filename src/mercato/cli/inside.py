"""`mercato ssh, logs, exec`: a rental from the inside."""

import os
import shlex
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from mercato.cli.command import Argument, Option, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, config_directory, print_json, print_line
from mercato.cli.tree import speaks
from mercato.cli.waiting import state_of

if TYPE_CHECKING:
    from mercato.sdk.shapes import Instance as Row

app = group("mercato")

Instance = Annotated[int, Argument(metavar="INSTANCE", help="The instance's id.")]
FOLLOW_EVERY_S: Final = 2.0


@speaks(app, "ssh", passes_on=True)
def ssh(
    session: Session,
    instance: Instance,
    command: Annotated[tuple[str, ...], Argument(help="A command, instead of a terminal.")] = (),
    *,
    identity: Annotated[
        Path | None, Option("--identity", "-i", help="The private key to show.")
    ] = None,
    show: Annotated[bool, Option("--print", help="Only print the command.")] = False,
) -> None:
    """Open a shell inside an instance, or run a command there.

    For example:

        mercato ssh 7

        mercato ssh 7 nvidia-smi

        mercato ssh --print 7
    """
    row = session.market.instance(instance)
    if row is None:
        raise Trouble(f"you have no instance {instance}")
    program = ssh_command(session.url, row, command, identity)
    if show or session.raw:
        print_json({"command": program}) if session.raw else print_line(shlex.join(program))
        return
    found = shutil.which("ssh")
    if found is None:
        raise Trouble("there is no ssh program here; on Debian: apt-get install openssh-client")
    sys.stdout.flush()
    os.execv(found, program)  # noqa: S606 - no shell, and the arguments are a list


def ssh_command(
    url: str, row: "Row", command: Sequence[str], identity: Path | None = None
) -> list[str]:
    """The ssh program's arguments for one instance.

    Host keys are kept in a file of our own under the instance's name, because another instance may
    have had the same address.

    Raises:
        Trouble: while the instance has no SSH server, and when host keys cannot be kept.
    """
    door = row.door()
    if door is None:
        raise Trouble(
            f"instance {row.id} cannot be entered: it is {state_of(row)}; see: mercato ps"
        )
    host, port = door
    server = urlsplit(url).netloc.replace(":", "-")
    known = config_directory() / "known_hosts"
    options = {
        "HostKeyAlias": f"mercato-{server}-{row.id}-{int(row.start_date or 0)}",
        "UserKnownHostsFile": str(known),
        "StrictHostKeyChecking": "accept-new",
        "LogLevel": "ERROR",
    }
    chosen = [] if identity is None else ["-i", str(identity), "-o", "IdentitiesOnly=yes"]
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", *flags, *chosen, "-p", str(port), f"root@{host}", *command]


@speaks(app, "logs")
def logs(
    session: Session,
    instance: Instance,
    *,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on as it prints.")] = False,
    tail: Annotated[int, Option("--tail", "-n", help="The last so many lines.")] = 1_000,
    daemon: Annotated[
        bool, Option("--daemon", help="What its host's agent says about it.")
    ] = False,
) -> None:
    """Print an instance's output.

    For example:

        mercato logs 7 --tail 50

        mercato logs 7 --follow
    """
    text = session.market.logs(instance, tail=tail, daemon=daemon)
    if session.raw:
        print_json({"logs": text})
        return
    seen = text.splitlines()
    _print(seen)
    pause = threading.Event()
    while follow:
        pause.wait(FOLLOW_EVERY_S)
        now = session.market.logs(instance, tail=tail, daemon=daemon).splitlines()
        _print(fresh(seen, now))
        seen = now


def fresh(seen: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines of `now` that come after those of `seen`: two views of a text that only grows."""
    for overlap in range(min(len(seen), len(now)), 0, -1):
        if list(seen[-overlap:]) == list(now[:overlap]):
            return now[overlap:]
    return now


def _print(lines: Sequence[str]) -> None:
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


@speaks(app, "exec", passes_on=True)
def execute(
    session: Session,
    instance: Instance,
    command: Annotated[tuple[str, ...], Argument(help="The command, as a shell takes it.")],
) -> None:
    """Run a command inside an instance and print what it printed.

    For example:

        mercato exec 7 nvidia-smi

        mercato exec 7 'du -sh /workspace | tail -1'
    """
    text = session.market.execute(instance, " ".join(command))
    if session.raw:
        print_json({"output": text})
    else:
        sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
