"""Waiting, with its progress shown on stderr."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

from mercato.cli.errors import INTERRUPTED, Trouble
from mercato.cli.text import printable

if TYPE_CHECKING:
    from mercato.sdk import Mercato
    from mercato.sdk.shapes import Instance

EVERY_S: Final = 0.5
_DEAD: Final = frozenset({"exited", "failed", "destroyed", "offline"})


def until_running(market: "Mercato", instance: int, timeout_s: float) -> "Instance":
    """Wait until an instance runs and can be entered; shows its states and image progress.

    Raises:
        Trouble: when it fails, is gone, or does not run within `timeout_s`; when Ctrl-C ends the
            wait, for the instance goes on.
    """
    try:
        with _ctrl_c() as pressed, saying(f"instance {instance}: asked for") as say:
            row = _follow(market, instance, timeout_s, say, pressed)
    except KeyboardInterrupt:
        row = None
    if row is None:
        raise Trouble(
            f"instance {instance} is yours and goes on without being waited for; see: mercato ps",
            exit_code=INTERRUPTED,
        )
    return row


def state_of(instance: "Instance") -> str:
    """What an instance is, in a word."""
    return instance.state or instance.actual_status or instance.cur_state or "waiting for its host"


def need_hope(instance: "Instance") -> None:
    """Make sure that an instance may still come to run.

    Raises:
        Trouble: when it will not by itself; says why.
    """
    state = state_of(instance)
    if state in _DEAD and instance.intended_status != "running":
        raise Trouble(f"instance {instance.id} is {state}: {instance.status_msg}")


@contextmanager
def saying(first: str) -> Iterator[Callable[[str], None]]:
    """Says on stderr how a wait goes: in one line that changes, or a line for each new text."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(Text(first)) as status:
            yield lambda text: status.update(Text(printable(text)))
    else:
        yield _lines()


def _lines() -> Callable[[str], None]:
    """Says each new text once, for logs and pipes."""
    said = [""]

    def say(text: str) -> None:
        if text != said[0]:
            said[0] = text
            sys.stderr.write(printable(text) + "\n")

    return say


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Tells whether Ctrl-C was pressed; pressed again it interrupts at once.

    An interruption anywhere could leave a lock taken, of the line that is shown or of the client.
    """
    was_pressed = False

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal was_pressed
        was_pressed = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: was_pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(
    market: "Mercato",
    instance: int,
    timeout_s: float,
    say: Callable[[str], None],
    pressed: Callable[[], bool],
) -> "Instance | None":
    """The instance once it runs; None when that is waited for no more."""
    until = time.monotonic() + timeout_s
    pause = threading.Event()
    while time.monotonic() < until:
        row = market.instance(instance)
        if row is None:
            raise Trouble(f"instance {instance} is gone")
        say(f"instance {instance}: {state_of(row)}  {(row.status_msg or '').strip()}".rstrip())
        if row.actual_status == "running" and row.door() is not None:
            return row
        need_hope(row)
        pause.wait(EVERY_S)
        if pressed():
            return None
    raise Trouble(f"instance {instance} did not run within {timeout_s:.0f} s; see: mercato ps")
