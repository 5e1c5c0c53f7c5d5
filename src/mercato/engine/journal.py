"""What an endpoint's engine did and saw, in four grains: the newest lines, in memory."""

from collections import OrderedDict, deque
from collections.abc import Hashable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

LINES_KEPT: Final = 1_000
LINE_CHARS_MAX: Final = 500
SAID_MAX: Final = 1_000


class Grain(StrEnum):
    """How fine; the names are those of the client's levels 0 to 3."""

    EVENTS = "info0"
    """What happened to workers."""
    DECISIONS = "info1"
    """What was decided, and why."""
    REPORTS = "trace"
    """What workers said that was refused, and how each second went."""
    DETAIL = "debug"
    """Requests that failed or were given up."""


class Journal:
    """One endpoint's lines."""

    def __init__(self) -> None:
        self._lines: dict[Grain, deque[str]] = {grain: deque(maxlen=LINES_KEPT) for grain in Grain}

    def write(self, grain: Grain, now_s: float, text: str) -> None:
        """Add a line."""
        when = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")
        self._lines[grain].append(f"{when} {text[:LINE_CHARS_MAX]}")

    def read(self, tail: int | None = None) -> dict[str, str]:
        """The lines of each grain, oldest first; of each the last `tail`."""
        count = LINES_KEPT if tail is None else max(0, tail)
        return {
            str(grain): "\n".join(list(lines)[len(lines) - min(count, len(lines)) :])
            for grain, lines in self._lines.items()
        }


class Once:
    """What was said of each thing last, so that it is not said again at every turn."""

    def __init__(self) -> None:
        self._said: OrderedDict[Hashable, str] = OrderedDict()

    def is_news(self, of: Hashable, text: str) -> bool:
        """Whether this is not what was said of it last; from now on it is."""
        if self._said.get(of) == text:
            return False
        self._said[of] = text
        if len(self._said) > SAID_MAX:
            self._said.popitem(last=False)
        return True

    def is_over(self, of: Hashable) -> None:
        """There is nothing to be said of it any more; the next time is news."""
        self._said.pop(of, None)
