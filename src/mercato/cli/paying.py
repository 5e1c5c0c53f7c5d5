"""`mercato pay` and `mercato earnings`: money that comes in and goes out."""

import time
from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, deepened, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import moment, money
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mercato.sdk.money_calls import Checkout, Earnings, Payment
    from mercato.sdk.shapes import User

app = group("mercato")

DAY_S = 86_400

Amount = Annotated[float, Argument(help="Dollars.")]


@speaks(app, "pay")
def pay(session: Session) -> None:
    """Your credit, its automatic top-up, and what was paid in and out.

    Example: mercato pay
    """
    user, paid = session.market.user(), session.market.payments()
    if session.raw:
        print_json({"user": user, "payments": paid})
        return
    print_line(f"Credit: {money(user.credit)}")
    print_line(_thresholds(user))
    if user.host_agreement_accepted or user.earnings:
        where = (
            "paid out on Fridays" if paid.payout_to else "not paid out: mercato pay out-to WHERE"
        )
        print_line(f"Earnings: {money(user.earnings)}, {where}")
    print_payments(paid.payments, "Nothing was paid yet. Pay in: mercato pay in AMOUNT")


def _thresholds(user: "User") -> str:
    told = user.balance_threshold if user.balance_threshold_enabled else None
    warns = f"warned below {money(told)}" if told else "warned when an hour is left"
    if not user.autobill_threshold:
        return f"You are {warns}; no automatic top-up (mercato pay auto --help)."
    amount = money(user.autobill_amount or user.autobill_threshold)
    card = f"the card ending in {user.last4}" if user.last4 else "your card"
    known = "" if user.last4 else "; there is none yet: pay in with one first"
    below = money(user.autobill_threshold)
    return f"You are {warns}; below {below} {card} is charged {amount}{known}."


def print_payments(rows: "Sequence[Payment]", empty: str) -> None:
    """Print payments as a table."""
    print_table(
        ("ID>", "ACCOUNT>", "WHEN", "WHAT", "AMOUNT>", "BY", "STATE", "PAYS", "TROUBLE"),
        [
            (
                each.id,
                each.account_id,
                moment(each.created_at),
                each.purpose,
                money(each.amount),
                each.provider,
                each.state,
                moment(each.pays_at),
                each.failure,
            )
            for each in rows
        ],
        empty,
    )


below_pay = deepened(app, "pay")


@speaks(below_pay, "in")
def pay_in(session: Session, amount: Amount) -> None:
    """Begin to pay credit in: prints where to pay; it is credit when it has arrived.

    Example: mercato pay in 50
    """
    from mercato.sdk import money_calls

    session.give(money_calls.pay_in(amount), _print_checkout)


def _print_checkout(begun: "Checkout") -> None:
    print_line(begun.msg)
    if begun.url:
        print_line(begun.url)
    else:
        print_line(f"Name payment {begun.payment.id} to the operator; see: mercato pay")


@speaks(below_pay, "auto")
def auto(
    session: Session,
    *,
    below: Annotated[
        float | None, Option("--below", help="Charge the card when credit is below this.")
    ] = None,
    amount: Annotated[float | None, Option("--amount", help="Dollars to charge.")] = None,
    warn: Annotated[
        float | None, Option("--warn", help="Tell you when credit is below this; 0: no more.")
    ] = None,
    off: Annotated[bool, Option("--off", help="Charge nothing by itself any more.")] = False,
) -> None:
    """Automatic top-up, and the warning before it; without options, how they are set.

    The card is the one of your last payment.

    For example:

        mercato pay auto --below 20 --amount 50 --warn 30

        mercato pay auto --off
    """
    from mercato.sdk import calls, money_calls

    if off and (below is not None or amount is not None):
        raise Trouble("give --off, or --below and --amount", exit_code=2)
    if any(each is not None and each < 0 for each in (below, amount, warn)):
        raise Trouble("amounts are at least 0 dollars", exit_code=2)
    asked = {
        "warn_below": warn,
        "top_up_below": 0.0 if off else below,
        "top_up_amount": 0.0 if off else amount,
    }
    changes = any(value is not None for value in asked.values())
    call = money_calls.set_thresholds(**asked) if changes else calls.user()
    session.give(call, lambda user: print_line(_thresholds(user)))


@speaks(below_pay, "send")
def send(
    session: Session,
    recipient: Annotated[str, Argument(help="An account's e-mail address or id.")],
    amount: Amount,
) -> None:
    """Give credit to another account; it cannot be taken back.

    Example: mercato pay send bob@example.com 25
    """
    from mercato.sdk import money_calls

    session.give(money_calls.transfer_credit(recipient, amount), print_line)


@speaks(below_pay, "out-to")
def out_to(
    session: Session,
    where: Annotated[
        str, Argument(help="An account of the payment provider, or words for the operator.")
    ],
) -> None:
    """Say where what your machines earned is paid; it is kept sealed.

    For example:

        mercato pay out-to acct_1234

        mercato pay out-to 'IBAN DE02 1203 0000 0000 2020 51'
    """
    from mercato.sdk import money_calls

    session.give(money_calls.pay_out_to(where), print_line)


@speaks(below_pay, "use-earnings")
def use_earnings(session: Session, amount: Amount) -> None:
    """Make credit of what your machines earned.

    Example: mercato pay use-earnings 20
    """
    from mercato.sdk import money_calls

    session.give(money_calls.use_earnings(amount), print_line)


@speaks(app, "earnings")
def earnings(
    session: Session,
    *,
    days: Annotated[float, Option("--days", help="How far to look back.")] = 30.0,
    daily: Annotated[bool, Option("--daily", help="By day instead of by machine.")] = False,
) -> None:
    """What your machines earned, and what of it is not paid out yet.

    Example: mercato earnings --days 7 --daily
    """
    from mercato.sdk import money_calls

    today = time.time() / DAY_S  # noqa: TID251 - a person asks about the days before this moment
    session.give(
        money_calls.earnings(first_day=int(today - days), last_day=int(today)),
        lambda found: _print_earnings(found, daily=daily),
    )


def _print_earnings(found: "Earnings", *, daily: bool) -> None:
    print_table(
        ("DAY<" if daily else "MACHINE<", "GPU>", "DISK>", "UP>", "DOWN>", "TOTAL>"),
        [
            (
                moment(each.day * DAY_S)[:10] if daily else each.machine_id,
                *map(money, (each.gpu_earn, each.sto_earn, each.bwu_earn, each.bwd_earn)),
                money(each.total),
            )
            for each in (found.per_day if daily else found.per_machine)
        ],
        "Nothing was earned in that time.",
    )
    print_line(f"Not paid out yet: {money(found.current.get('balance', 0.0))}")
