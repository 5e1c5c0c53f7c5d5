"""How often, and for how long at a time, the need of an endpoint has been above a level.

A worker that is needed for an hour a day is worth another price than one that always works; a
need that lasts two minutes is over before a new worker has loaded. Levels are a geometric grid.
"""

import math
from typing import Final

import msgspec

STEP: Final = 1.25
LOWEST: Final = 0.01
LEVELS: Final = 80
"""From a hundredth of a unit a second to half a million."""
HALF_LIFE_S: Final = 12 * 3_600.0
PRIOR_SHARE: Final = 0.3
PRIOR_S: Final = 600.0
"""Before anything is known: a level is needed for this share of the time, this long at a time."""
FORGOTTEN: Final = 0.3
"""How much of what one level has shown is not believed of the next."""


def level_of(need: float) -> int:
    """The lowest level that is not below `need`."""
    if need <= LOWEST:
        return 0
    return min(LEVELS - 1, math.ceil(math.log(need / LOWEST, STEP)))


class Levels(msgspec.Struct, kw_only=True):
    """Time and spells above each level; older ones count less. Plain data."""

    seconds: float = 0.0
    above_s: list[float] = msgspec.field(default_factory=lambda: [0.0] * LEVELS)
    spells: list[float] = msgspec.field(default_factory=lambda: [0.0] * LEVELS)
    now: int = 0
    """Levels below this one are exceeded now."""

    def live(self, need: float, seconds: float) -> None:
        """This was the need for so many seconds."""
        keep = 0.5 ** (seconds / HALF_LIFE_S)
        self.seconds = self.seconds * keep + seconds
        top = level_of(need)
        for at in range(LEVELS):
            self.above_s[at] *= keep
            self.spells[at] *= keep
            if at < top:
                self.above_s[at] += seconds
                if at >= self.now:
                    self.spells[at] += 1
        self.now = top

    def share(self, level: float) -> float:
        """The share of the time in which the need is above this many units/s."""
        at = level_of(level)
        return (self.above_s[at] + PRIOR_SHARE * PRIOR_S) / (self.seconds + PRIOR_S)

    def lasts_s(self, level: float) -> float:
        """How long the need stays above this many units/s when it gets there.

        A spell that has not ended counts for the time it has lasted, and not as an end. What is
        known of one level is expected of the next, a little less surely: a need that is always
        over in a minute was never long at what it has not reached yet.
        """
        lasts_s = PRIOR_S
        for at in range(level_of(level) + 1):
            ended = self.spells[at] - (1.0 if at < self.now else 0.0)
            prior_s = min(PRIOR_S, lasts_s + FORGOTTEN * (PRIOR_S - lasts_s))
            lasts_s = (prior_s + self.above_s[at]) / (1.0 + max(0.0, ended))
        return lasts_s
