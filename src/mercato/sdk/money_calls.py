"""The calls of the public API about money that comes in and goes out, one function each.

Money is dollars, times are seconds since the epoch.
"""

import msgspec

from mercato.sdk.call import Call, many, one
from mercato.sdk.shapes import Charge, User


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """Money that was paid in or out, or is to be."""

    id: int
    account_id: int = 0
    purpose: str = ""
    provider: str = ""
    amount: float = 0
    state: str = ""
    failure: str | None = None
    created_at: float | None = None
    pays_at: float | None = None
    """When a payout that was announced is paid."""
    ended_at: float | None = None


class Payments(msgspec.Struct, frozen=True, kw_only=True):
    """An account's payments, the latest first."""

    payments: list[Payment] = []
    card: str | None = None
    """The last digits of the card that automatic top-ups charge."""
    payout_to: bool = False
    """Whether it is known where earnings go."""


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that was begun."""

    payment: Payment
    url: str | None = None
    """Where to go to pay; None when the operator takes the money by hand."""
    msg: str = ""


class MachineEarnings(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine earned, or all on one day."""

    machine_id: int = 0
    day: int = 0
    """Days since the epoch."""
    gpu_earn: float = 0
    sto_earn: float = 0
    bwu_earn: float = 0
    bwd_earn: float = 0

    @property
    def total(self) -> float:
        """All of it."""
        return self.gpu_earn + self.sto_earn + self.bwu_earn + self.bwd_earn


class Earnings(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's machines earned."""

    current: dict[str, float] = {}
    """`balance` is what is not paid out yet."""
    per_machine: list[MachineEarnings] = []
    per_day: list[MachineEarnings] = []


def payments() -> Call[Payments]:
    """What the account paid in and was paid out."""
    return Call("GET", "/payments/", one(Payments))


def pay_in(amount: float, *, return_url: str | None = None) -> Call[Checkout]:
    """Begin to pay `amount` dollars in; the answer says where to go to pay."""
    body = {"amount": amount, "return_url": return_url}
    return Call("POST", "/payments/", one(Checkout), body=body, repeatable=False)


def pay_out_to(where: str) -> Call[str]:
    """Say where earnings are paid: an account of the provider, or words for the operator."""
    return Call("PUT", "/payments/payout/", said, body={"payout_to": where})


def use_earnings(amount: float) -> Call[str]:
    """Make credit of what the account earned as a host."""
    return Call("POST", "/payments/earnings/", said, body={"amount": amount}, repeatable=False)


def transfer_credit(recipient: str, amount: float) -> Call[str]:
    """Give credit to another account, by e-mail address or id; it cannot be taken back."""
    body = {"recipient": recipient, "amount": amount}
    return Call("PUT", "/commands/transfer_credit/", said, body=body, repeatable=False)


def set_thresholds(
    *,
    warn_below: float | None = None,
    top_up_below: float | None = None,
    top_up_amount: float | None = None,
) -> Call[User]:
    """Say at which credit the account is warned, and its card charged how much; 0 is never.

    None leaves one as it is.
    """
    body: dict[str, object] = {}
    if warn_below is not None:
        body |= {"balance_threshold": warn_below, "balance_threshold_enabled": warn_below > 0}
    if top_up_below is not None:
        body["autobill_threshold"] = top_up_below
    if top_up_amount is not None:
        body["autobill_amount"] = top_up_amount
    return Call("PUT", "/users/", one(User), body=body)


def invoices_page(
    first: float, last: float, after: str | None = None
) -> Call[tuple[list[Charge], str | None]]:
    """One page of what came into or left the credit other than for rentals, the latest first."""
    rows = many(Charge, "results")
    return Call(
        "GET",
        "/api/v1/invoices/",
        lambda answer: (rows(answer), answer.get("next_token")),
        query={
            "select_filters": {"when": {"gte": first, "lte": last}},
            "latest_first": True,
            "limit": 100,
            "after_token": after,
        },
    )


def earnings(*, first_day: float | None = None, last_day: float | None = None) -> Call[Earnings]:
    """What the account's machines earned between two days since the epoch."""
    query = {"sday": first_day, "eday": last_day}
    return Call("GET", "/users/me/machine-earnings/", one(Earnings), query=query)


def said(answer: object) -> str:
    """The words of an answer, for a person."""
    assert isinstance(answer, dict)
    return str(answer.get("msg") or "Done.")
