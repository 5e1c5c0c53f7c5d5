"""`mercato bill`: credit, and what rentals cost."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Option, group
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import money, span
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.shapes import Charge

app = group("mercato")


@speaks(app, "bill")
def bill(
    session: Session,
    days: Annotated[float, Option("--days", help="How far to look back.")] = 30.0,
) -> None:
    """Your credit, and what each rental cost: GPU, disk and traffic.

    For example:

        mercato bill --days 1

        mercato bill --raw
    """
    now = int(time.time())  # noqa: TID251 - a person asks about the days before this moment
    user = session.market.user()
    charges = session.market.charges(now - int(days * 86_400), now + 86_400)
    if session.raw:
        print_json({"credit": user.credit, "balance": user.balance, "charges": charges})
        return
    print_line(f"Credit: {money(user.credit)}")
    print_table(("WHAT", "SPAN>", "AMOUNT>", "DESCRIPTION"), lines(charges), "Nothing was charged.")
    print_line(f"Total: {money(sum(each.amount for each in charges))}")


def lines(charges: Sequence["Charge"], depth: int = 0) -> list[tuple[str, str, str, str]]:
    """Charges as rows of a table, each before what it is made of."""
    rows: list[tuple[str, str, str, str]] = []
    for each in charges:
        name = each.source or each.type
        covered = None if each.start is None or each.end is None else each.end - each.start
        rows.append(("  " * depth + name, span(covered), money(each.amount), each.description))
        rows += lines(each.items, depth + 1)
    return rows
