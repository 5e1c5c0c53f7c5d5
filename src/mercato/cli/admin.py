"""`mercato admin`: what an operator does."""

import secrets
from typing import Annotated

from mercato.cli.command import Argument, Option, group
from mercato.cli.hosting import print_machines
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import money, span
from mercato.cli.tree import speaks

app = group("mercato")
admin = group("admin", "What an operator does.", below=app)
users = group("users", "Accounts: list, add.", below=admin)


@speaks(users, "list")
def list_users(session: Session) -> None:
    """Every account, with its credit.

    Example: mercato admin users list
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
        ("LOOP", "EVERY>", "AGE>", "LAST REPORT", "FAILURE", "PURPOSE"),
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
