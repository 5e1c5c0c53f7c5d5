"""The ledger in memory (tests/market/ledger_model.py) and the one in PostgreSQL are the same."""

from random import Random

import pytest

from mercato.control.db import Database
from mercato.control.flows import lapsing, renting, reserving
from mercato.control.store import purses
from mercato.market.ids import AccountId
from mercato.market.instance import Intended
from mercato.market.ledger import FUNDING, credit_of
from mercato.market.meter import DISK, GPU
from mercato.market.money import NanoUsd, nano
from tests.control.market import HOUR, T0, open_market
from tests.market import ledger_model
from tests.market.ledger_model import MAX_PPM, Model


def kept(db: Database) -> dict[str, int]:
    """What is in the purses of the database; the platform's are not kept there."""
    return {name: left for name, left in db.run_now(purses.everything).items() if left}


def owned(model: Model) -> dict[str, int]:
    """What is in the same purses in memory."""
    return {name: left for name, left in model.books.purses.items() if ":" in name}


@pytest.mark.parametrize("seed", range(6))
def test_the_same_deeds_come_to_the_same_purses(  # noqa: PLR0915 - one tale
    db: Database, seed: int
) -> None:
    luck = Random(seed)
    market = open_market(db)
    agent = market.machine(1, credit_discount_max=MAX_PPM / 1_000_000)
    contract = market.rent(market.offer(agent, 1)).contract
    agent.settle(T0)
    model = Model(Random(0), now_ms=T0, fee_ppm=contract.terms.platform_fee_ppm)
    renter, terms = AccountId(contract.renter), contract.terms
    model.move(FUNDING, credit_of(renter), nano(100), renter, "credit")
    rates = {GPU: terms.gpu, DISK: terms.storage}
    twin = ledger_model.Contract(contract.id, renter, contract.host, rates)
    model.contracts[twin.id] = twin
    model.open(twin, DISK, T0)
    model.open(twin, GPU, T0)
    for step in range(25):
        model.now_ms = now_ms = model.now_ms + luck.randrange(1, HOUR)
        agent.settle(now_ms)
        runs = market.instance(contract.id).intended is Intended.RUNNING
        match luck.randrange(5):
            case 0 if runs:
                db.run_now(renting.stop, renter, contract.id, now_ms)
                model.use_up(twin, now_ms)
                model.stop(twin, GPU, now_ms)
            case 1 if not runs:
                db.run_now(renting.start, renter, contract.id, now_ms)
                model.use_up(twin, now_ms)
                model.open(twin, GPU, now_ms)
            case 2:
                amount = luck.randrange(nano("0.05"), nano("0.60"))
                cause = f"{seed}:{step}"
                db.run_now(reserving.prepay, renter, contract.id, NanoUsd(amount), cause, now_ms)
                model.prepay(twin, amount)
            case _:
                db.run_now(lapsing.settle, contract.id, now_ms)
                model.settle(twin)
        agent.settle(now_ms)
        db.run_now(lapsing.settle, contract.id, now_ms)
        model.settle(twin)
        assert kept(db) == owned(model), step
    db.run_now(renting.destroy, renter, contract.id, model.now_ms)
    model.destroy(twin)
    assert kept(db) == owned(model)
    market.audit()
