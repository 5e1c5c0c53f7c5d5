"""`mercato up`: a whole market on this machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import click

from mercato.cli.command import Option, command, group

app = group("mercato")


class Demo(StrEnum):
    """What becomes of the demonstration rental."""

    NONE = "none"
    KEEP = "keep"
    EXIT = "exit"


class Engine(StrEnum):
    """What runs the instances."""

    DOCKER = "docker"
    PRETEND = "pretend"


@command(app, "up")
def up(  # noqa: PLR0913 - a market has these parts, each an option
    *,
    data: Annotated[
        Path, Option("--data", help="Everything is kept here; a second start goes on.")
    ] = Path("data"),
    host: Annotated[str, Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option("--port", help="The port to listen on.")] = 8400,
    demo: Annotated[
        Demo,
        Option(
            "--demo", help="Rent for show, and: keep it and serve, exit after it, or none at all."
        ),
    ] = Demo.KEEP,
    engine: Annotated[
        Engine, Option("--engine", help="Real containers, or pretend ones.")
    ] = Engine.DOCKER,
    pretend: Annotated[
        bool, Option("--pretend", help="The same as --engine pretend: needs no Docker.")
    ] = False,
    hardware: Annotated[
        tuple[Path, ...],
        Option(
            "--hardware",
            help="A TOML file that declares a machine; repeat for more. Default: this machine.",
        ),
    ] = (),
    ready_file: Annotated[
        Path | None,
        Option("--ready-file", help="Written as JSON, at once, when everything serves."),
    ] = None,
    database_url: Annotated[
        str | None,
        Option(
            "--database-url",
            env="DATABASE_URL",
            help="A PostgreSQL of your own. Default: one is started in the data directory.",
        ),
    ] = None,
    need_free_gb: Annotated[
        float, Option("--need-free-gb", help="Refuse to start with less free disk.")
    ] = 2.0,
    reload: Annotated[
        bool, Option("--reload", help="For development: start again when the code changes.")
    ] = False,
) -> None:
    """A whole market on this machine: database, server, agent, accounts, a rental for show.

    For example:

        mercato up

        mercato up --demo exit

        mercato up --pretend --hardware eight-4090.toml --hardware h100.toml --demo none
    """
    from mercato.cli.up.market import Options, run

    options = Options(
        data=data,
        host=host,
        port=port,
        demo=demo.value,
        engine="pretend" if pretend else engine.value,
        hardware=hardware,
        ready_file=ready_file,
        database_url=database_url,
        need_free_gb=need_free_gb,
        reload=reload,
    )
    raise click.exceptions.Exit(run(options))
