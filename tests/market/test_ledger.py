"""The ledger under random deeds: sums, floors, causes, and bills that replay to the nano-dollar."""

import os
from random import Random

import pytest

from mercato.market.ids import AccountId, Cause
from mercato.market.ledger import FEES, FUNDING, UNDER_WAY, Books, Overdrawn, Transfer, credit_of
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
