"""`mercato up`: a whole market on this machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Demo(StrEnum):
    """What becomes of the demonstration rental."""

    NONE = "none"
    KEEP = "keep"
    EXIT = "exit"


class Engine(StrEnum):
    """What runs the instances."""

    DOCKER = "docker"
    PRETEND = "pretend"


@app.callback()
def _many() -> None:
    """Keep `up` a named command."""


@app.command("up")
def up(  # noqa: PLR0913 - a market has these parts, each an option
    *,
    data: Annotated[
        Path, typer.Option("--data", help="Everything is kept here; a second start goes on.")
    ] = Path("data"),
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port to listen on.")] = 8400,
    demo: Annotated[
        Demo,
        typer.Option(
            "--demo", help="Rent for show, and: keep it and serve, exit after it, or none at all."
        ),
    ] = Demo.KEEP,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Real containers, or pretend ones.")
    ] = Engine.DOCKER,
    pretend: Annotated[
        bool, typer.Option("--pretend", help="The same as --engine pretend: needs no Docker.")
    ] = False,
    hardware: Annotated[
        list[Path] | None,
        typer.Option(
            "--hardware",
            help="A TOML file that declares a machine; repeat for more. Default: this machine.",
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option("--ready-file", help="Written as JSON, at once, when everything serves."),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            envvar="DATABASE_URL",
            help="A PostgreSQL of your own. Default: one is started in the data directory.",
        ),
    ] = None,
    need_free_gb: Annotated[
        float, typer.Option("--need-free-gb", help="Refuse to start with less free disk.")
    ] = 2.0,
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
        hardware=tuple(hardware or ()),
        ready_file=ready_file,
        database_url=database_url,
        need_free_gb=need_free_gb,
    )
    raise typer.Exit(run(options))
