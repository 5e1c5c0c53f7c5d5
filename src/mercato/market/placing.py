"""Which wishes for GPUs of one machine can be met together, at the best total weight.

A wish wants given GPUs, or roams: any slice of the same size will do. Slices are the aligned
powers of two of offer.py's tree of halves, and the whole machine.

`Placings` walks the tree once, from its leaves. What is best in a subtree depends on the rest of
the machine only through how many slices of each size it leaves to wishes that roam, and of those
that roam with one size the weightiest are served first: so a subtree is a table from such counts to
the best weight of the wishes for given GPUs. A machine of 16 GPUs has at most 202 counts, and fewer
matter: of the slices that serve k roaming wishes none is wanted by a wish for just this slice that
is worth more than the least of the k, for this one would better be met instead. Of the placings of
the same wishes one is chosen that leaves large slices free.

What is best without one of the wishes is found from the same tables: those beside its way to the
root stay as they are, and all of them when it roams.

`greedy` serves any number of GPUs, and wishes that are no slice. Taking wishes by weight over the
square root of their size, as its caller does, it reaches at least 1 / (1 + sqrt(gpus)) of the best
total: whoever it turns away meets, on the GPUs that the best plan gave, a wish taken before
(Lehmann, O'Callaghan and Shoham, J. ACM 49(5), 2002, for wishes that do not roam).
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

EXACT_GPUS_MAX: Final = 16
"""Beyond, wishes that roam make the tables of `Placings` large."""

Gpus = tuple[int, ...]

_WHOLE: Final = 0
"""The node of a whole machine whose GPU count is no power of two."""
_COUNT_BITS: Final = 6
_COUNT: Final = (1 << _COUNT_BITS) - 1
_COUNT_MAX: Final = _COUNT >> 1
"""A count is smaller than its field, so that one addition shows which counts are too large."""

_Table = dict[int, int]
"""By how many slices are left to roaming wishes, a field for each size: the best weight."""
_Few = list[tuple[int, int]]
"""Weights of wishes with their numbers, the weightiest first."""


class Wish(NamedTuple):
    """Somebody who wants GPUs."""

    weight: int
    """How much it is worth to meet it; above zero, and no two sets of wishes weigh the same."""
    gpus: Gpus
    roams: bool


@lru_cache
def slices(total: int, size: int) -> tuple[Gpus, ...]:
    """Every slice of `size` GPUs of a machine that has `total`."""
    if size == total:
        return (tuple(range(total)),)
    if size & (size - 1):
        return ()
    return tuple(tuple(range(at, at + size)) for at in range(0, total - size + 1, size))


@lru_cache(maxsize=4_096)
def bits(gpus: Gpus) -> int:
    """GPUs as the bits of a number, so that whether two lots overlap is one operation."""
    return sum(1 << gpu for gpu in gpus)


def is_slice(total: int, gpus: Gpus) -> bool:
    """Whether these GPUs are an aligned slice of a machine of `total`, or all of it."""
    return _node(total, gpus) is not None


def greedy(
    total: int, wishes: Iterable[tuple[int, Wish]], taken: Collection[int] = ()
) -> dict[int, Gpus]:
    """Meet numbered wishes in their order, each on its own GPUs or, if it roams, the first free."""
    every = (1 << total) - 1
    free = every & ~bits(tuple(taken))
    placed: dict[int, Gpus] = {}
    for number, wish in wishes:
        if not free:
            break
        places = (wish.gpus, *(slices(total, len(wish.gpus)) if wish.roams else ()))
        found = next((place for place in places if not bits(place) & ~free), None)
        if found is not None:
            placed[number] = found
            free &= ~bits(found)
    return placed


class Placings:
    """The best placings of numbered wishes: of all of them, and without any one."""

    def __init__(
        self,
        total: int,
        wishes: Mapping[int, Wish],
        blocked: Collection[int] = (),
        *,
        spare: int = 0,
    ) -> None:
        """Every wish must be for a slice; the `blocked` GPUs go to nobody.

        `spare`: how many wishes may be left out at a time, none or one.
        """
        self._wishes = wishes
        self._pinned, self._roaming = _candidates(total, wishes, spare)
        firsts = {node: few[0] for node, few in self._pinned.items()}
        counts = {size: min(len(few), total // size) for size, few in self._roaming.items()}
        self._tree = _Tree(total, firsts, counts, blocked)

    def best(self) -> dict[int, Gpus]:
        """The wishes of the best total weight that fit together, and where each is met.

        Who roams gets its own GPUs when nobody else does.
        """
        return self._found(self._tree, self._roaming)

    def without(self, number: int) -> dict[int, Gpus]:
        """The same when one wish, which must have been given, is not met."""
        for node, few in self._pinned.items():
            if few[0][1] == number:
                return self._found(self._tree.changed(node, few[1:2]), self._roaming)
        roaming = {
            size: [each for each in few if each[1] != number] for size, few in self._roaming.items()
        }
        return self._found(self._tree, roaming)

    def _found(self, tree: "_Tree", roaming: Mapping[int, _Few]) -> dict[int, Gpus]:
        sums = {
            size: [0, *accumulate(weight for weight, _ in few)] for size, few in roaming.items()
        }
        placed, slots = tree.best(sums)
        served: dict[int, Gpus] = {}
        for size, places in slots.items():
            served.update(zip((number for _, number in roaming[size]), places, strict=False))
        placed.update(served)
        _take_home(served, placed, self._wishes)
        return placed


def _candidates(
    total: int, wishes: Mapping[int, Wish], spare: int
) -> tuple[dict[int, _Few], dict[int, _Few]]:
    """The weightiest wishes for each node, and of each size those that may be served roaming.

    Weights are raised above what free slices weigh: the square of their size.
    """
    pinned: dict[int, _Few] = {}
    roaming: dict[int, _Few] = {}
    free_bits = (_root_width(total) ** 2).bit_length()
    for number, wish in wishes.items():
        node = _node(total, wish.gpus)
        assert node is not None, wish
        roams = wish.roams and node not in {_WHOLE, 1}
        among = roaming.setdefault(len(wish.gpus), []) if roams else pinned.setdefault(node, [])
        among.append((wish.weight << free_bits, number))
    for few in (*pinned.values(), *roaming.values()):
        few.sort(reverse=True)
    for size, few in roaming.items():
        nodes = range(_root_width(total) // size, _root_width(total) // size + total // size)
        rivals = sorted(pinned[node][0][0] for node in nodes if node in pinned)
        del few[_served_most(few, rivals, len(nodes)) + spare :]
    return pinned, {size: few for size, few in roaming.items() if few}


def _served_most(roaming: _Few, rivals: Sequence[int], nodes: int) -> int:
    """How many of a size can be served roaming at most, with its nodes' weightiest own wishes.

    `rivals` rise. Leaving out one wish makes that one more at most.
    """
    for at, (weight, _) in enumerate(roaming):
        if nodes - len(rivals) + bisect_left(rivals, weight) <= at:
            return at
    return len(roaming)


def _take_home(roaming: Iterable[int], placed: dict[int, Gpus], wishes: Mapping[int, Wish]) -> None:
    """Put each on its own GPUs where these are free, or by changing places with who roams there."""
    for number in roaming:
        home = wishes[number].gpus
        there = [at for at, place in placed.items() if not set(place).isdisjoint(home)]
        if not there:
            placed[number] = home
        elif placed[there[0]] == home != wishes[there[0]].gpus:
            placed[number], placed[there[0]] = home, placed[number]


def _node(total: int, gpus: Gpus) -> int | None:
    """The node of a slice; None when it is none."""
    count, first = len(gpus), gpus[0]
    if count == 0 or gpus[-1] >= total or gpus != tuple(range(first, first + count)):
        return None
    if count & (count - 1) == 0:
        return None if first % count else _root_width(total) // count + first // count
    return _WHOLE if count == total else None


def _root_width(total: int) -> int:
    return 1 << max(0, total - 1).bit_length()


class _Tree:
    """The tree of halves of one machine: node n has the halves 2n and 2n + 1."""

    def __init__(
        self,
        total: int,
        pinned: Mapping[int, tuple[int, int]],
        roaming: Mapping[int, int],
        blocked: Collection[int],
    ) -> None:
        """`pinned`: weight and number by node. `roaming`: how many are served at most, by size."""
        self._total = total
        self._width = _root_width(total)
        self.pinned = pinned
        self._blocked = bits(tuple(blocked))
        self._shift = {size: at * _COUNT_BITS for at, size in enumerate(sorted(roaming))}
        self._most = [(size, self._shift[size], most) for size, most in roaming.items()]
        self._touched = {at >> up for at in pinned for up in range(at.bit_length())}
        self._untouched: dict[int, _Table] = {}
        self.tables: dict[int, _Table] = {}

    def changed(self, node: int, few: _Few) -> "_Tree":
        """The same tree with the first of a few other wishes, or none, for a node."""
        other = copy(self)
        other.pinned = {at: wish for at, wish in self.pinned.items() if at != node}
        other.pinned.update((node, wish) for wish in few[:1])
        way = {node >> up for up in range(node.bit_length())}
        other.tables = {at: table for at, table in self.tables.items() if at not in way}
        return other

    def best(
        self, sums: Mapping[int, Sequence[int]]
    ) -> tuple[dict[int, Gpus], dict[int, list[Gpus]]]:
        """Where wishes for nodes are met, and which slices, by size, are left to those that roam.

        `sums`: by size, what serving so many is worth, from none on.
        """
        # Without one of those that roam there may be a slice more than serve.
        fields = [(self._shift[size], [*sum_of, sum_of[-1]]) for size, sum_of in sums.items()]
        best_counts, best_weight = 0, -1
        for counts, pinned_weight in self._table(1, 0, self._width).items():
            weight = pinned_weight
            for shift, sum_of in fields:
                weight += sum_of[counts >> shift & _COUNT]
            if weight > best_weight:
                best_counts, best_weight = counts, weight
        whole = self.pinned.get(_WHOLE)
        if whole is not None and not self._blocked and whole[0] > best_weight:
            return {whole[1]: tuple(range(self._total))}, {}
        placed: dict[int, Gpus] = {}
        slots: dict[int, list[Gpus]] = {}
        self._read(best_counts, placed, slots)
        return placed, slots

    def _read(self, counts: int, placed: dict[int, Gpus], slots: dict[int, list[Gpus]]) -> None:
        """Write down how the root's best weight at these counts is reached."""
        left = [(1, 0, self._width, counts)]
        while left:
            node, first, width, counts = left.pop()
            if first >= self._total:
                continue
            weight = self._table(node, first, width)[counts]
            if self._is_whole(first, width):
                mine = self.pinned.get(node, (width * width, None))
                if width in self._shift and counts == 1 << self._shift[width]:
                    slots.setdefault(width, []).append(tuple(range(first, first + width)))
                    continue
                if counts == 0 and weight == mine[0]:
                    if mine[1] is not None:
                        placed[mine[1]] = tuple(range(first, first + width))
                    continue
            if width > 1:
                left += self._halves(node, first, width, counts, weight)

    def _halves(
        self, node: int, first: int, width: int, counts: int, weight: int
    ) -> list[tuple[int, int, int, int]]:
        """The halves of a node, each with the counts that together reach this weight."""
        half = width // 2
        one = self._table(2 * node, first, half)
        other = self._table(2 * node + 1, first + half, half)
        for counts_one, weight_one in reversed(one.items()):
            weight_other = other.get(counts - counts_one)
            if weight_other is not None and weight_one + weight_other == weight:
                return [
                    (2 * node + 1, first + half, half, counts - counts_one),
                    (2 * node, first, half, counts_one),
                ]
        raise AssertionError(node)

    def _table(self, node: int, first: int, width: int) -> _Table:
        known = self.tables.get(node)
        if known is None:
            known = self.tables[node] = self._made(node, first, width)
        return known

    def _made(self, node: int, first: int, width: int) -> _Table:
        if first >= self._total:
            return {0: 0}
        whole = self._is_whole(first, width)
        plain = whole and node not in self._touched
        if plain and width in self._untouched:
            return self._untouched[width]
        if width == 1 or (plain and not self._shift):
            table = {0: 0}
        else:
            half = width // 2
            table = self._joined(
                width,
                self._table(2 * node, first, half),
                self._table(2 * node + 1, first + half, half),
            )
        if whole:
            mine = self.pinned.get(node, (width * width, None))[0]
            table[0] = max(mine, table[0])
            if width in self._shift:
                table[1 << self._shift[width]] = 0
        if plain:
            self._untouched[width] = table
        return table

    def _joined(self, width: int, one: _Table, other: _Table) -> _Table:
        table: _Table = {}
        known = table.get
        for counts_one, weight_one in one.items():
            for counts_other, weight_other in other.items():
                counts = counts_one + counts_other
                weight = weight_one + weight_other
                if weight >= known(counts, 0):
                    table[counts] = weight
        added, above = 0, 0
        for size, shift, most in self._most:
            if most < width // size:
                added |= _COUNT_MAX - most << shift
                above |= _COUNT_MAX + 1 << shift
        if above:
            return {
                counts: weight for counts, weight in table.items() if not counts + added & above
            }
        return table

    def _is_whole(self, first: int, width: int) -> bool:
        """Whether a node is a slice of the machine of which nothing is blocked."""
        if first + width > self._total:
            return False
        return not self._blocked >> first & (1 << width) - 1
