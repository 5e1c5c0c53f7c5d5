"""The agent's own log: to standard error for its host, and the last lines kept to be asked for."""

import sys
from collections import deque
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

LINES_KEPT: Final = 2_000


class DaemonLog:
    """Where the agent writes what happens."""

    def __init__(self) -> None:
        """Send every log line of this process here."""
        self._lines: deque[tuple[object, str]] = deque(maxlen=LINES_KEPT)
        """Each with the instance that it is about; None when it is about the machine."""
        self._render = structlog.processors.LogfmtRenderer(
            key_order=("timestamp", "level", "event")
        )
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                self._keep,
            ],
            logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        )

    def tail(self, instance: int, lines: int) -> str:
        """The last lines about one instance, for its renter: others' names stand in the rest."""
        about = [line for whose, line in self._lines if whose == instance]
        return "".join(about[-lines:] if lines > 0 else [])

    def _keep(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        instance = event.get("instance")
        line = self._render(logger, method, event)
        self._lines.append((instance, f"{line}\n"))
        return line
