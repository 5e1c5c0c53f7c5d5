"""The agent's own log: to standard error for its host, and the last lines kept to be asked for."""

import sys
from collections import deque
from typing import Final, TextIO

import structlog

LINES_KEPT: Final = 2_000


class _Tee:
    """A text file that also remembers its last lines."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)

    def write(self, text: str) -> int:
        self.lines.extend(text.splitlines(keepends=True))
        return self._out.write(text)

    def flush(self) -> None:
        self._out.flush()


class DaemonLog:
    """Where the agent writes what happens."""

    def __init__(self) -> None:
        """Send every log line of this process here."""
        self._tee = _Tee(sys.stderr)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
            ],
            logger_factory=structlog.WriteLoggerFactory(self._tee),  # type: ignore[arg-type]
        )

    def tail(self, lines: int) -> str:
        """The last lines written."""
        kept = self._tee.lines
        return "".join(list(kept)[-lines:] if lines > 0 else [])
