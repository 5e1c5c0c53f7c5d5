"""The calls of the public API that only an operator may make."""

from typing import Any

import msgspec

from mercato.sdk.call import Call, done, many, one
from mercato.sdk.money_calls import Payment
from mercato.sdk.shapes import Machine


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One account as its operator sees it. Money is dollars."""

    id: int
    email: str = ""
    username: str = ""
    is_operator: bool = False
    is_host: bool = False
    credit: float = 0
    earnings: float = 0
    api_key: str | None = None
    """Only in the answer that makes the account."""


class LoopReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a background loop is for and how its last run went."""

    name: str
    purpose: str = ""
    period_s: float = 0
    report: dict[str, Any] | None = None
    failure: str | None = None
    age_s: float | None = None


def accounts() -> Call[list[Account]]:
    """Every account."""
    return Call("GET", "/admin/accounts/", many(Account, "accounts"))


def create_account(email: str, *, host: bool = False, operator: bool = False) -> Call[Account]:
    """Make an account; the answer carries its first API key, this once."""
    body = {"email": email, "is_host": host, "is_operator": operator}
    return Call("POST", "/admin/accounts/", one(Account, "account"), body=body, repeatable=False)


def add_credit(account: int, amount: float, cause: str) -> Call[None]:
    """Give an account `amount` dollars; the same `cause` never gives twice."""
    body = {"amount": amount, "cause": cause}
    return Call("POST", f"/admin/accounts/{account}/credit/", done, body=body)


def all_machines() -> Call[list[Machine]]:
    """Every machine of the market."""
    return Call("GET", "/admin/machines/", many(Machine, "machines"))


def verify(machine: int, verification: str = "verified") -> Call[None]:
    """Say whether a machine is `verified`, `unverified` or `deverified`."""
    return Call(
        "PUT", f"/admin/machines/{machine}/verification/", done, body={"verification": verification}
    )


def loops() -> Call[list[LoopReport]]:
    """The background loops of the replica that answers."""
    return Call("GET", "/admin/loops/", many(LoopReport, "loops"))


def waiting_payments(provider: str = "manual") -> Call[list[Payment]]:
    """The payments of everybody that wait; those by hand are the operator's to make."""
    query = {"provider": provider}
    return Call("GET", "/admin/payments/", many(Payment, "payments"), query=query)


def settle_payment(
    payment: int, *, succeeded: bool, reference: str = "", failure: str = ""
) -> Call[Payment]:
    """Say what became of a payment that was made by hand."""
    body = {"succeeded": succeeded, "reference": reference, "failure": failure}
    return Call("PUT", f"/admin/payments/{payment}/", one(Payment), body=body)


def refund_payment(payment: int, amount: float) -> Call[Payment]:
    """Give back a part of a payment from credit that is neither spent nor needed."""
    path = f"/admin/payments/{payment}/refund/"
    return Call("POST", path, one(Payment), body={"amount": amount}, repeatable=False)
