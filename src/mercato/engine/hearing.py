"""Which of a worker's reports are listened to: not too many, and none of a run that is over."""

from typing import Final

from mercato.wire.worker import Status

DEAF_S: Final = 15.0
"""For so long after a restart was ordered the last run may still speak: the order is on its way for
some five seconds, and a host gives a container ten to end."""
REPORTS_PER_S: Final = 4.0
REPORTS_AT_ONCE: Final = 20.0
"""Of one worker; what it reports beyond that is not looked at."""


class Hearing:
    """The ear for one worker."""

    def __init__(self, now_s: float) -> None:
        self._past_boot = ""
        self._deaf_until_s = 0.0
        self._more = REPORTS_AT_ONCE
        self._spoke_s = now_s

    def is_pressed(self, now_s: float) -> bool:
        """Count one more report; whether it comes sooner than anybody needs to know."""
        more = self._more + (now_s - self._spoke_s) * REPORTS_PER_S
        self._more, self._spoke_s = min(REPORTS_AT_ONCE, more), now_s
        if self._more < 1.0:
            return True
        self._more -= 1.0
        return False

    def restarted(self, boot: str, now_s: float) -> None:
        """The run of this name was told to end: what it still says is no news of the next."""
        self._past_boot, self._deaf_until_s = boot, now_s + DEAF_S

    def is_past(self, status: Status, now_s: float) -> bool:
        """Whether a report is of a run that is over; by the clock where runs have no names."""
        if status.boot:
            return status.boot == self._past_boot
        if status.loadtime == 0 and not status.error_msg:
            self._deaf_until_s = 0.0  # it begins anew
        return now_s < self._deaf_until_s
