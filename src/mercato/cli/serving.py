"""`mercato serve`: run the control plane."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import click

from mercato.cli.command import Option, command, group
from mercato.cli.errors import Trouble

app = group("mercato")


@command(app, "serve")
def serve(  # noqa: PLR0913 - a server has these settings, each an option
    *,
    data: Annotated[
        Path, Option("--data", help="Its key file, and its database if none is given.")
    ] = Path("data"),
    host: Annotated[str, Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option("--port", help="The port to listen on.")] = 8400,
    database_url: Annotated[
        str | None,
        Option(
            "--database-url",
            env="DATABASE_URL",
            help="A PostgreSQL of your own. Default: one is started in the data directory.",
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        Option(
            "--public-url",
            env="MERCATO_PUBLIC_URL",
            help="Where callers reach it. Default: each request's Host header.",
        ),
    ] = None,
    engine_url: Annotated[
        str | None,
        Option(
            "--engine-url",
            env="MERCATO_ENGINE_URL",
            help="Where serverless workers reach this server. Default: --public-url.",
        ),
    ] = None,
    no_engine: Annotated[
        bool, Option("--no-engine", help="Serve no endpoints: engines run elsewhere.")
    ] = False,
    rules: Annotated[
        Path | None,
        Option(
            "--rules",
            env="MERCATO_RULES",
            help="A TOML file of the market's rules: fee, horizon, notices, …",
        ),
    ] = None,
    operator: Annotated[
        str | None,
        Option(
            "--operator",
            help="The e-mail address of the first operator. Its key is written to operator.key "
            "in the data directory, once.",
        ),
    ] = None,
    verify_simulated: Annotated[
        bool,
        Option(
            "--verify-simulated",
            help="For demonstrations: machines with declared hardware are verified as they join.",
        ),
    ] = False,
) -> None:
    """Run the control plane: database migrations, API, agents' line, loops.

    For example:

        mercato serve --data /var/lib/mercato --operator ann@example.com

        DATABASE_URL=postgresql://... mercato serve --host 0.0.0.0 --public-url https://gpus.example
    """
    from mercato.cli.companion import EngineBeside
    from mercato.control import app as control
    from mercato.control.settings import BadSetting, read, read_rules

    with ExitStack() as parts:
        url = database_url or _embedded(data, parts)
        try:
            settings = read(
                os.environ,
                data_key=_directory(data) / "data.key",
                database_url=url,
                host=host,
                port=port,
                public_url=public_url,
                rules=read_rules(rules, simulated_verified=verify_simulated),
            )
        except BadSetting as error:
            raise Trouble(str(error)) from error
        _migrate(url)
        if operator is not None:
            _open_operator(url, operator, data / "operator.key")
        at = engine_url or public_url or f"http://{host}:{port}"
        status = control.serve(
            settings, None if no_engine else lambda plane: EngineBeside(plane, at)
        )
    raise click.exceptions.Exit(status)


def _directory(data: Path) -> Path:
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Trouble(f"cannot write to {data}: {error.strerror}") from error
    return data


def _embedded(data: Path, parts: ExitStack) -> str:
    """A database in the data directory, stopped with `parts`; its URL."""
    from mercato.control.embedded import (
        DatabaseDidNotStart,
        DataDirectoryInUse,
        EmbeddedPostgres,
    )

    postgres = EmbeddedPostgres(_directory(data) / "database")
    try:
        url = postgres.start()
    except (DataDirectoryInUse, DatabaseDidNotStart) as error:
        raise Trouble(str(error)) from error
    parts.callback(postgres.stop)
    return url


def _migrate(url: str) -> None:
    import psycopg

    from mercato.control.migrate import SchemaTooNew, migrate

    try:
        migrate(url)
    except SchemaTooNew as error:
        raise Trouble(str(error)) from error
    except psycopg.Error as error:
        reason = (str(error).strip().splitlines() or ["no answer"])[0]
        raise Trouble(f"the database cannot be reached: {reason}; check --database-url") from error


def _open_operator(url: str, email: str, path: Path) -> None:
    """Open this operator's account unless there is one; its key is kept at `path`."""
    import secrets

    from mercato.cli.up.place import write_private
    from mercato.control.clock import SystemClock
    from mercato.control.db import Database
    from mercato.control.flows.opening import is_new, open_operator

    secret = secrets.token_hex(32)
    database = Database(url, connections_max=1, on_poke=lambda _topics: None)
    database.open()
    try:
        # Kept before it is true: a key that nobody knows could never be used.
        if database.run_now(is_new, email):
            write_private(path, secret.encode() + b"\n")
            database.run_now(open_operator, email, secret, SystemClock().now_ms())
    finally:
        database.close()
