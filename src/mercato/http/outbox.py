"""What connections have to send, sent in turn once all that has come has been read.

A write wakes whoever reads, which costs as much as the rest of it while that one sleeps. Somebody
who is written to several times in a row is awake for all but the first.
"""

import asyncio
from typing import Final, Protocol

TOGETHER_MAX: Final = 16
"""Nothing waits for more than so many others."""


class Sender(Protocol):
    """Who has something to send."""

    def send(self) -> None:
        """Put it on the line."""


class Outbox:
    """Those who have something to send, in the order in which they came."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # To look it up each time would be a call of the kernel's in Python 3.11.
        self._loop = loop
        self._waiting: list[Sender] = []

    def add(self, sender: Sender) -> None:
        """Have it send soon."""
        waiting = self._waiting
        waiting.append(sender)
        if len(waiting) == 1:
            self._loop.call_soon(self._empty)
        elif len(waiting) == TOGETHER_MAX:
            self._empty()

    def _empty(self) -> None:
        waiting, self._waiting = self._waiting, []
        for sender in waiting:
            sender.send()
