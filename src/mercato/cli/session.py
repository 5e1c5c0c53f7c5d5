"""What a command knows: which server, as whom, and how its output is wanted."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click
import msgspec

from mercato.cli.errors import Trouble

if TYPE_CHECKING:
    from mercato.sdk import Mercato
    from mercato.sdk.call import Call

T = TypeVar("T")


class Login(msgspec.Struct, frozen=True):
    """A server's address and a key for it, as `mercato login` keeps them."""

    url: str
    api_key: str


def config_path() -> Path:
    """Where `mercato login` keeps what it is given."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "mercato" / "config.json"


def saved() -> Login | None:
    """What `mercato login` kept, if anything.

    Raises:
        Trouble: when the file cannot be read.
    """
    path = config_path()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Login)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise Trouble(f"cannot read {path}: {error}; run: mercato login URL KEY") from error


class Session:
    """One command's conversation with one server."""

    def __init__(self, *, url: str | None, key: str | None, raw: bool) -> None:
        """Take what the command line said; the rest comes from the file of `mercato login`."""
        if url is None or key is None:
            login = saved()
            # A kept key is only for the server that it was kept for.
            if login is not None and key is None and url in {None, login.url}:
                key = login.api_key
            if login is not None and url is None:
                url = login.url
        self._url = url
        self._key = key
        self.raw = raw
        self._market: Mercato | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._market is not None:
            self._market.close()

    @property
    def url(self) -> str:
        """The server's address.

        Raises:
            Trouble: when none is known.
        """
        if self._url is None:
            raise Trouble(
                "which server? Give --url, set MERCATO_URL, or run: mercato login URL KEY"
            )
        return self._url

    @property
    def market(self) -> "Mercato":
        """The client; connects when first used."""
        if self._market is None:
            from mercato.sdk import Mercato

            self._market = Mercato(self.url, self._key)
        return self._market

    def give(self, call: "Call[T]", show: Callable[[T], None]) -> None:
        """Make a call and print its answer: as it is for programs, by `show` for people."""
        from mercato.sdk.call import read

        answer = self.market.fetch(call)
        if self.raw:
            print_json(answer)
        else:
            show(read(call, answer))

    def do(self, call: "Call[Any]", said: str) -> None:
        """Make a call that changes something; say so in a line."""
        self.give(call, lambda _: print_line(said))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before what cannot be undone, unless it was said: by `--yes`, or to a program.

        Raises:
            Trouble: when there is nobody to ask.
        """
        if yes or self.raw:
            return
        if not sys.stdin.isatty():
            raise Trouble(f"{question} Say --yes: there is nobody here to ask", exit_code=2)
        click.confirm(question, abort=True)


def print_json(value: Any) -> None:
    """Print JSON, for programs."""
    sys.stdout.write(json.dumps(msgspec.to_builtins(value), indent=2) + "\n")


def print_line(text: str) -> None:
    """Print a line, for people."""
    sys.stdout.write(text + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print rows under column names, or `empty` when there are none.

    A column whose name ends in `>` is aligned right. Wide when it is not a terminal that reads.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    kept = [tuple("-" if cell is None else str(cell) for cell in row) for row in rows]
    if not kept:
        print_line(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name.endswith(">")
        table.add_column(
            name.rstrip(">"),
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in kept:
        table.add_row(*(Text(cell) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=240)
    console.print(table)
