"""What a command knows: which server, as whom, and how its output is wanted."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import click
import msgspec

from mercato.cli.errors import Trouble
from mercato.cli.text import printable

if TYPE_CHECKING:
    from mercato.sdk import Mercato
    from mercato.sdk.call import Call

T = TypeVar("T")

TEXT_LEAST: Final = 6
"""A column of text is never narrower than this many characters."""


class Login(msgspec.Struct, frozen=True):
    """A server's address and a key for it, as `mercato login` keeps them."""

    url: str
    api_key: str


def config_path() -> Path:
    """Where `mercato login` keeps what it is given."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "mercato" / "config.json"


def config_directory() -> Path:
    """The directory of what `mercato login` keeps, made if there is none.

    Raises:
        Trouble: when it cannot be made.
    """
    made = config_path().parent
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Trouble(
            f"cannot make {made}: {error.strerror}; XDG_CONFIG_HOME can name another place"
        ) from error
    return made


def client(url: str, key: str | None) -> "Mercato":
    """A client of the server at `url`; nothing is sent yet.

    Raises:
        Trouble: when this can be no key.
    """
    from mercato.sdk import Mercato

    if key is not None and not (key.isascii() and key.isprintable()):
        raise Trouble("this is no API key: a key is of plain letters and digits", exit_code=2)
    return Mercato(url, key)


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
            if login is not None:
                url = login.url if url is None else url
                # A kept key is only for the server that it was kept for.
                if key is None and url.rstrip("/") == login.url.rstrip("/"):
                    key = login.api_key
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
            self._market = client(self.url, self._key)
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

    def do_each(self, what: Sequence[tuple["Call[Any]", str]]) -> None:
        """Make calls that change something, one after another; say so in a line each.

        For programs the answers to several are one list, also when the next call fails.
        """
        if not self.raw or len(what) == 1:
            for call, said in what:
                self.do(call, said)
            return
        answers: list[Any] = []
        try:
            for call, _ in what:
                answers.append(self.market.fetch(call))
        finally:
            print_json(answers)

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
    sys.stdout.write(printable(text) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print rows under column names, or `empty` when there are none.

    A column whose name ends in `>` holds ids, numbers or money and is aligned right; one that ends
    in `<` holds names. Both stand whole, if need be beyond the terminal's edge. Other columns hold
    texts, which wrap. Where no terminal reads, nothing does.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    kept = [tuple(map(_cell, row)) for row in rows]
    if not kept:
        print_line(empty)
        return
    least, most = _widths(columns, kept)
    terminal = Console() if sys.stdout.isatty() else None
    crowded = terminal is not None and terminal.width < most
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=crowded)
    for name in columns:
        table.add_column(
            name.rstrip("<>"),
            justify="right" if name.endswith(">") else "left",
            no_wrap=name.endswith(("<", ">")),
            overflow="fold",
        )
    for row in kept:
        table.add_row(*map(Text, row))
    if terminal is not None:
        terminal.width = max(terminal.width, least)
        terminal.print(table)
        return
    with (console := Console(width=most)).capture() as printed:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))


def _cell(value: object) -> str:
    return "-" if value is None else printable(str(value)).expandtabs(4)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """The characters that a table takes: crowded, with its texts wrapped, and in full."""
    from rich.cells import cell_len

    least, most = len(columns) - 1, 2 * (len(columns) - 1)
    for name, *cells in zip(columns, *rows, strict=True):
        lines = (line for cell in cells for line in cell.split("\n"))
        whole = max(map(cell_len, (name.rstrip("<>"), *lines)))
        least += whole if name.endswith(("<", ">")) else min(whole, TEXT_LEAST)
        most += whole
    return least, most
