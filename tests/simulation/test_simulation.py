"""A market in a bottle, small: every law holds, and the same seed is the same market."""

import multiprocessing

import pytest

from mercato.control.db import Tx
from mercato.control.flows import metering, proving
from mercato.market.contract import Contract
from tests.control.postgres import Postgres
from tests.simulation.many import outcomes
from tests.simulation.seeds import Broken, Outcome, Scale, run

SMALL = Scale(machines=10, days=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_law_holds_and_the_same_seed_replays_bit_for_bit(
    server_of_databases: Postgres, seed: int
) -> None:
    first, again = (run(seed, server_of_databases, SMALL) for _ in range(2))
    assert first.digest == again.digest
    assert first.transactions > 100
    assert first.tally == again.tally


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_own_seed_alone_and_says_so() -> None:
    found = outcomes([1, 2, 3], Scale(machines=2, days=0.2), workers=1)
    first = next(found)
    [worker] = multiprocessing.active_children()
    worker.kill()
    second, third = found
    assert isinstance(first, Outcome)
    assert isinstance(second, str)
    assert second.startswith("seed 2: its worker was killed (SIGKILL")
    assert isinstance(third, Outcome)
    assert third.seed == 3


@pytest.mark.slow
def test_a_planted_stop_that_bills_up_to_now_is_found(
    server_of_databases: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_gpu_time(tx: Tx, contract: Contract, now_ms: int) -> None:
        metering.close_meter(tx, contract, metering.GPU, now_ms, now_ms)

    monkeypatch.setattr(proving, "end_gpu_time", end_gpu_time)
    with pytest.raises(Broken, match="after its machine was last heard"):
        run(1, server_of_databases, SMALL)
