"""`mercato order`: searches that rent by themselves when an offer matches."""

from typing import Annotated, Any, Final

from mercato.cli.command import Argument, Option, group
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import money, span
from mercato.cli.tree import speaks

app = group("mercato")
order = group("order", "Searches that rent by themselves: list, place, cancel.", below=app)

HOUR_S: Final = 3_600


@speaks(order, "list")
def list_orders(session: Session) -> None:
    """Your standing orders, the latest first.

    Example: mercato order list
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.orders(),
        lambda found: print_table(
            ("ID>", "STATE", "UP TO>", "FOR", "IMAGE", "INSTANCE>", "SEARCH"),
            [
                (
                    each.id,
                    each.state,
                    f"{money(each.price)}/h",
                    _left(each.expires_at) if each.state == "resting" else "-",
                    each.image,
                    each.instance_id or "-",
                    _shown(each.query),
                )
                for each in found
            ],
            "You have no standing orders. Place one with: mercato order place",
        ),
    )


def _left(expires_at: float) -> str:
    import time

    return span(expires_at - time.time())  # noqa: TID251 - what is left of it is a matter of now


def _shown(query: dict[str, Any]) -> str:
    unsaid = {"allocated_storage", "external", "rentable", "verified"}
    return " ".join(
        f"{name} {operator} {value}"
        for name, asked in query.items()
        if name not in unsaid and isinstance(asked, dict)
        for operator, value in asked.items()
    )


@speaks(order, "place")
def place(  # noqa: PLR0913 - a rental has these parts, each an option
    session: Session,
    query: Annotated[tuple[str, ...], Argument(help="Comparisons: gpu_name=H100_SXM num_gpus=1")],
    *,
    price: Annotated[float, Option("--price", help="At most this many dollars an hour in all.")],
    image: Annotated[str | None, Option("--image", help="The image to run.")] = None,
    template: Annotated[str | None, Option("--template", help="Or a template's hash.")] = None,
    hours: Annotated[float, Option("--hours", help="Wait for so long.")] = 24.0,
    disk: Annotated[float, Option("--disk", help="Gigabytes of disk.")] = 10.0,
    env: Annotated[str | None, Option("--env", help="Docker flags: '-e A=b -p 80:80'.")] = None,
    onstart: Annotated[str | None, Option("--onstart", help="Run on every start.")] = None,
    label: Annotated[str | None, Option("--label", help="A name of your own.")] = None,
    everything: Annotated[bool, Option("--all", help="Also what is unverified.")] = False,
) -> None:
    """Rent the first offer that matches, now or when there is one, up to a price.

    Nothing is held while it waits; credit is looked at when an offer matches.

    For example:

        mercato order place gpu_name=H100_SXM num_gpus=8 --price 16 --image pytorch/pytorch
    """
    import time

    from mercato.sdk import trade_calls

    launch = {
        "image": image,
        "template_hash_id": template,
        "disk": disk,
        "env": env,
        "onstart": onstart,
        "label": label,
    }
    session.give(
        trade_calls.place_order(
            " ".join(query),
            price=price,
            expires_at=time.time() + hours * HOUR_S,  # noqa: TID251 - it ends so long from now
            launch={name: value for name, value in launch.items() if value is not None},
            defaults=not everything,
        ),
        lambda placed: print_line(
            placed.message or f"Order {placed.id} waits for an offer; see: mercato order list"
        ),
    )


@speaks(order, "cancel")
def cancel(
    session: Session, number: Annotated[int, Argument(metavar="ORDER", help="Its id.")]
) -> None:
    """Call an order off.

    Example: mercato order cancel 3
    """
    from mercato.sdk import trade_calls

    session.do(trade_calls.cancel_order(number), f"Order {number} is called off.")
