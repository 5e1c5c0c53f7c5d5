"""A market in a bottle, small: every law holds, and the same seed is the same market."""

import pytest

from tests.control.postgres import Postgres
from tests.simulation.seeds import Scale, run

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
