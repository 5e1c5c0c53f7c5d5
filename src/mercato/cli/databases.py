"""`mercato database`: the embedded PostgreSQL's own programs, for backups and a look inside."""

import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import click

from mercato.cli.command import Argument, Option, command, group
from mercato.cli.errors import Trouble

app = group("mercato")


@command(app, "database", passes_on=True)
def database(
    program: Annotated[
        tuple[str, ...], Argument(help="The program and its arguments. Default: psql.")
    ] = (),
    *,
    data: Annotated[Path, Option("--data", help="The market's data directory.")] = Path("data"),
    new: Annotated[
        bool, Option("--new", help="Make a database there if there is none: to restore into.")
    ] = False,
) -> None:
    """Run psql, pg_dump or pg_restore on the embedded database, whether a server runs or not.

    For example:

        mercato database psql -c 'select count(*) from contracts'

        mercato database pg_dump --format=custom --file=market.dump

        mercato database --data restored --new pg_restore --dbname=postgres market.dump
    """
    from mercato.control.embedded import (
        DatabaseDidNotStart,
        DataDirectoryInUse,
        EmbeddedPostgres,
        programs,
    )

    postgres = EmbeddedPostgres(data / "database")
    if not new and not postgres.exists():
        raise Trouble(f"{data} has no embedded database; give another --data, or --new to make one")
    with ExitStack() as parts:
        try:
            postgres.start()
            parts.callback(postgres.stop)
        except DataDirectoryInUse:
            pass  # its server runs, and serves us too
        except (DatabaseDidNotStart, OSError) as problem:
            raise Trouble(str(problem)) from problem
        environment = {
            **os.environ,
            **postgres.environment(),
            "PATH": f"{programs()}:{os.environ.get('PATH', '')}",
        }
        # Ctrl-C is the program's: psql cancels a query by it and goes on. SIG_IGN it would inherit.
        signal.signal(signal.SIGINT, lambda *_: None)
        # A dump has everybody's secrets.
        os.umask(0o077)
        try:
            done = subprocess.run(program or ("psql",), env=environment, check=False)  # noqa: S603 - the person's own command
        except OSError as problem:
            raise Trouble(f"cannot run {program[0]}: {problem.strerror}") from problem
    raise click.exceptions.Exit(done.returncode)
