"""Up to when a host can prove what it lets: nobody pays for more.

A report proves that the machine lives and, when its agent could see, which containers run. Between
two reports that is believed; once a machine was not heard for longer than `Rules.unknown_after_ms`
it no longer is.
"""

from mercato.control.db import Tx
from mercato.control.flows import metering
from mercato.control.flows.house import STANDARD, Rules
from mercato.control.store import machines
from mercato.control.store.machines import Machine
from mercato.market.contract import Contract


def end_gpu_time(tx: Tx, contract: Contract, now_ms: int) -> None:
    """Close the GPU meter: now, or at the last proof when the machine was not heard lately."""
    machine = machines.at_front(tx, contract.machine)
    metering.close_meter(tx, contract, metering.GPU, gpu_time_until(machine, now_ms), now_ms)
    metering.post_bytes(tx, contract, now_ms)


def gpu_time_until(machine: Machine, now_ms: int, rules: Rules = STANDARD) -> int:
    """Up to when GPU time on a machine is proven, or believed, at `now_ms`."""
    last_ms = machine.joined_at_ms if machine.proven_at_ms is None else machine.proven_at_ms
    lately = now_ms - last_ms <= rules.unknown_after_ms and machine.offline_since_ms is None
    return now_ms if lately else min(now_ms, last_ms)
