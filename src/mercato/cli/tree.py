"""The tree of commands as typer sees it: each subject is imported when one of its commands runs."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer
from typer.core import TyperGroup

from mercato.cli.main import COMMANDS
from mercato.cli.session import Session

P = ParamSpec("P")


class _Lazy(TyperGroup):
    """A group that imports a command's module when the command is named."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name in the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, from its module's `app`."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"mercato.cli.{COMMANDS[cmd_name].module}")
        group = typer.main.get_group(module.app)
        return group.commands.get(cmd_name)


def tree() -> TyperGroup:
    """The whole program."""
    return _Lazy(name="mercato", commands=dict.fromkeys(COMMANDS), help="Mercato.")  # type: ignore[arg-type] # names suffice for suggestions; get_command finds the rest


_Url = Annotated[
    str | None,
    typer.Option("--url", envvar="MERCATO_URL", help="The server's address.", show_default=False),
]
_Key = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="MERCATO_API_KEY",
        help="Your API key.",
        show_default=False,
        show_envvar=True,
    ),
]
_Raw = Annotated[bool, typer.Option("--raw", help="Print JSON, for programs.")]

_SHARED: Final = {"url": (_Url, None), "api_key": (_Key, None), "raw": (_Raw, False)}


def speaks(
    app: typer.Typer, name: str, **options: Any
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Make a function a command of `app` that speaks to a server.

    Its first parameter is the session; it gains `--url`, `--api-key` and `--raw`.
    """

    def register(
        function: Callable[Concatenate[Session, P], None],
    ) -> Callable[Concatenate[Session, P], None]:
        signature = inspect.signature(function)
        own = list(signature.parameters.values())[1:]
        shared = [
            inspect.Parameter(
                each, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for each, (annotation, default) in _SHARED.items()
        ]

        def run(**given: Any) -> None:
            with Session(
                url=given.pop("url"), key=given.pop("api_key"), raw=given.pop("raw")
            ) as session:
                function(session, **given)  # type: ignore[call-arg] # typer fills them by name

        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + shared
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__doc__ = function.__doc__
        app.command(name, **options)(run)
        return function

    return register
