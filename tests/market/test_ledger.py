"""The ledger under random deeds: sums, floors, causes, and bills that replay to the nano-dollar."""

import os
from random import Random

import pytest

from mercato.market.ids import AccountId, Cause, ContractId
from mercato.market.ledger import (
    FEES,
    FUNDING,
    UNDER_WAY,
    Books,
    Charge,
    Overdrawn,
    Transfer,
    credit_of,
    shared_out,
)
from mercato.market.money import NanoUsd
from tests.market.ledger_model import Model

STEPS = int(os.environ.get("MERCATO_LEDGER_STEPS", "20000"))
"""`make ledger` takes a million."""

PLATFORM = {FEES, FUNDING, UNDER_WAY}
"""The purses that may be below zero; empty ones are not kept."""


def test_after_every_random_step_books_sum_to_zero_and_bills_replay() -> None:
    model = Model(Random(17))
    purses = model.books.purses
    for step in range(STEPS):
        model.step(accounts=12, contracts_max=24)
        assert sum(purses.values()) == 0, step
        assert all(left > 0 or name in PLATFORM for name, left in purses.items()), step
        assert model.replayed == model.charged, step
    assert len(model.books.causes) > STEPS // 3, "most of them moved money"
    assert len(model.heads) == 12, "everybody was charged, and has a chain of records"


def transfer(
    amount: int, *, debit: str = FUNDING, credit: str = "credit:1", cause: str = "a"
) -> Transfer:
    return Transfer(
        cause=Cause(cause),
        debit=debit,
        credit=credit,
        amount=NanoUsd(amount),
        kind="credit",
        account_id=AccountId(1),
        contract_id=None,
        at_ms=0,
    )


def test_a_cause_moves_money_once_and_no_purse_is_overdrawn() -> None:
    books = Books()
    assert books.move(transfer(5))
    assert not books.move(transfer(5))
    assert not books.move(transfer(7))
    assert books.balance(credit_of(AccountId(1))) == 5
    with pytest.raises(Overdrawn):
        books.move(transfer(6, debit="credit:1", credit="credit:2", cause="b"))
    assert books.purses == {FUNDING: -5, "credit:1": 5}


@pytest.mark.parametrize("made_good", [True, False])
def test_the_house_adds_what_is_missing_only_where_it_makes_good(*, made_good: bool) -> None:
    charge = Charge(
        cause=Cause("a"),
        amount=NanoUsd(1_000),
        payer=credit_of(AccountId(1)),
        renter=AccountId(1),
        host=AccountId(2),
        contract=ContractId(3),
        platform_fee_ppm=100_000,
        about={},
        allowed=NanoUsd(400),
        made_good=made_good,
    )
    for in_purse, borne in ((0, 0), (7, 7), (400, 400), (5_000, 400)):
        books = Books()
        books.purses = {charge.payer: in_purse}
        for transfer in shared_out(charge, NanoUsd(in_purse), 0):
            assert books.move(transfer)
        paid = 1_000 if made_good else borne
        assert in_purse - books.balance(charge.payer) == borne
        assert books.balance("earnings:2") == paid - paid // 10
        assert books.balance(FEES) == borne - books.balance("earnings:2")
