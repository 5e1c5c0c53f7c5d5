"""`mercato prices`: what GPUs cost, how many there are at which price, how long bids last."""

from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, deepened, group
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import moment, money
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mercato.sdk.trade_calls import Lasting, Prices

app = group("mercato")

Gpu = Annotated[str, Argument(metavar="GPU", help="A GPU model: RTX_4090")]


@speaks(app, "prices")
def prices(session: Session) -> None:
    """What one GPU of each model costs an hour now, and how many are rented.

    Example: mercato prices
    """
    from mercato.sdk import trade_calls

    session.give(trade_calls.prices(), lambda rows: _print(rows, "No GPU is on sale."))


def _print(rows: "Sequence[Prices]", empty: str, *, hourly: bool = False) -> None:
    print_table(
        (
            "HOUR" if hourly else "GPU",
            *("OFFERED>", "RENTED>", "CHEAPEST 10%>", "MEDIAN>", "90%>", "PAID>", "BY BID>"),
        ),
        [
            (
                moment(each.at)[:16] if hourly else each.gpu_name,
                each.gpus_offered,
                each.gpus_rented,
                *map(money, (each.ask_p10, each.ask_p50, each.ask_p90)),
                *map(money, (each.paid_p50, each.bid_p50)),
            )
            for each in rows
        ],
        empty,
    )


below_prices = deepened(app, "prices")


@speaks(below_prices, "history")
def history(
    session: Session,
    gpu: Gpu,
    *,
    hours: Annotated[int, Option("--hours", help="How far to look back.")] = 24,
) -> None:
    """What one GPU of a model cost, hour by hour.

    Example: mercato prices history RTX_4090 --hours 168
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.price_history(gpu, hours=hours),
        lambda rows: _print(rows, f"Nothing is known of {gpu} in that time.", hourly=True),
    )


@speaks(below_prices, "depth")
def depth(session: Session, gpu: Gpu) -> None:
    """How many free GPUs of a model there are at or below each price.

    Example: mercato prices depth RTX_4090
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.depth(gpu),
        lambda steps: print_table(
            ("AT OR BELOW>", "GPUS>"),
            [(money(each.price), each.gpus) for each in steps],
            f"No {gpu} is free. Place an order for one: mercato orders place --help",
        ),
    )


@speaks(below_prices, "survival")
def survival(
    session: Session,
    gpu: Gpu,
    price: Annotated[float, Argument(help="Dollars an hour for one GPU.")],
    hours: Annotated[float, Argument(help="For how long it should last.")],
) -> None:
    """How likely a bid holds its GPU for so long, from what became of bids like it.

    Example: mercato prices survival RTX_4090 0.25 12
    """
    from mercato.sdk import trade_calls

    session.give(trade_calls.survival(gpu, price, hours), lambda said: _print_odds(said, hours))


def _print_odds(said: "Lasting", hours: float) -> None:
    if said.probability is None:
        print_line("Nothing is known yet: too few bids of its like have been seen.")
        return
    least = "" if said.at_least is None else f" (above {said.at_least:.0%} with 95 % confidence)"
    print_line(
        f"It lasts {hours:g} h with a probability of {said.probability:.0%}{least}: so say "
        f"{said.spells} bid(s) like it."
    )
