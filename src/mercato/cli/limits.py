"""`mercato limits` and `mercato prepay`: what you let yourself spend, and what you pay before."""

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, deepened, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import money, span
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.shapes import Limit

app = group("mercato")


class Per(StrEnum):
    """How long a limit lasts before it begins anew."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class Action(StrEnum):
    """What happens when a limit is reached."""

    STOP = "stop"
    NOTIFY = "notify"


@speaks(app, "limits")
def show(session: Session) -> None:
    """Your spending limits, and how much of each is used.

    Example: mercato limits
    """
    from mercato.sdk import calls

    now = time.time()  # noqa: TID251 - a person asks how long it is from this moment
    session.give(
        calls.limits(),
        lambda limits: print_table(
            ("ID>", "ON", "LIMIT>", "PER", "ACTION", "SPENT>", "LEFT>", "REACHED IN>"),
            [_row(each, now) for each in limits],
            "You have no spending limits.",
        ),
    )


def _row(limit: "Limit", now: float) -> tuple[object, ...]:
    on = limit.scope if limit.scope == "account" else f"{limit.scope} {limit.scope_id}"
    reached_in = None if limit.reached_at is None else limit.reached_at - now
    return (
        limit.id,
        on,
        money(limit.amount),
        limit.period,
        limit.action,
        money(limit.spent),
        money(limit.remaining),
        span(reached_in),
    )


below_limits = deepened(app, "limits")


@speaks(below_limits, "set")
def set_limit(  # noqa: PLR0913 - a limit has these parts, each an option
    session: Session,
    amount: Annotated[float, Argument(help="Dollars.")],
    *,
    per: Annotated[Per, Option("--per", help="When it begins anew; `total` never does.")] = (
        Per.TOTAL
    ),
    instance: Annotated[int | None, Option("--instance", help="On one instance.")] = None,
    key: Annotated[int | None, Option("--key", help="On what one API key rents.")] = None,
    member: Annotated[
        int | None, Option("--member", help="On what one member of the team rents.")
    ] = None,
    endpoint: Annotated[int | None, Option("--endpoint", help="On one endpoint.")] = None,
    action: Annotated[Action, Option("--action", help="What happens when it is reached.")] = (
        Action.STOP
    ),
) -> None:
    """Limit what is spent: on everything, or on one instance, API key, member or endpoint.

    Nothing is started that would pass it, and what runs is stopped when it is reached; disks are
    kept, as their cost is put aside.

    For example:

        mercato limits set 20 --per day

        mercato limits set 5 --instance 7 --action notify
    """
    from mercato.sdk import calls

    on = {"instance": instance, "key": key, "member": member, "endpoint": endpoint}
    named = [(scope, number) for scope, number in on.items() if number is not None]
    if len(named) > 1:
        raise Trouble("give one of --instance, --key, --member, --endpoint")
    scope, number = named[0] if named else ("account", None)
    session.give(
        calls.set_limit(amount, per.value, scope=scope, scope_id=number, action=action.value),
        lambda limit: print_line(
            f"Limit {limit.id} is set; {money(limit.spent)} of {money(limit.amount)} are spent."
        ),
    )


@speaks(below_limits, "rm")
def remove(session: Session, limit: Annotated[int, Argument(help="The limit's id.")]) -> None:
    """Take a spending limit away.

    Example: mercato limits rm 3
    """
    from mercato.sdk import calls

    session.do(calls.remove_limit(limit), f"Limit {limit} is taken away.")


@speaks(app, "prepay")
def prepay(
    session: Session,
    instance: Annotated[int, Argument(help="The instance's id.")],
    amount: Annotated[
        float | None, Argument(help="Dollars; without it, what is left is shown.")
    ] = None,
) -> None:
    """Move credit into an instance's deposit: it is used first, at a discount.

    What is left comes back when the instance is destroyed, less 1.05 of the discount received.

    Example: mercato prepay 7 500
    """
    from mercato.sdk import calls

    if amount is not None:
        session.give(calls.prepay(instance, amount), lambda prepaid: print_line(prepaid.msg))
        return
    session.give(
        calls.deposit(instance),
        lambda now: print_line(
            f"{money(now.balance)} left, {money(now.refundable_deposit)} of it refundable now; "
            f"{now.discount_rate:.1%} off has saved {money(now.total_discount)}."
        ),
    )
