"""How `mercato up` tells what it does: one line for each step, with its time."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.text import Text

QUIET_S: Final = 3.0
"""Where nobody watches a spinner, progress is told this often at most."""


class Say:
    """Tells a person, on a terminal or in a log, how far it is."""

    def __init__(self) -> None:
        """Speak on standard output."""
        width = None if sys.stdout.isatty() else 160
        self._console = Console(highlight=False, soft_wrap=True, width=width)

    def line(self, text: str = "") -> None:
        """Say a line as it is."""
        self._console.print(Text(text))
        sys.stdout.flush()

    def trouble(self, text: str) -> None:
        """Say that something is wrong and what is done about it."""
        self._console.print(Text(f"  !!  {text}", style="bold red"))
        sys.stdout.flush()

    @contextmanager
    def step(self, title: str) -> "Iterator[Step]":
        """Show that a step runs; when it ends, say what came of it and how long it took."""
        began = time.monotonic()
        step = Step(title, self._lines(title))
        if self._console.is_terminal:
            with self._console.status(title) as status:
                step.show = lambda text: status.update(Text(f"{title}: {text}"))
                yield step
        else:
            yield step
        took = time.monotonic() - began
        self.line(f"  ok  {title}{': ' if step.outcome else ''}{step.outcome} ({took:.1f} s)")

    def _lines(self, title: str) -> Callable[[str], None]:
        last_at, last_text = time.monotonic(), ""

        def show(text: str) -> None:
            nonlocal last_at, last_text
            now = time.monotonic()
            if text != last_text and now - last_at >= QUIET_S:
                last_at, last_text = now, text
                self.line(f"  ..  {title}: {text}")

        return show


class Step:
    """A step that runs: `show` its progress, leave its `outcome`."""

    def __init__(self, title: str, show: Callable[[str], None]) -> None:
        """Name the step."""
        self.title = title
        self.show = show
        self.outcome = ""
