"""Who gets a machine's GPUs: the auction's verdict, made true step by step.

Whoever changes who wants to run on a machine, or what holds its GPUs, calls `clear` in the same
transaction. It asks market/auction.py for the verdict, gives free GPUs to those who won them, and
gives notice to those who lost theirs: they run on until the notice ends, when the auction loop
calls `pause`, and their GPUs are free when their host says that they have stopped (observing.py).
So a winner starts, and pays, only once it holds its GPUs, and one that matches in time keeps them.

Every verdict that differs from the last is logged for anybody to read and replay.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import metering, proving
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.flows.owned import tell
from mercato.control.store import (
    clearings,
    contracts,
    holds,
    instances,
    machines,
    standings,
)
from mercato.control.store.instances import Instance
from mercato.control.store.machines import Machine
from mercato.market import auction
from mercato.market.auction import Claim, Outcome, Verdict
from mercato.market.contract import Contract, Kind
from mercato.market.ids import ContractId, MachineId
from mercato.market.instance import Intended, Reason
from mercato.market.listing import BidTerms
from mercato.market.standing import Change, Notice, Standing, follow, granted, noticed

_PAUSED_FOR: Final = frozenset({Reason.OUTBID, Reason.ON_DEMAND})


class _Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A machine with everybody who wants to run on it, as the rows say."""

    machine: Machine
    gpus: int
    claims: list[Claim]
    held: dict[int, ContractId]
    instances: dict[ContractId, Instance]
    contracts: dict[ContractId, Contract]
    standings: dict[ContractId, Standing]
    terms: dict[ContractId, BidTerms]


def clear(tx: Tx, machine_id: MachineId, now_ms: int, rules: Rules = STANDARD) -> Verdict:
    """Decide who should hold a machine's GPUs and do what can be done of it now.

    A winner who cannot pay any more is stopped, and decided on anew. Again is no harm.
    """
    machine = machines.at_front(tx, machine_id)
    while True:
        scene = _look(tx, machine)
        verdict = auction.clear(scene.gpus, scene.claims, now_ms)
        if not _stop_who_cannot_pay(tx, scene, verdict, now_ms, rules):
            break
    claims = {claim.contract: claim for claim in scene.claims}
    changed = standings.forget(tx, machine_id, claims) > 0
    for outcome in verdict.outcomes:
        changed |= _follow(tx, scene, claims, outcome, now_ms, rules)
    changed |= clearings.record(tx, machine_id, scene.gpus, scene.claims, verdict, now_ms)
    if changed:
        machines.changed(tx, machine_id)
    return verdict


def charged(contract: Contract, standing: Standing | None) -> Contract:
    """The contract at the price that its GPUs cost now: under uniform pricing below its bid."""
    if standing is None or contract.terms.kind is not Kind.INTERRUPTIBLE:
        return contract
    terms = msgspec.structs.replace(contract.terms, gpu=standing.price)
    return msgspec.structs.replace(contract, terms=terms)


def _look(tx: Tx, machine: Machine) -> _Scene:
    held = holds.on(tx, machine.id)
    claims = standings.claims_on(tx, machine.id)
    return _Scene(
        machine=machine,
        # A GPU that was taken out may still be held by what ran on it.
        gpus=max(machine.hardware.gpu_count, 1 + max(held, default=0)),
        claims=claims,
        held=held,
        instances={one.id: one for one in instances.live_on(tx, machine.id)},
        contracts=contracts.live_on(tx, machine.id),
        standings=standings.on(tx, machine.id),
        terms=standings.bid_terms_on(tx, machine.id),
    )


def _stop_who_cannot_pay(
    tx: Tx, scene: _Scene, verdict: Verdict, now_ms: int, rules: Rules
) -> bool:
    """Stop the winners that wait and could not pay; False when there are none."""
    found = False
    holders = set(scene.held.values())
    for outcome in verdict.outcomes:
        contract = scene.contracts[outcome.contract]
        if outcome.gpus is None or contract.id in holders:
            continue
        if contract.terms.kind is Kind.BACKGROUND:
            continue  # nobody pays for it
        tx.queue(f"account:{contract.renter}")
        why = metering.unaffordable(tx, contract, now_ms, rules)
        if why is not None:
            found = True
            instances.intend(tx, contract.id, Intended.STOPPED, why, now_ms)
            tell(tx, contract, "instance_stopped", why, _UNPAID[why], now_ms)
    return found


_UNPAID: Final = {
    Reason.NO_CREDIT: "It won its GPUs, and the account's credit does not cover them; add credit.",
    Reason.SPENDING_LIMIT: "It won its GPUs, and a spending limit does not cover them; raise it.",
}


# --- Following a verdict --------------------------------------------------------------------------


def _follow(
    tx: Tx,
    scene: _Scene,
    claims: Mapping[ContractId, Claim],
    outcome: Outcome,
    now_ms: int,
    rules: Rules,
) -> bool:
    """Do what a verdict means for one contract; whether anything changed."""
    contract, claim = scene.contracts[outcome.contract], claims[outcome.contract]
    before, terms = scene.standings.get(contract.id), scene.terms[contract.id]
    if before is not None and before.pausing and contract.id not in scene.held.values():
        before = msgspec.structs.replace(before, pausing=False)
    notice = _notice(terms, claim.kind, rules) if scene.machine.offline_since_ms is None else None
    after, change = follow(before, claim, outcome, notice, now_ms)
    if _can_have(scene, after, contract.id):
        assert after.promised is not None
        _grant(tx, scene, contract, after.promised, now_ms)
        after, change = granted(after, terms.run_ms_min, now_ms), Change.GRANTED
    after = msgspec.structs.replace(after, message=_said(after, outcome, claims))
    if after == scene.standings.get(contract.id):
        return False
    standings.write(tx, scene.machine.id, contract.id, after)
    if before is not None and claim.holds and before.price != after.price:
        _reprice(tx, scene.machine, charged(contract, after), now_ms)
    match change:
        case Change.YIELDS:
            assert outcome.why is not None
            assert after.pauses_at_ms is not None
            tell(tx, contract, "instance_outbid", outcome.why, after.message, now_ms)
            if after.pauses_at_ms <= now_ms:
                pause(tx, scene.machine, contract, after, now_ms)
        case Change.KEPT:
            tell(tx, contract, "instance_kept", scene.instances[contract.id].reason, _KEPT, now_ms)
        case Change.GRANTED | None:
            pass
    return True


def _reprice(tx: Tx, machine: Machine, contract: Contract, now_ms: int) -> None:
    """Have GPU time that is billed go on at another price from now on.

    Nothing is billed between the last proof and now when the machine was not heard lately.
    """
    until_ms = proving.gpu_time_until(machine, now_ms)
    if metering.close_meter(tx, contract, metering.GPU, until_ms, now_ms):
        metering.open_meter(tx, contract, metering.GPU, now_ms)
        metering.forecast(tx, contract.renter, now_ms)


_KEPT: Final = "It keeps its GPUs: nobody stronger wants them any more."


def _can_have(scene: _Scene, standing: Standing, contract: ContractId) -> bool:
    """Whether a contract can be given now what it was promised."""
    if standing.promised is None or contract in scene.held.values():
        return False
    return scene.held.keys().isdisjoint(standing.promised)


def _grant(tx: Tx, scene: _Scene, contract: Contract, gpus: tuple[int, ...], now_ms: int) -> None:
    """Give a contract free GPUs; what was displaced before comes back."""
    instance = scene.instances[contract.id]
    holds.take(tx, scene.machine.id, gpus, contract.id, now_ms)
    scene.held.update(dict.fromkeys(gpus, contract.id))
    if (instance.gpus or contract.gpus) != gpus:
        instances.move(tx, contract.id, gpus)
    if instance.reason in _PAUSED_FOR:
        instances.boot_again(tx, contract.id)  # an end that was told of before is not its end now
        message = f"GPUs {auction.span(gpus)} are free for it again: it resumes."
        instances.intend(tx, contract.id, Intended.RUNNING, Reason.RESUMED, now_ms)
        tell(tx, contract, "instance_resumed", Reason.RESUMED, message, now_ms)


def _notice(terms: BidTerms, kind: Kind, rules: Rules) -> Notice:
    """How long a holder is warned: the host's own job not at all."""
    notice_ms = 0 if kind is Kind.BACKGROUND else terms.notice_ms
    return Notice(notice_ms=notice_ms, end_ms=rules.end_ms)


def _said(standing: Standing, outcome: Outcome, claims: Mapping[ContractId, Claim]) -> str:
    """How a contract stands, for a person; empty when there is nothing to say."""
    if standing.promised is not None:
        return f"It won GPUs {auction.span(standing.promised)} and starts when they are free."
    if outcome.gpus is not None or standing.why is None:
        return ""
    return auction.explain(outcome, claims)


# --- The end of a notice --------------------------------------------------------------------------


def catch_up(tx: Tx, machine_id: MachineId, now_ms: int, rules: Rules = STANDARD) -> int:
    """Pause what has yielded long enough and decide anew what is safe no longer; how many."""
    machine = machines.at_front(tx, machine_id)
    if machine.offline_since_ms is not None:
        return 0
    done = 0
    for contract_id, standing in standings.on(tx, machine_id).items():
        if standing.pauses_at_ms is not None and not standing.pausing:
            if standing.pauses_at_ms <= now_ms:
                pause(tx, machine, contracts.get(tx, contract_id), standing, now_ms)
                done += 1
        elif 0 < standing.safe_until_ms <= now_ms:
            over = msgspec.structs.replace(standing, safe_until_ms=0)
            standings.write(tx, machine_id, contract_id, over)
            done += 1
    if done:
        clear(tx, machine_id, now_ms, rules)
    return done


def pause(tx: Tx, machine: Machine, contract: Contract, standing: Standing, now_ms: int) -> None:
    """Tell a contract to stop whose notice has ended, or that ended itself during its notice.

    It pays no GPU time from now on; its data stays, and it comes back when it wins again.
    """
    assert standing.why is not None, contract
    proving.end_gpu_time(tx, contract, now_ms)
    metering.forecast(tx, contract.renter, now_ms)
    message = (
        f"It is stopped: {_BECAUSE[standing.why]}. Its data is kept, and it resumes by itself."
    )
    paused = msgspec.structs.replace(standing, pausing=True, message=message)
    standings.write(tx, machine.id, contract.id, paused)
    instances.intend(tx, contract.id, Intended.RUNNING, standing.why, now_ms)
    tell(tx, contract, "instance_paused", standing.why, message, now_ms)
    machines.changed(tx, machine.id)


_BECAUSE: Final = {
    Reason.OUTBID: "it was outbid",
    Reason.ON_DEMAND: "an on-demand or reserved contract took its GPUs",
}


def warn_again(tx: Tx, machine: Machine, now_ms: int, rules: Rules = STANDARD) -> None:
    """Begin every notice anew on a machine that could not be heard: nobody inside heard of it."""
    terms, signed = standings.bid_terms_on(tx, machine.id), contracts.live_on(tx, machine.id)
    for contract_id, standing in standings.on(tx, machine.id).items():
        if standing.yields_at_ms is not None and not standing.pausing:
            notice = _notice(terms[contract_id], signed[contract_id].terms.kind, rules)
            standings.write(tx, machine.id, contract_id, noticed(standing, notice, now_ms))
