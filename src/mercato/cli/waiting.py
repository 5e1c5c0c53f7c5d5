"""Waiting, with its progress shown on stderr."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mercato.cli.errors import Trouble

if TYPE_CHECKING:
    from mercato.sdk import Mercato
    from mercato.sdk.shapes import Instance

EVERY_S: Final = 0.5
_DEAD: Final = frozenset({"exited", "failed", "destroyed", "offline"})


def until_running(market: "Mercato", instance: int, timeout_s: float) -> "Instance":
    """Wait until an instance runs and can be entered; shows its states and image progress.

    Raises:
        Trouble: when it fails, is gone, or does not run within `timeout_s`.
    """
    with saying(f"instance {instance}: asked for") as say:
        return _follow(market, instance, timeout_s, say)


@contextmanager
def saying(first: str) -> Iterator[Callable[[str], None]]:
    """Says on stderr how a wait goes: in one line that changes, or a line for each new text."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(first) as status:
            yield status.update
    else:
        yield _lines()


def _lines() -> Callable[[str], None]:
    """Says each new text once, for logs and pipes."""
    said = [""]

    def say(text: str) -> None:
        if text != said[0]:
            said[0] = text
            sys.stderr.write(text + "\n")

    return say


def _follow(
    market: "Mercato", instance: int, timeout_s: float, say: Callable[[str], None]
) -> "Instance":
    until = time.monotonic() + timeout_s
    pause = threading.Event()
    while time.monotonic() < until:
        row = market.instance(instance)
        if row is None:
            raise Trouble(f"instance {instance} is gone")
        state = row.actual_status or row.cur_state or "waiting for its host"
        say(f"instance {instance}: {state}  {(row.status_msg or '').strip()}".rstrip())
        if row.actual_status == "running" and row.door() is not None:
            return row
        if row.actual_status in _DEAD and row.intended_status != "running":
            raise Trouble(f"instance {instance} is {row.actual_status}: {row.status_msg}")
        pause.wait(EVERY_S)
    raise Trouble(f"instance {instance} did not run within {timeout_s:.0f} s; see: mercato ps")
