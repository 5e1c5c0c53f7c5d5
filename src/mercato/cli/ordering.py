"""`mercato orders`: searches that rent by themselves when an offer matches."""

import time
from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, deepened, group
from mercato.cli.errors import Trouble
from mercato.cli.launching import Disk, Env, Image, Label, Onstart, Template
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import money, span
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.trade_calls import Order

app = group("mercato")


@speaks(app, "orders")
def orders(session: Session) -> None:
    """Your standing orders, the latest first.

    Example: mercato orders
    """
    from mercato.sdk import trade_calls

    now = time.time()  # noqa: TID251 - a person asks how long it is from this moment
    session.give(
        trade_calls.orders(),
        lambda found: print_table(
            ("ID>", "STATE", "UP TO>", "ENDS IN>", "IMAGE", "LABEL", "INSTANCE>", "MESSAGE"),
            [_row(each, now) for each in found],
            "You have no standing orders. Place one: mercato orders place --help",
        ),
    )


def _row(order: "Order", now: float) -> tuple[object, ...]:
    resting = order.state == "resting" and order.expires_at is not None
    return (
        order.id,
        order.state,
        money(order.price),
        span(order.expires_at - now) if resting and order.expires_at is not None else "-",
        order.image,
        order.label,
        order.instance_id,
        order.message,
    )


below_orders = deepened(app, "orders")


@speaks(below_orders, "place")
def place(  # noqa: PLR0913 - an order has these parts, each an option
    session: Session,
    query: Annotated[
        tuple[str, ...], Argument(help="Comparisons: gpu_name=RTX_4090 'num_gpus>=2'")
    ],
    *,
    price: Annotated[float, Option("--price", "-p", help="The most it may cost: $/h, disk too.")],
    hours: Annotated[float, Option("--for", help="Hours until it expires.")] = 24.0,
    image: Image = None,
    template: Template = None,
    disk: Disk = 10.0,
    env: Env = None,
    onstart: Onstart = None,
    label: Label = None,
    everything: Annotated[
        bool, Option("--all", help="Also take what is unverified or external.")
    ] = False,
) -> None:
    """Rent the first offer that matches, now or when there is one; nothing is held until then.

    For example:

        mercato orders place gpu_name=RTX_4090 num_gpus=1 --price 0.30 --image debian:12

        mercato orders place 'gpu_ram>=80' --price 1.2 --for 72 --template 5f3b... --label night
    """
    if image is None and template is None:
        raise Trouble("what should run? Give --image or --template", exit_code=2)
    if hours <= 0:
        raise Trouble("--for is a number of hours above 0", exit_code=2)
    from mercato.sdk import trade_calls

    launch = {
        "image": image,
        "template_hash_id": template,
        "disk": disk,
        "env": env,
        "onstart": onstart,
        "label": label,
        "runtype": None if template else "ssh_direct ssh_proxy",
    }
    call = trade_calls.place_order(
        " ".join(query),
        price=price,
        expires=time.time() + hours * 3_600,  # noqa: TID251 - it expires so long after this moment
        launch={name: value for name, value in launch.items() if value is not None},
        defaults=not everything,
    )
    session.give(call, lambda placed: print_line(placed.msg))


@speaks(below_orders, "cancel")
def cancel(session: Session, order: Annotated[int, Argument(help="The order's id.")]) -> None:
    """Call a standing order off; what it rented stays.

    Example: mercato orders cancel 3
    """
    from mercato.sdk import trade_calls

    session.do(trade_calls.cancel_order(order), f"Order {order} is called off.")
