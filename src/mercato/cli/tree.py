"""The tree of commands: each subject is imported when one of its commands runs."""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import click
from click.shell_completion import CompletionItem

from mercato.cli import command
from mercato.cli.command import Option
from mercato.cli.session import Session
from mercato.cli.table import COMMANDS

P = ParamSpec("P")


class _Lazy(click.Group):
    """A group that imports a command's module when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name in the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, from its module's `app`."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        app: click.Group = import_module(f"mercato.cli.{COMMANDS[cmd_name].module}").app
        return app.commands[cmd_name]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin with what was typed; none of them is imported for it."""
        del ctx
        return [
            CompletionItem(name, help=each.purpose)
            for name, each in COMMANDS.items()
            if name.startswith(incomplete)
        ]


def tree() -> click.Group:
    """The whole program."""
    return _Lazy("mercato", commands=dict.fromkeys(COMMANDS))  # type: ignore[arg-type] # names suffice for suggestions; get_command finds the rest


_Url = Annotated[str | None, Option("--url", env="MERCATO_URL", help="The server's address.")]
_Key = Annotated[str | None, Option("--api-key", env="MERCATO_API_KEY", help="Your API key.")]
_Raw = Annotated[bool, Option("--raw", help="Print JSON, for programs.")]

_SHARED: Final[dict[str, tuple[Any, Any]]] = {
    "url": (_Url, None),
    "api_key": (_Key, None),
    "raw": (_Raw, False),
}


def speaks(
    app: click.Group,
    name: str,
    *,
    passes_on: bool = False,
    also: Mapping[str, Any] = MappingProxyType({}),
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Make a function a command of `app` that speaks to a server.

    Its first parameter is the session; it gains `--url`, `--api-key` and `--raw`. `passes_on` is
    as for any command. `also` are options that several commands have, by the name under which each
    takes them among its keywords; what is not given is None.
    """

    def register(
        function: Callable[Concatenate[Session, P], None],
    ) -> Callable[Concatenate[Session, P], None]:
        own = [
            each
            for each in list(inspect.signature(function).parameters.values())[1:]
            if each.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        more = {each: (annotation, None) for each, annotation in also.items()} | _SHARED
        shared = [
            inspect.Parameter(
                each, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for each, (annotation, default) in more.items()
        ]

        def run(**given: Any) -> None:
            with Session(
                url=given.pop("url"), key=given.pop("api_key"), raw=given.pop("raw")
            ) as session:
                function(session, **given)  # type: ignore[call-arg] # click fills them by name

        run.__doc__ = function.__doc__
        command.add(app, name, run, [*own, *shared], passes_on=passes_on)
        return function

    return register
