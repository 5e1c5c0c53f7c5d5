"""`mercato increase`: higher prices that hosts ask for contracts to go on past their end."""

from typing import Annotated, Final

from mercato.cli.command import Argument, group
from mercato.cli.session import Session, print_table
from mercato.cli.text import money
from mercato.cli.tree import speaks

app = group("mercato")
increase = group("increase", "Higher prices asked of you: list, accept, reject.", below=app)

HOUR_S: Final = 3_600

Number = Annotated[int, Argument(metavar="INCREASE", help="Its id.")]


@speaks(increase, "list")
def list_increases(session: Session) -> None:
    """What waits for your word; without it a contract ends as it was signed.

    Example: mercato increase list
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.price_increases(),
        lambda found: print_table(
            ("ID>", "INSTANCE>", "GPU/H NOW>", "GPU/H THEN>"),
            [
                (
                    each.pending_price_increase_id,
                    each.contract_id,
                    money(each.old_gpu_costpersec * HOUR_S),
                    "as now"
                    if each.new_gpu_costpersec is None
                    else money(each.new_gpu_costpersec * HOUR_S),
                )
                for each in found
            ],
            "Nobody asks you for higher prices.",
        ),
    )


@speaks(increase, "accept")
def accept(session: Session, number: Number) -> None:
    """Go on at the higher prices, from the contract's present end on.

    Example: mercato increase accept 2
    """
    from mercato.sdk import trade_calls

    session.do(
        trade_calls.answer_price_increase(number, accept=True),
        "The contract goes on at these prices from its present end on.",
    )


@speaks(increase, "reject")
def reject(session: Session, number: Number) -> None:
    """Let the contract end as it was signed.

    Example: mercato increase reject 2
    """
    from mercato.sdk import trade_calls

    session.do(
        trade_calls.answer_price_increase(number, accept=False),
        "The contract ends as it was signed.",
    )
