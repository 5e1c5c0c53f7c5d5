"""A function as a command: its signature is its command line, its docstring the help."""

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import click

F = TypeVar("F", bound=Callable[..., None])

_CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["--help", "-h"], "max_content_width": 100}


@dataclass(frozen=True, slots=True)
class Argument:
    """What a positional argument is; `metavar` names it in the help, its parameter otherwise."""

    help: str
    metavar: str | None = None


class Option:
    """What an option is: its names, what it is for, the variable that stands in for it."""

    def __init__(
        self,
        *names: str,
        help: str,  # noqa: A002 - as click calls it
        env: str | None = None,
        endless: bool = False,
    ) -> None:
        """Describe it; the parameter's own default is its default, and a truth makes a flag.

        A number that is `endless` may be `inf`.
        """
        self.names = names
        self.help = help
        self.env = env
        self.endless = endless


Timeout = Annotated[float, Option("--timeout", help="Seconds to wait at most.", endless=True)]
"""Of commands that wait."""

Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask.")]
"""Of commands that destroy something."""


def group(name: str, purpose: str = "", *, below: click.Group | None = None) -> click.Group:
    """A command that only has commands below it; alone, it shows its help."""
    made = _Group(name, help=purpose, context_settings=_CONTEXT)
    if below is not None:
        below.add_command(made)
    return made


def deepened(below: click.Group, name: str) -> click.Group:
    """Make a command a group as well: alone it does what it did."""
    was = below.commands[name]
    does = was.callback
    assert does is not None, name

    def alone(**given: Any) -> None:
        if click.get_current_context().invoked_subcommand is None:
            does(**given)

    made = _Group(
        name,
        help=was.help,
        callback=alone,
        params=was.params,
        context_settings=_CONTEXT,
        invoke_without_command=True,
    )
    below.add_command(made)
    # Whoever has learned that other groups list with `ls` tries it here too.
    made.add_command(
        _Verbatim(
            "ls",
            callback=does,
            params=was.params,
            help=was.help,
            context_settings=_CONTEXT,
            hidden=True,
        )
    )
    return made


def command(below: click.Group, name: str, *, passes_on: bool = False) -> Callable[[F], F]:
    """Make a function a command below `below`.

    Each parameter is `Annotated` with an `Argument` or an `Option`; one whose type is a tuple takes
    many. With `passes_on`, what follows the first argument is not read as options of ours.
    """

    def register(function: F) -> F:
        parameters = inspect.signature(function).parameters.values()
        add(below, name, function, parameters, passes_on=passes_on)
        return function

    return register


def add(
    below: click.Group,
    name: str,
    function: Callable[..., None],
    parameters: Iterable[inspect.Parameter],
    *,
    passes_on: bool = False,
) -> None:
    """Add `function`, called with `parameters` by name, as a command below `below`."""
    below.add_command(
        _Verbatim(
            name,
            callback=function,
            params=[_parameter(each) for each in parameters],
            help=function.__doc__,
            context_settings={**_CONTEXT, "allow_interspersed_args": not passes_on},
        )
    )


def _parameter(parameter: inspect.Parameter) -> click.Parameter:
    assert get_origin(parameter.annotation) is Annotated, parameter
    annotation, form = get_args(parameter.annotation)
    required = parameter.default is inspect.Parameter.empty
    kind, many = _kind(annotation)
    shared: dict[str, Any] = {"help": form.help, "required": required}
    if kind is not bool:
        shared["type"] = _type(kind, endless=isinstance(form, Option) and form.endless)
    if not required and not many:
        default = parameter.default
        shared["default"] = default.value if isinstance(default, Enum) else default
    if isinstance(form, Argument):
        return click.Argument(
            [parameter.name], metavar=form.metavar, nargs=-1 if many else 1, **shared
        )
    if kind is bool:
        return click.Option([parameter.name, *form.names], is_flag=True, **shared)
    return click.Option(
        [parameter.name, *form.names],
        multiple=many,
        envvar=form.env,
        show_envvar=form.env is not None,
        show_default=not required and parameter.default is not None and not many,
        **shared,
    )


def _kind(annotation: Any) -> tuple[type, bool]:
    """The type of one value, and whether there may be many."""
    if get_origin(annotation) is UnionType:
        [annotation] = [each for each in get_args(annotation) if each is not NoneType]
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0], True
    assert isinstance(annotation, type), annotation
    return annotation, False


def _type(kind: type, *, endless: bool) -> click.ParamType[Any]:
    if kind is float:
        return _Number(endless=endless)
    if issubclass(kind, Enum):
        return _Named(kind)
    if kind is Path:
        return click.Path(path_type=Path)
    return click.types.convert_type(kind)


class _Number(click.types.FloatParamType):
    """A number: `nan` is none and `inf` seldom, and as JSON both are null, which says otherwise."""

    def __init__(self, *, endless: bool) -> None:
        self._endless = endless

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number) and not (self._endless and number > 0):
            self.fail("must be a finite number", param, ctx)
        return number


class _Named(click.Choice[Any]):
    """One of an enumeration, by its value."""

    def normalize_choice(self, choice: Any, ctx: click.Context | None) -> str:
        del ctx
        return str(choice.value) if isinstance(choice, Enum) else str(choice)


class _Verbatim(click.Command):
    """Help whose text stands as it was written: its examples can be copied."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        formatter.write("\n")
        for line in inspect.cleandoc(self.help or "").splitlines():
            formatter.write(f"  {line}".rstrip() + "\n")


class _Group(_Verbatim, click.Group):
    """A group of commands; `list` is understood where there is `ls`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        found = super().get_command(ctx, cmd_name)
        return super().get_command(ctx, "ls") if found is None and cmd_name == "list" else found
