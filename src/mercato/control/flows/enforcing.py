"""What happens when a spending limit is reached: the account is told, or what runs is stopped.

A limit is looked at as of the moment at which it had to be, however late somebody looks: GPU time
is charged to that moment and no further, and what its host delivered after it the house pays. What
was used before a limit was set, or lowered, is not given back: the moment is then that of the deed.
"""

from typing import Final

from mercato.control.db import Tx
from mercato.control.flows import limiting, metering, renting, volumes
from mercato.control.flows.ending import end_meter
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import (
    contracts,
    events,
    instances,
    limits,
)
from mercato.control.store import volumes as stored_volumes
from mercato.control.store.events import Event
from mercato.market.ids import ContractId
from mercato.market.instance import Intended, Reason
from mercato.market.limits import Action, Limit, Period, acts_at_ms, reached_at_ms, told

Report = dict[str, int]

LOOKS_MAX: Final = 1_000
"""Windows caught up with in one run; an hour's limit of a server that was down for six weeks."""


def look(tx: Tx, limit_id: int, now_ms: int, rules: Rules = STANDARD) -> Report:
    """Act on a limit whose moment has come; again is no harm."""
    report = {"told": 0, "stopped": 0, "destroyed": 0}
    limit = limits.get(tx, limit_id)
    if limit is None:
        return report
    tx.queue(f"account:{limit.account_id}")
    care = limiting.care(rules)
    for _ in range(LOOKS_MAX):
        at_ms = limits.looked_at_next(tx, limit_id)
        if at_ms is None or at_ms > now_ms:
            break
        now = limiting.spending(tx, limit, at_ms)
        reached_ms = reached_at_ms(limit, now, at_ms, care)
        if reached_ms is None or reached_ms > at_ms:
            limits.look_at(tx, limit_id, acts_at_ms(limit, now, at_ms, care))
            continue
        _tell(tx, limit, at_ms, now_ms, report)
        if limit.action is Action.STOP and _stop(tx, limit, at_ms, now_ms, rules, report):
            continue  # looked at anew, with what is left
        limits.look_at(tx, limit_id, limit.window(at_ms).to_ms)
    return report


def _tell(tx: Tx, limit: Limit, at_ms: int, now_ms: int, report: Report) -> None:
    if not limits.tell(tx, limit.id, limit.window(at_ms).from_ms):
        return
    after = " What runs is stopped; its data is kept." if limit.action is Action.STOP else ""
    events.record(
        tx,
        Event(
            account_id=limit.account_id,
            kind="limit_reached",
            reason=Reason.SPENDING_LIMIT.value,
            message=f"The spending limit of {told(limit)} is reached.{after}",
            at_ms=now_ms,
        ),
    )
    report["told"] += 1


def _stop(tx: Tx, limit: Limit, at_ms: int, now_ms: int, rules: Rules, report: Report) -> bool:
    """Stop what runs; when nothing does and a total is used up, end what is left. Did anything?"""
    done = False
    covered = limits.contracts_of(tx, limit)
    for one in covered:
        instance, contract = instances.get(tx, one), contracts.get(tx, one)
        runs = instance is not None and instance.intended is Intended.RUNNING
        if runs and contract.terms.gpu > 0:
            end_meter(tx, contract, metering.GPU, at_ms, now_ms, rules)
            renting.stop(tx, limit.account_id, one, now_ms, Reason.SPENDING_LIMIT)
            report["stopped"] += 1
            done = True
    if not done and limit.period is Period.TOTAL:
        for one in _endable(tx, covered):
            end_meter(tx, contracts.get(tx, one), metering.DISK, at_ms, now_ms, rules)
            _destroy(tx, limit, one, now_ms)
            report["destroyed"] += 1
            done = True
    return done


def _endable(tx: Tx, covered: list[ContractId]) -> list[ContractId]:
    """What of it was not told to end yet: instances, then volumes that nothing else mounts."""
    there, kept = [], []
    for one in covered:
        instance, volume = instances.get(tx, one), stored_volumes.get(tx, one)
        if instance is not None and instance.intended is not Intended.DESTROYED:
            there.append(one)
        elif volume is not None and volume.deleted_at_ms is None:
            kept.append(one)
    return there + [one for one in kept if set(stored_volumes.used_by(tx, one)) <= set(there)]


def _destroy(tx: Tx, limit: Limit, contract: ContractId, now_ms: int) -> None:
    if instances.get(tx, contract) is not None:
        renting.destroy(tx, limit.account_id, contract, now_ms, Reason.SPENDING_LIMIT)
    else:
        volumes.delete(tx, limit.account_id, contract, now_ms, Reason.SPENDING_LIMIT)
