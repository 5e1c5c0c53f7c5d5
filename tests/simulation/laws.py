"""What must hold in a simulated market, compared with what truly happened on its machines."""

from bisect import bisect_right
from collections import defaultdict
from typing import Any, Final

import psycopg

from mercato.control.flows import lapsing, sealing
from mercato.control.flows.house import STANDARD
from mercato.control.store import instances, machines
from mercato.market.ids import AccountId, ContractId
from mercato.market.instance import Intended
from mercato.market.usage import checked
from mercato.wire.sealing import Checker
from tests import invariants
from tests.simulation.hosts import LATENESS_MAX_MS, PERIOD_MS, Machine, Run
from tests.simulation.market import Market
from tests.simulation.world import moment

UNPROVEN_MAX_MS: Final = LATENESS_MAX_MS + PERIOD_MS + STANDARD.unknown_after_ms
"""GPU time that may be billed past a container's end: the lateness of the report that proved it,
the time between two reports, and how long a machine is believed that was heard lately."""


def whole(conn: psycopg.Connection[Any]) -> None:
    """All laws of the database, asked of everything."""
    broken = invariants.broken(conn)
    assert not broken, broken


def in_truth(market: Market, conn: psycopg.Connection[Any]) -> None:
    """Whatever runs on the market holds its GPUs, and what is said to be gone is gone.

    A machine that its host took off the market is left out: its own job goes when its agent is told
    so, which is not played here (tests/agent/test_off_market.py).
    """
    query = "select id from machines where deleted_at_ms is not null"
    left = {row[0] for row in conn.execute(query)}
    honest = [one for one in market.machines.values() if not one.lied and one.id not in left]
    there = [instance for machine in honest for instance in machine.containers()]
    query = "select id from instances where id = any(%s) and destroyed_at_ms > 0"
    gone = {row[0] for row in conn.execute(query, (there,))}
    assert not gone, f"instances {gone} are gone and still on their machines"
    running = {
        (machine.id, instance, gpu)
        for machine in honest
        for instance, gpus in machine.running().items()
        for gpu in gpus
    }
    held = set(conn.execute("select machine_id, contract_id, gpu from gpu_holds").fetchall())
    assert running <= held, f"(machine, instance, GPU) that run and are not held: {running - held}"


def as_it_begins(machine: Machine, run: Run, conn: psycopg.Connection[Any]) -> None:
    """A container begins to run: its instance holds the GPUs that it runs on."""
    held = conn.execute(
        "select gpu from gpu_holds where machine_id = %s and contract_id = %s",
        (machine.id, run.instance),
    ).fetchall()
    assert machine.lied or set(run.gpus) <= {row[0] for row in held}, (
        f"instance {run.instance} began to run on GPUs {run.gpus} and holds {held}"
    )


def in_the_end(market: Market, conn: psycopg.Connection[Any]) -> None:
    """All has come right: what should be is, and every bill is true."""
    whole(conn)
    in_truth(market, conn)
    _as_it_should_be(market)
    _billed_as_it_ran(market, conn)
    _billed_while_believed(market, conn)
    for renter in market.renters:
        _bill_is_true(market, renter, conn)


def _as_it_should_be(market: Market) -> None:
    """Every machine that can be heard does what it should, and nothing else."""
    db = market.server.db
    for machine in market.machines.values():
        stored = db.run_now(machines.get, machine.id)
        assert stored is not None
        if stored.deleted_at_ms is not None:
            continue
        assert stored.offline_since_ms is None, f"machine {machine.id} is offline"
        wanted = {
            one.id
            for one in db.run_now(instances.live_on, machine.id)
            if one.intended is Intended.RUNNING
        }
        running = machine.running().keys()
        assert running <= wanted, f"machine {machine.id} runs {running} and should {wanted}"
        for one in db.run_now(instances.live_on, machine.id):
            assert one.intended is not Intended.DESTROYED, f"{one.id} is still being destroyed"


def _billed_as_it_ran(market: Market, conn: psycopg.Connection[Any]) -> None:
    """No GPU time is billed that a machine's journal does not prove."""
    runs: dict[int, list[Run]] = defaultdict(list)
    for machine in market.machines.values():
        for run in machine.journal.runs:
            runs[run.instance].append(run)
    now_ms = market.world.now_ms
    for contract, from_ms, to_ms in conn.execute(
        "select contract_id, from_ms, coalesce(to_ms, %s) from segments where kind = 'gpu'"
        " and rate > 0 order by id",
        (now_ms,),
    ):
        unproven_ms = to_ms - from_ms
        for run in runs[contract]:
            ended_ms = now_ms if run.to_ms is None else run.to_ms
            unproven_ms -= max(0, min(to_ms, ended_ms) - max(from_ms, run.from_ms))
        assert unproven_ms <= UNPROVEN_MAX_MS, (
            f"instance {contract} paid for {unproven_ms} ms that its host cannot prove, between "
            f"{moment(from_ms)} and {moment(to_ms)}; it ran {runs[contract]}"
        )


def _billed_while_believed(market: Market, conn: psycopg.Connection[Any]) -> None:
    """GPU time ends no later than its machine was believed: a while after it was last heard.

    Also where the container ran on in truth: its host could not prove it when it was charged. Spans
    that go on where another ends are one.
    """
    heard = {machine.id: sorted(machine.proofs) for machine in market.machines.values()}
    for contract, machine, from_ms, to_ms, charged_ms in conn.execute(
        "select s.contract_id, c.machine_id, s.from_ms, s.to_ms, greatest(s.to_ms,"
        " (select max(at_ms) from transfers where cause like 'segment:' || s.id || ':%')) from"
        " segments s join contracts c on c.id = s.contract_id"
        " where s.kind = 'gpu' and s.from_ms < s.to_ms and not exists (select from segments n"
        " where n.contract_id = s.contract_id and n.kind = 'gpu' and n.from_ms = s.to_ms"
        " and n.id > s.id) order by s.id"
    ):
        proofs = heard[machine]
        before = bisect_right(proofs, charged_ms)
        last_ms = proofs[before - 1] if before else from_ms
        assert to_ms - last_ms <= STANDARD.unknown_after_ms, (
            f"instance {contract} paid until {moment(to_ms)}, {to_ms - last_ms} ms after its"
            " machine was last heard"
        )


def _bill_is_true(market: Market, renter: AccountId, conn: psycopg.Connection[Any]) -> None:
    """A renter's bill is what moved, and what the signed records come to when replayed."""
    db, now_ms = market.server.db, market.world.now_ms
    mine = [
        row[0] for row in conn.execute("select id from contracts where renter_id = %s", (renter,))
    ]
    for contract in mine:
        db.run_now(lapsing.settle, ContractId(contract), now_ms)
    signer = market.house.signer
    while db.run_now(sealing.seal, signer):
        pass
    statement = db.run_now(sealing.statement, signer, renter, 0, "http://market", now_ms)
    replayed = sum(checked(statement, Checker.of(signer.public_key).is_signed).values())
    [[moved]] = conn.execute(
        "select coalesce(sum(case kind when 'goodwill' then -amount else amount end), 0)::bigint"
        " from transfers where account_id = %s and kind in ('charge', 'fee', 'goodwill')",
        (renter,),
    )
    assert replayed == moved, f"account {renter}: {replayed} replayed, {moved} moved"
