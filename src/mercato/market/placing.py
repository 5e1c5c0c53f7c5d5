"""Which wishes for GPUs of one machine can be met together, at the best total weight.

A wish wants given GPUs, or roams: any slice of the same size will do. Slices are the aligned
powers of two of offer.py's tree of halves, and the whole machine.

`exact` walks the tree once, from its leaves. What is best in a subtree depends on the rest of the
machine only through how many slices of each size it leaves to wishes that roam, and of those that
roam with one size the weightiest are served first: so a subtree is a table from such counts to the
best weight of the wishes for given GPUs. A machine of 16 GPUs has at most 202 counts. Of the
placings of the same wishes one is chosen that leaves large slices free.

`greedy` serves any number of GPUs, and wishes that are no slice. Taking wishes by weight over the
square root of their size, as its caller does, it reaches at least 1 / (1 + sqrt(gpus)) of the best
total: whoever it turns away meets, on the GPUs that the best plan gave, a wish taken before
(Lehmann, O'Callaghan and Shoham, J. ACM 49(5), 2002, for wishes that do not roam).
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

EXACT_GPUS_MAX: Final = 16
"""Beyond, wishes that roam make the tables of `exact` large."""

Gpus = tuple[int, ...]

_WHOLE: Final = 0
"""The node of a whole machine whose GPU count is no power of two."""
_COUNT_BITS: Final = 5
_COUNT: Final = (1 << _COUNT_BITS) - 1
_ROAMS: Final = -1

_Plan = int | tuple["_Plan", "_Plan"] | None
"""What to do in a subtree: nothing, one wish on all of it (its number, or `_ROAMS`), its halves."""
_Table = dict[int, tuple[int, _Plan]]


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


def exact(total: int, wishes: Mapping[int, Wish], blocked: Collection[int] = ()) -> dict[int, Gpus]:
    """The numbered wishes of the best total weight that fit together, and where each is met.

    `blocked` GPUs go to nobody. Every wish must be for a slice. Who roams gets its own GPUs when
    nobody else does.
    """
    pinned, roaming = _candidates(total, wishes)
    tree = _Tree(total, pinned, {size: len(few) for size, few in roaming.items()}, blocked)
    sums = [
        (tree.shift[size], [0, *accumulate(weight for weight, _ in few)])
        for size, few in roaming.items()
    ]
    best_weight, best_plan = -1, None
    for counts, (pinned_weight, plan) in tree.root().items():
        weight = pinned_weight
        for shift, sum_of in sums:
            weight += sum_of[counts >> shift & _COUNT]
        if weight > best_weight:
            best_weight, best_plan = weight, plan
    placed: dict[int, Gpus] = {}
    slots: dict[int, list[Gpus]] = {}
    tree.read(best_plan, placed, slots)
    served: dict[int, Gpus] = {}
    for size, places in slots.items():
        served.update(zip((number for _, number in roaming[size]), places, strict=False))
    placed.update(served)
    _take_home(served, placed, wishes)
    return placed


def _candidates(
    total: int, wishes: Mapping[int, Wish]
) -> tuple[dict[int, tuple[int, int]], dict[int, list[tuple[int, int]]]]:
    """The weightiest wish for each node, and of each size those that may be served roaming.

    Weights are raised above what free slices weigh: the square of their size.
    """
    pinned: dict[int, tuple[int, int]] = {}
    roaming: dict[int, list[tuple[int, int]]] = {}
    free_bits = (_root_width(total) ** 2).bit_length()
    for number, wish in wishes.items():
        node = _node(total, wish.gpus)
        assert node is not None, wish
        weight = wish.weight << free_bits
        if wish.roams and node not in {_WHOLE, 1}:
            roaming.setdefault(len(wish.gpus), []).append((weight, number))
        elif node not in pinned or pinned[node][0] < weight:
            pinned[node] = (weight, number)
    for size, many in roaming.items():
        many.sort(reverse=True)
        del many[total // size :]
    return pinned, roaming


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
        """`pinned`: weight and number by node. `roaming`: how many roam, by size."""
        self._total = total
        self._width = _root_width(total)
        self._pinned = pinned
        self._blocked = blocked
        self.shift = {size: at * _COUNT_BITS for at, size in enumerate(sorted(roaming))}
        self._scarce = [
            (self.shift[size], number) for size, number in roaming.items() if number < total // size
        ]
        self._touched = {at >> up for at in pinned for up in range(at.bit_length())}
        self._untouched: dict[int, _Table] = {}

    def root(self) -> _Table:
        """The table of the whole machine."""
        table = self._table(1, 0, self._width)
        whole = self._pinned.get(_WHOLE)
        if whole is not None and not self._blocked and whole[0] > table.get(0, (0, None))[0]:
            table[0] = whole
        return table

    def read(self, plan: _Plan, placed: dict[int, Gpus], slots: dict[int, list[Gpus]]) -> None:
        """Write down where a plan of the root meets wishes, and where roaming ones may go."""
        if isinstance(plan, int) and self._pinned.get(_WHOLE, (0, None))[1] == plan:
            placed[plan] = tuple(range(self._total))
            return
        left: list[tuple[_Plan, int, int]] = [(plan, 0, self._width)]
        while left:
            part, first, width = left.pop()
            if isinstance(part, tuple):
                left += [(part[1], first + width // 2, width // 2), (part[0], first, width // 2)]
            elif part is not None:
                gpus = tuple(range(first, first + width))
                if part == _ROAMS:
                    slots.setdefault(width, []).append(gpus)
                else:
                    placed[part] = gpus

    def _table(self, node: int, first: int, width: int) -> _Table:
        if first >= self._total:
            return {0: (0, None)}
        whole = first + width <= self._total and (
            not self._blocked or self._blocked_in(first, width) == 0
        )
        plain = whole and node not in self._touched
        if plain and width in self._untouched:
            return self._untouched[width]
        if width == 1 or (plain and not self.shift):
            table: _Table = {0: (0, None)}
        else:
            half = width // 2
            table = self._joined(
                self._table(2 * node, first, half), self._table(2 * node + 1, first + half, half)
            )
        if whole:
            mine = self._pinned.get(node, (width * width, None))
            if mine[0] > table[0][0]:
                table[0] = mine
            if width in self.shift:
                table[1 << self.shift[width]] = (0, _ROAMS)
        if plain:
            self._untouched[width] = table
        return table

    def _joined(self, left: _Table, right: _Table) -> _Table:
        table: _Table = {}
        for counts_left, (weight_left, plan_left) in left.items():
            for counts_right, (weight_right, plan_right) in right.items():
                counts = counts_left + counts_right
                weight = weight_left + weight_right
                known = table.get(counts)
                if known is None or weight >= known[0]:
                    table[counts] = (weight, (plan_left, plan_right))
        for shift, enough in self._scarce:
            table = {
                counts: best for counts, best in table.items() if counts >> shift & _COUNT <= enough
            }
        return table

    def _blocked_in(self, first: int, width: int) -> int:
        return sum(first <= gpu < first + width for gpu in self._blocked)
