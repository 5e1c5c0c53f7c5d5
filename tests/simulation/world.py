"""Virtual time, luck and history."""

import hashlib
import heapq
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

T0: Final = 1_700_000_000_000
SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

LATELY: Final = 40
"""So many of the last events are told when a law is broken."""


class World:
    """One thing happens after another, and all of it follows from the seed."""

    def __init__(self, seed: int) -> None:
        """Begin at T0 with nothing to happen."""
        self.seed = seed
        self.luck = Random(seed)
        self.now_ms = T0
        self.calm = False
        """Whether nothing goes wrong any more: the end, in which all must come right."""
        self.hear: Callable[[Sequence[str]], None] = lambda _topics: None
        """Hears the pokes of every commit."""
        self.lately: deque[str] = deque(maxlen=LATELY)
        self.tally: Counter[str] = Counter()
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0
        self._history = hashlib.sha256()

    def at(self, when_ms: int, deed: Callable[[], None]) -> None:
        """Have something happen at a moment, or now when that has passed."""
        self._numbers += 1
        heapq.heappush(self._queue, (max(when_ms, self.now_ms), self._numbers, deed))

    def within(self, least_ms: int, most_ms: int, deed: Callable[[], None]) -> None:
        """Have something happen after a while."""
        self.at(self.now_ms + self.luck.randint(least_ms, most_ms), deed)

    def every(self, about_ms: int, deed: Callable[[], None]) -> None:
        """Have something happen again and again, at random, about so often."""

        def again() -> None:
            deed()
            self.at(self.now_ms + 1 + int(self.luck.expovariate(1 / about_ms)), again)

        self.at(self.now_ms + 1 + int(self.luck.expovariate(1 / about_ms)), again)

    def chance(self, probability: float) -> bool:
        """Whether something goes wrong that may; nothing does once all is calm."""
        return not self.calm and self.luck.random() < probability

    def run(self, until_ms: int, after_each: Callable[[], None]) -> None:
        """Let everything happen that is due before a moment."""
        while self._queue and self._queue[0][0] <= until_ms:
            self.now_ms, _, deed = heapq.heappop(self._queue)
            deed()
            after_each()
        self.now_ms = until_ms

    def tell(self, topics: Sequence[str]) -> None:
        """Pass the pokes of a commit on."""
        self.hear(topics)

    def note(self, what: str, outcome: str) -> None:
        """Write a line of history; the moment goes with it. First words are counted."""
        self.tally[f"{what.partition(' ')[0]}: {outcome.partition(' ')[0]}"] += 1
        line = f"{self.now_ms - T0} {what}: {outcome}"
        self._history.update(line.encode() + b"\n")
        self.lately.append(f"{moment(self.now_ms)}  {what}: {outcome}")

    def digest(self, end: str) -> str:
        """Names the whole history and what it came to."""
        told = self._history.copy()
        told.update(end.encode())
        return told.hexdigest()


def moment(at_ms: int) -> str:
    """A moment for a person: day and time since the beginning."""
    days, left = divmod(at_ms - T0, DAY)
    hours, left = divmod(left, HOUR)
    minutes, left = divmod(left, MINUTE)
    return f"day {days} {hours:02}:{minutes:02}:{left / SECOND:06.3f}"
