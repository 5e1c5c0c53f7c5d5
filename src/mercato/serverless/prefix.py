"""Which prompts' beginnings each worker is likely to have in its cache.

A prompt is told as a chain of marks, one for each block of its beginning: two prompts that begin
alike have chains that begin alike. What a worker was given it is taken to have cached, and to
forget what it has not met for longest. Nobody reports any of this: it is a guess, and a wrong one
costs no more than the reading of a prompt.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from mercato.market.ids import ContractId

BLOCKS_KEPT: Final = 4_000
"""Of each worker: some two million tokens, what a large card's memory holds."""
CHAIN_MAX: Final = 64
"""Blocks of a prompt that are looked at."""

Chain = Sequence[int]


class Prefixes:
    """What the workers of one endpoint are likely to have cached."""

    def __init__(self, blocks_kept: int = BLOCKS_KEPT) -> None:
        """At most `blocks_kept` of each worker."""
        self._kept = blocks_kept
        # A block is never older than those that follow it in a chain: what a worker has of a chain
        # is always its beginning.
        self._of: dict[ContractId, OrderedDict[int, None]] = {}
        self._at: dict[int, set[ContractId]] = {}

    def note(self, worker: ContractId, chain: Chain) -> None:
        """A worker is given a prompt."""
        here = self._of.setdefault(worker, OrderedDict())
        for block in reversed(chain):
            if block in here:
                here.move_to_end(block)
            else:
                here[block] = None
                self._at.setdefault(block, set()).add(worker)
        while len(here) > self._kept:
            oldest, _ = here.popitem(last=False)
            self._leave(oldest, worker)

    def forget(self, worker: ContractId) -> None:
        """A worker has lost its cache."""
        for block in self._of.pop(worker, ()):
            self._leave(block, worker)

    def holders(self, chain: Chain) -> Iterator[tuple[ContractId, int]]:
        """Who has some of a chain's beginning, and how many blocks of it."""
        if chain:
            for worker in self._at.get(chain[0], ()):
                yield worker, self._depth(self._of[worker], chain)

    def depth(self, worker: ContractId, chain: Chain) -> int:
        """How many blocks of a chain's beginning a worker has."""
        here = self._of.get(worker)
        return self._depth(here, chain) if here else 0

    @staticmethod
    def _depth(here: OrderedDict[int, None], chain: Chain) -> int:
        low, high = 0, len(chain)
        while low < high:
            middle = (low + high) // 2
            if chain[middle] in here:
                low = middle + 1
            else:
                high = middle
        return low

    def _leave(self, block: int, worker: ContractId) -> None:
        holders = self._at[block]
        holders.discard(worker)
        if not holders:
            del self._at[block]
