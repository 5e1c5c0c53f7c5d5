"""Kills one part of a busy market after another; each time all is as if nothing had happened."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

import psycopg
import pytest

from mercato.sdk import Mercato
from mercato.sdk.errors import NotFound
from tests import invariants
from tests.crash.crowd import Crowd
from tests.crash.parts import BACK_WITHIN_S, Parts, parts, until
from tests.crash.truth import Container, Journal, containers, journal

KILLS: Final = int(os.environ.get("MERCATO_KILLS", "3"))
SEED: Final = int(os.environ.get("MERCATO_KILLS_SEED", "0")) or os.getpid()

MACHINES: Final = 2
SITTER: Final = "renter-0"
"""Rents once and then lets everything alone: what runs must go on as it is."""

GPU_SECOND: Final = 0.001
"""Dollars for a GPU, at the $3.6/h for which the machines are listed."""
DISK_SECOND: Final = 0.1 * 2.0 / (720 * 3_600)
"""Dollars for the 2 GB of an instance, at $0.1 a month."""

SECOND: Final = 1_000
REPORT_MS: Final = 5 * SECOND
"""How long before a kill an agent may have reported last."""
HEARD_WITHIN_MS: Final = 15 * SECOND
"""How long after a container began the market may learn of it, when nothing is killed."""

UNSETTLED: Final = """
select i.id, i.intended, i.actual, i.message from instances i
left join standings s on s.contract_id = i.id
where i.destroyed_at_ms is null and (i.intended = 'destroyed'
    or (i.actual = 'running') <> (i.intended = 'running' and not coalesce(s.pausing, false)
        and exists (select from gpu_holds h where h.contract_id = i.id))
    or i.actual = 'running' and (i.actual_revision < i.revision or i.actual_boots < i.boots))
"""
"""Instances that are not yet as they should be."""


@dataclass
class Scene:
    """A busy market and what is known of it without asking it."""

    parts: Parts
    crowd: Crowd
    journal: Journal
    sitting: dict[int, Container]
    """What runs from the beginning to the end."""
    outages: list[tuple[int, int]] = field(default_factory=list)
    """From when to when something was away, and what happened could not be told."""


@contextmanager
def scene(box: str, luck: Random) -> Iterator[Scene]:
    """A market with everybody at it."""
    with (
        parts(MACHINES, renters=4) as market,
        journal(market.home / "events", market.owners.values()) as written,
    ):
        sitting = _sit_down(market, box)
        keys = {name: key for name, key in market.keys.items() if name != SITTER}
        crowd = Crowd(market.url, keys, box, luck.randrange(1 << 30))
        with crowd.busy():
            yield Scene(market, crowd, written, sitting)


def _sit_down(market: Parts, box: str) -> dict[int, Container]:
    with Mercato(market.url, market.keys[SITTER]) as sitter:
        for machine in market.owners:
            for gpus in (1, 2):
                query = f"machine_id={machine} num_gpus={gpus}"
                until(partial(_rent, sitter, query, box), f"rented: {query}", BACK_WITHIN_S)

        def all_run() -> bool:
            mine = sitter.instances()
            assert not any(one.intended_status == "stopped" for one in mine), mine
            return all(one.actual_status == "running" for one in mine)

        until(all_run, "the sitter's instances run", BACK_WITHIN_S)
    return containers(market.owners.values())


def _rent(sitter: Mercato, query: str, box: str) -> bool:
    """Rent what a search finds first, unless that is what was rented a moment before it."""
    found = sitter.search(query, storage_gb=2.0)
    with suppress(NotFound):
        sitter.rent(found[0].id, image=box, disk_gb=2.0)
        return True
    return False


@pytest.mark.docker
@pytest.mark.timeout(120 + 60 * KILLS)
def test_killed_again_and_again_with_nothing_lost_and_nothing_charged_twice(box: str) -> None:
    luck, killed, pause = Random(SEED), Counter[str](), threading.Event()
    with scene(box, luck) as it:
        for number in range(KILLS):
            pause.wait(luck.uniform(0.1, 2.0))
            # A short run kills one of each: database, server, agent.
            which = number if number < 3 else luck.randrange(len(it.parts.everything))
            victim = it.parts.everything[which]
            victim.kill()
            killed[victim.name.partition(" ")[0]] += 1
            at_ms = _now_ms()
            victim.start()
            try:
                _comes_back(it, at_ms)
                with it.crowd.held():
                    _all_is_well(it)
            except BaseException as problem:
                problem.add_note(
                    f"after kill {number + 1}, of the {victim.name}; MERCATO_KILLS_SEED={SEED}"
                )
                raise
            assert not it.crowd.troubles
        log = (it.parts.home / "server.log").read_text()
        assert "law broken" not in log, log[log.index("law broken") - 2_000 :][:4_000]
    print(f"killed: {dict(killed)}; renters: {dict(sorted(it.crowd.done.items()))}")  # noqa: T201 - with -s


def _comes_back(it: Scene, at_ms: int) -> None:
    """Everybody goes on wanting things meanwhile."""
    until(it.parts.whole_since(at_ms), "all is back", BACK_WITHIN_S)
    before_ms = it.outages[-1][1] if it.outages else 0
    it.outages.append((max(before_ms, at_ms - REPORT_MS), _now_ms()))


def _all_is_well(it: Scene) -> None:
    with psycopg.connect(it.parts.database.url, autocommit=True) as conn:
        broken = invariants.broken(conn)
        assert not broken, broken
    until(lambda: not it.parts.ask(UNSETTLED), "all is as it should be", BACK_WITHIN_S)
    _docker_agrees(it)
    _sits(it)
    _billed_as_it_ran(it)


def _docker_agrees(it: Scene) -> None:
    """What Docker runs is what the market says runs, each on GPUs that it holds, none on two."""
    wrong: list[str] = []

    def agrees() -> bool:
        wrong.clear()
        there = containers(it.parts.owners.values())
        known = {
            number: (actual, set(gpus))
            for number, actual, gpus in it.parts.ask(
                "select i.id, i.actual, array(select gpu from gpu_holds h"
                " where h.contract_id = i.id) from instances i where i.destroyed_at_ms is null"
            )
        }
        for number, one in there.items():
            if number not in known:
                wrong.append(f"instance {number} is gone and has a container")
            elif one.running and not set(one.gpus) <= known[number][1]:
                wrong.append(f"instance {number} runs on {one.gpus} and holds {known[number][1]}")
        run = {number for number, one in there.items() if one.running}
        told = {number for number, (actual, _) in known.items() if actual == "running"}
        if run != told:
            wrong.append(f"{run} run and {told} are said to")
        used = [(one.machine, gpu) for one in there.values() if one.running for gpu in one.gpus]
        if len(set(used)) < len(used):
            wrong.append(f"a GPU runs two containers: {there}")
        return not wrong

    try:
        until(agrees, "Docker and the market agree", 20.0)
    except AssertionError:
        raise AssertionError(wrong) from None


def _sits(it: Scene) -> None:
    """What nobody told to stop runs as it did: the same container since the same moment."""
    there = containers(it.parts.owners.values())
    for number, one in it.sitting.items():
        assert there.get(number) == one, f"instance {number} was touched: {there.get(number)}"


def _billed_as_it_ran(it: Scene) -> None:
    """No GPU is billed a second longer than Docker saw it run; and what sits not one less.

    While something was away nobody could tell that a container had ended: that long it was believed
    to run on, as after every report for a while (`control/flows/proving.py`).
    """
    runs = it.journal.runs()
    now_ms = _now_ms()
    spans = it.parts.ask(
        "select contract_id, from_ms, coalesce(to_ms, %s) from segments"
        " where kind = 'gpu' and to_ms is distinct from from_ms order by id",
        now_ms,
    )
    for contract, from_ms, to_ms in spans:
        ran = [(run.from_ms, now_ms if run.to_ms is None else run.to_ms) for run in runs[contract]]
        unseen_ms = to_ms - from_ms - _within(ran, from_ms, to_ms)
        assert unseen_ms <= SECOND + _within(it.outages, from_ms, to_ms), (
            f"instance {contract} is billed from {from_ms} to {to_ms} and ran {ran}; away was "
            f"something in {it.outages}"
        )
    spent = 0.0
    burn = 0.0
    for number, one in it.sitting.items():
        [(from_ms, to_ms)] = [(a, b) for contract, a, b in spans if contract == number]
        [run] = runs[number]
        assert to_ms == now_ms, f"the meter of instance {number} was stopped"
        assert run.from_ms - SECOND <= from_ms <= run.from_ms + HEARD_WITHIN_MS
        [(signed_ms,)] = it.parts.ask("select signed_at_ms from contracts where id = %s", number)
        gpu, disk = GPU_SECOND * len(one.gpus), DISK_SECOND
        spent += gpu * (now_ms - from_ms) / SECOND + disk * (now_ms - signed_ms) / SECOND
        burn += gpu + disk
    with Mercato(it.parts.url, it.parts.keys[SITTER]) as sitter:
        credit = sitter.user().credit
    least, most = spent - burn, spent + burn * (1 + (_now_ms() - now_ms) / SECOND)
    assert least <= 10_000 - credit <= most, f"{10_000 - credit} spent, not {least} to {most}"


def _within(spans: list[tuple[int, int]], from_ms: int, to_ms: int) -> int:
    """How much of a range some spans cover that do not overlap."""
    return sum(max(0, min(to_ms, end) - max(from_ms, begin)) for begin, end in spans)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
