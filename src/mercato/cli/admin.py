"""`mercato admin`: what an operator does."""

import secrets
from typing import Annotated

from mercato.cli.command import Argument, Option, group
from mercato.cli.hosting import print_machines
from mercato.cli.paying import print_payments
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import money, span
from mercato.cli.tree import speaks

app = group("mercato")
admin = group("admin", "What an operator does.", below=app)
users = group("users", "Accounts.", below=admin)


@speaks(users, "ls")
def list_users(session: Session) -> None:
    """Every account, with its credit.

    Example: mercato admin users ls
    """
    from mercato.sdk import admin_calls

    session.give(
        admin_calls.accounts(),
        lambda rows: print_table(
            ("ID>", "EMAIL", "ROLES", "CREDIT>", "EARNINGS>"),
            [
                (each.id, each.email, _roles(each), money(each.credit), money(each.earnings))
                for each in rows
            ],
            "There are no accounts.",
        ),
    )


def _roles(account: object) -> str:
    named = {"is_operator": "operator", "is_host": "host"}
    held = [role for name, role in named.items() if getattr(account, name)]
    return ", ".join(held) or "renter"


@speaks(users, "add")
def add_user(
    session: Session,
    email: Annotated[str, Argument(help="The account's e-mail address.")],
    *,
    host: Annotated[bool, Option("--host", help="It may list machines.")] = False,
    operator: Annotated[bool, Option("--operator", help="It may do all of this.")] = False,
) -> None:
    """Make an account; its first API key is shown this once.

    Example: mercato admin users add ann@example.com --host
    """
    from mercato.sdk import admin_calls

    session.give(
        admin_calls.create_account(email, host=host, operator=operator),
        lambda made: print_line(f"Account {made.id}, key {made.api_key}"),
    )


@speaks(admin, "credit")
def credit(
    session: Session,
    account: Annotated[int, Argument(help="The account's id.")],
    amount: Annotated[float, Argument(help="Dollars.")],
    *,
    cause: Annotated[
        str | None,
        Option("--cause", help="Names the payment: the same one never counts twice."),
    ] = None,
) -> None:
    """Give an account credit.

    Example: mercato admin credit 3 50 --cause invoice-2031
    """
    from mercato.sdk import admin_calls

    name = cause or f"manual-{secrets.token_hex(8)}"
    session.do(
        admin_calls.add_credit(account, amount, name),
        f"Account {account} has {money(amount)} more ({name}).",
    )


payments = group("payments", "Payments that wait for you.", below=admin)

Payment = Annotated[int, Argument(metavar="PAYMENT", help="The payment's id.")]


@speaks(payments, "ls")
def list_payments(
    session: Session,
    *,
    provider: Annotated[str, Option("--provider", help="Whose: manual are yours.")] = "manual",
) -> None:
    """The payments of everybody that wait; those by hand wait for you.

    Example: mercato admin payments ls
    """
    from mercato.sdk import admin_calls

    session.give(
        admin_calls.waiting_payments(provider),
        lambda rows: print_payments(rows, "No payment waits."),
    )


@speaks(payments, "settle")
def settle(
    session: Session,
    payment: Payment,
    *,
    failed: Annotated[str | None, Option("--failed", help="It failed, and why.")] = None,
    reference: Annotated[str, Option("--reference", help="Your books' name for it.")] = "",
) -> None:
    """Say that a payment by hand has arrived, or was paid out; or that it failed.

    For example:

        mercato admin payments settle 17 --reference 'bank 2031-04-07'

        mercato admin payments settle 18 --failed 'the account is closed'
    """
    from mercato.sdk import admin_calls

    session.give(
        admin_calls.settle_payment(
            payment, succeeded=failed is None, reference=reference, failure=failed or ""
        ),
        lambda now: print_line(f"Payment {now.id} of {money(now.amount)} {now.state}."),
    )


@speaks(payments, "refund")
def refund(
    session: Session,
    payment: Payment,
    amount: Annotated[float, Argument(help="Dollars.")],
) -> None:
    """Give back a part of a payment, from credit that is neither spent nor needed.

    Example: mercato admin payments refund 17 20
    """
    from mercato.sdk import admin_calls

    session.give(
        admin_calls.refund_payment(payment, amount),
        lambda now: print_line(f"Payment {now.id} gives back {money(now.amount)}: {now.state}."),
    )


@speaks(admin, "machines")
def machines(session: Session) -> None:
    """Every machine of the market.

    Example: mercato admin machines --raw
    """
    from mercato.sdk import admin_calls

    session.give(
        admin_calls.all_machines(), lambda rows: print_machines(rows, "There are no machines.")
    )


@speaks(admin, "verify")
def verify(
    session: Session,
    machine: Annotated[int, Argument(help="The machine's id.")],
    *,
    revoke: Annotated[bool, Option("--revoke", help="Make it deverified instead.")] = False,
) -> None:
    """Call a machine verified, so that default searches find it.

    Example: mercato admin verify 3
    """
    from mercato.sdk import admin_calls

    status = "deverified" if revoke else "verified"
    session.do(admin_calls.verify(machine, status), f"Machine {machine} is {status}.")


@speaks(admin, "loops")
def loops(session: Session) -> None:
    """The background loops: what each is for, what it last did, how long ago.

    Example: mercato admin loops
    """
    from mercato.sdk import admin_calls

    if session.raw:
        print_json(session.market.fetch(admin_calls.loops()))
        return
    print_table(
        ("LOOP<", "EVERY>", "AGE>", "LAST REPORT", "FAILURE", "PURPOSE"),
        [
            (
                each.name,
                span(each.period_s),
                span(each.age_s),
                ", ".join(f"{name} {count}" for name, count in (each.report or {}).items()),
                each.failure,
                each.purpose,
            )
            for each in session.market.loops()
        ],
        "There are no loops.",
    )
