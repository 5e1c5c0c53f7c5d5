"""Prompts go where their beginning is cached, as far as that pays."""

import heapq
import random
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from mercato.market.ids import ContractId
from mercato.serverless.prefix import Prefixes
from mercato.serverless.route import BLOCK_UNITS, Router
from mercato.serverless.worker import Worker
from tests.serverless.fleets import worker

CHAINS = st.lists(st.integers(0, 3), max_size=6).map(
    # A mark stands for all that is up to it, so it says where it stands.
    lambda parts: tuple(hash(tuple(parts[: n + 1])) for n in range(len(parts)))
)
DEEDS = st.lists(st.tuples(st.integers(0, 2), st.none() | CHAINS), max_size=60)


@given(DEEDS, st.integers(1, 12), CHAINS)
def test_39_what_is_cached_is_told_as_a_plain_reading_tells_it(
    deeds: list[tuple[int, tuple[int, ...] | None]], kept: int, asked: tuple[int, ...]
) -> None:
    prefixes = Prefixes(kept)
    plain: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for name, chain in deeds:
        if chain is None:
            prefixes.forget(ContractId(name))
            plain[name] = []
            continue
        prefixes.note(ContractId(name), chain)
        left = [block for block in plain[name] if block not in chain]
        plain[name] = [*left, *reversed(chain)][-kept:]
    told = dict(prefixes.holders(asked))
    for name, blocks in plain.items():
        depth = next((n for n, block in enumerate(asked) if block not in blocks), len(asked))
        assert prefixes.depth(ContractId(name), asked) == depth
        assert told.get(ContractId(name), 0) == depth


def test_39_a_prompt_goes_to_its_cache_unless_waiting_there_takes_longer_than_reading() -> None:
    router = Router(wait_max_s=30.0, pack=False)
    fleet = {n: worker(n, perf=100.0) for n in (1, 2)}
    for one in fleet.values():
        one.slots = 1
        router.put(one)
    chain = tuple(range(10))
    router.assign(fleet[2], 50.0, chain)
    router.release(fleet[2], 50.0)
    assert router.pick() is fleet[1]
    assert router.pick(chain=chain) is fleet[2]
    assert router.pick({fleet[2].id}, chain) is fleet[1]
    router.assign(fleet[2], 9 * BLOCK_UNITS)
    assert router.pick(chain=chain) is fleet[2]
    router.assign(fleet[2], 2 * BLOCK_UNITS)
    assert router.pick(chain=chain) is fleet[1]
    router.prefixes.forget(fleet[2].id)
    router.release(fleet[2], 11 * BLOCK_UNITS)
    router.release(fleet[2], 0.0)
    assert router.pick(chain=chain) is fleet[1]


def test_39_a_slot_reads_at_its_share_of_the_speed_so_a_cache_is_worth_more_of_a_wait() -> None:
    router = Router(wait_max_s=1.5, cached_wait_max_s=10.0)
    fleet = {n: worker(n, perf=1_000.0) for n in (1, 2)}
    for one in fleet.values():
        one.slots = 4
        router.put(one)
    chain = tuple(range(20))
    router.assign(fleet[2], 2_000.0, chain)
    for _ in range(3):
        router.assign(fleet[2], 2_000.0)
    # Reading takes 10 s elsewhere; here a slot is free in 2 s.
    assert router.pick(chain=chain) is fleet[2]
    assert router.pick(chain=chain[:3]) is fleet[1]
    for _ in range(5):
        router.assign(fleet[2], 2_000.0)
    # Now it is free in 12 s only.
    assert router.pick(chain=chain) is fleet[1]


def test_39_a_hot_prefix_overfills_nobody_and_long_talks_stay_where_they_are_cached() -> None:
    blind, aware = _play(aware=False), _play(aware=True)
    assert aware.hits > 0.25
    assert aware.hits > 1.5 * blind.hits
    assert aware.wait_p95_s <= 1.3 * blind.wait_p95_s
    assert aware.bound_max_s <= WAIT_MAX_S + 1.0


WAIT_MAX_S = 10.0
WORKERS = 16


class _Played:
    """What came of a play."""

    def __init__(self, hits: float, waits: list[float], bound_max_s: float) -> None:
        self.hits = hits
        self.wait_p95_s = sorted(waits)[int(0.95 * len(waits))]
        self.bound_max_s = bound_max_s


def _play(*, aware: bool) -> _Played:
    """Talks that grow turn by turn; half of them begin with the same long text."""
    luck = random.Random(39)
    router = Router(wait_max_s=WAIT_MAX_S, pack=False)
    router.prefixes = caches = Prefixes(400)
    fleet = [worker(n, perf=1_000.0) for n in range(1, WORKERS + 1)]
    for one in fleet:
        one.slots = 1
        router.put(one)
    ends: list[tuple[float, int, Worker, float]] = []
    talks: deque[tuple[int, ...]] = deque()
    now_s, hit, asked = 0.0, 0, 0
    waits: list[float] = []
    bound_max_s = 0.0
    for turn in range(6_000):
        now_s += luck.expovariate(10.0)
        while ends and ends[0][0] <= now_s:
            _, _, done, cost = heapq.heappop(ends)
            router.release(done, cost)
        chain = _next_turn(luck, talks, turn)
        picked = router.pick(chain=chain if aware else ())
        if picked is None:
            continue  # it waits in the queue: no worker is too full then
        depth = caches.depth(picked.id, chain)
        hit, asked = hit + depth, asked + len(chain)
        cost = 300.0 + (len(chain) - depth) * BLOCK_UNITS
        waits.append(picked.wait_s)
        bound_max_s = max(bound_max_s, picked.wait_s)
        router.assign(picked, cost, chain)
        heapq.heappush(ends, (now_s + picked.wait_s, turn, picked, cost))
    return _Played(hit / asked, waits, bound_max_s)


def _next_turn(luck: random.Random, talks: deque[tuple[int, ...]], turn: int) -> tuple[int, ...]:
    old = luck.random() < 0.6 and talks
    if old:
        index = luck.randrange(len(talks))
        before = talks[index]
        del talks[index]
    else:
        before = tuple(range(8)) if luck.random() < 0.5 else ()
    chain = (*before, *(1_000 * (turn + 1) + n for n in range(luck.randint(1, 6))))[:64]
    talks.append(chain)
    if len(talks) > 200:
        talks.popleft()
    return chain
