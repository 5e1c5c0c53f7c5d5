"""`mercato prices`, `depth`, `survival`: what GPUs cost, how many there are, how long bids last."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

from mercato.cli.command import Argument, Option, group
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import money
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.trade_calls import Lasting, ModelPrices, Step

app = group("mercato")

Model = Annotated[str, Argument(metavar="GPU", help="A model: RTX_4090.")]

_BARS: Final = " ▁▂▃▄▅▆▇█"
WIDTH: Final = 60


@speaks(app, "prices")
def prices(
    session: Session,
    gpu: Annotated[str | None, Argument(help="One model, hour by hour: RTX_4090.")] = None,
    *,
    hours: Annotated[int, Option("--hours", help="How far back.")] = 168,
) -> None:
    """What GPUs cost an hour: every model now, or one model hour by hour.

    For example:

        mercato prices

        mercato prices RTX_4090 --hours 720
    """
    from mercato.sdk import trade_calls

    if gpu is None:
        session.give(trade_calls.prices(), _print_models)
    else:
        session.give(trade_calls.price_history(gpu, hours), _print_history)


def _print_models(found: "Sequence[ModelPrices]") -> None:
    print_table(
        ("GPU", "OFFERED>", "RENTED>", "ASK 10%>", "ASK 50%>", "ASK 90%>", "PAID>", "BIDS>"),
        [
            (
                each.gpu_name,
                each.gpus_offered,
                each.gpus_rented,
                *map(money, (each.ask_p10, each.ask_p50, each.ask_p90)),
                money(each.paid_p50),
                money(each.bid_p50),
            )
            for each in found
        ],
        "No GPU is on sale.",
    )


def _print_history(found: "Sequence[ModelPrices]") -> None:
    if not found:
        print_line("Nothing is written of this model yet; hours are written as they pass.")
        return
    asks = [each.ask_p50 for each in found]
    rented = [each.gpus_rented / each.gpus_offered if each.gpus_offered else None for each in found]
    known = [ask for ask in asks if ask is not None]
    print_line(f"{found[0].gpu_name}, {len(found)} hours, oldest left")
    if known:
        print_line(f"  asked   {sparkline(asks)}  {money(min(known))} to {money(max(known))}")
    print_line(f"  rented  {sparkline(rented, top=1.0)}  0 to 100 %")
    last = found[-1]
    print_line(
        f"  now     asked {money(last.ask_p50)}, paid {money(last.paid_p50)}, "
        f"bids {money(last.bid_p50)}, {last.gpus_rented} of {last.gpus_offered} GPUs rented"
    )


def sparkline(values: Sequence[float | None], *, top: float | None = None) -> str:
    """Numbers as a line of bars, at most `WIDTH` wide; what is not known is blank."""
    step = max(1, -(-len(values) // WIDTH))
    shown: list[float | None] = []
    for at in range(0, len(values), step):
        known = [value for value in values[at : at + step] if value is not None]
        shown.append(sum(known) / len(known) if known else None)
    highest = top or max((value for value in shown if value is not None), default=0.0)
    return "".join(" " if value is None else _BARS[_level(value, highest)] for value in shown)


def _level(value: float, highest: float) -> int:
    if highest <= 0:
        return 1
    return max(1, min(len(_BARS) - 1, round(value / highest * (len(_BARS) - 1))))


@speaks(app, "depth")
def depth(session: Session, gpu: Model) -> None:
    """How many free GPUs of a model there are at or below each price.

    Example: mercato depth RTX_4090
    """
    from mercato.sdk import trade_calls

    def show(steps: "Sequence[Step]") -> None:
        most = max((step.gpus for step in steps), default=1)
        print_table(
            ("$/GPU/H>", "GPUS>", ""),
            [
                (money(step.price), step.gpus, "█" * max(1, round(40 * step.gpus / most)))
                for step in steps
            ],
            f"No {gpu.replace('_', ' ')} is free.",
        )

    session.give(trade_calls.depth(gpu), show)


@speaks(app, "survival")
def survival(
    session: Session,
    gpu: Model,
    *,
    price: Annotated[float, Option("--price", help="A bid: dollars for one GPU and hour.")],
    hours: Annotated[float, Option("--hours", help="How long it should last.")] = 1.0,
) -> None:
    """How likely a bid keeps its GPUs, from what became of bids like it on this market.

    Example: mercato survival RTX_4090 --price 0.20 --hours 6
    """
    from mercato.sdk import trade_calls

    def show(said: "Lasting") -> None:
        if said.probability is None:
            print_line(f"Nobody knows yet: {said.spells} bids like it were seen, none so long.")
            return
        print_line(
            f"{said.probability:.0%} that it lasts {hours:g} h (above {said.at_least or 0:.0%} "
            f"with 95 % confidence), from {said.spells} bids like it."
        )

    session.give(trade_calls.survival(gpu, price, hours), show)
