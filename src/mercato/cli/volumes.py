"""`mercato volumes`: disks that outlive the instances that mount them."""

from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, Yes, deepened, group
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import money, number
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.trade_calls import RentedVolume

app = group("mercato")

Volume = Annotated[int, Argument(metavar="VOLUME", help="The volume's id.")]
Offer = Annotated[
    int, Argument(metavar="OFFER", help="A volume offer's id: mercato volumes offers")
]


@speaks(app, "volumes")
def volumes(session: Session) -> None:
    """Your volumes, and the instances that mount them.

    Example: mercato volumes
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.volumes(),
        lambda mine: print_table(
            ("ID>", "NAME", "STATE", "SIZE>", "USED>", "$/H>", "MACHINE>", "INSTANCES", "MESSAGE"),
            [
                (
                    each.id,
                    each.label,
                    each.status,
                    f"{each.disk_space:g}G",
                    "-" if each.disk_usage is None else f"{each.disk_usage:.1f}G",
                    money(each.storage_total_cost),
                    each.machine_id,
                    ", ".join(map(str, each.instances)) or "-",
                    each.status_msg,
                )
                for each in mine
            ],
            "You have no volumes. Find one: mercato volumes offers",
        ),
    )


below_volumes = deepened(app, "volumes")


@speaks(below_volumes, "offers")
def offers(
    session: Session,
    query: Annotated[tuple[str, ...], Argument(help="Comparisons: 'disk_space>=100'")] = (),
    *,
    limit: Annotated[int, Option("--limit", "-n", help="At most this many.")] = 20,
) -> None:
    """Disk space that can be rented as a volume, the cheapest first.

    Example: mercato volumes offers 'disk_space>=100' 'geolocation in [SE,NO]'
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.search_volumes(" ".join(query), limit=limit),
        lambda found: print_table(
            ("ID>", "SIZE>", "$/GB/MONTH>", "DISK MB/S>", "UP>", "DOWN>", "WHERE", "MACHINE>"),
            [
                (
                    each.id,
                    f"{each.disk_space:.0f}G",
                    money(each.storage_cost),
                    number(each.disk_bw),
                    number(each.inet_up),
                    number(each.inet_down),
                    each.geolocation,
                    each.machine_id,
                )
                for each in found
            ],
            "No volume is on sale that matches.",
        ),
    )


@speaks(below_volumes, "create")
def create(
    session: Session,
    offer: Offer,
    size: Annotated[float, Argument(help="Gigabytes.")],
    *,
    name: Annotated[str | None, Option("--name", help="A name of your own.")] = None,
) -> None:
    """Rent a volume; it is billed until you delete it.

    Mount it in an instance of the same machine: mercato rent OFFER --volume V.12:/data ...

    Example: mercato volumes create 700 50 --name models
    """
    from mercato.sdk import trade_calls

    session.give(trade_calls.create_volume(offer, size, name=name), _print)


def _print(made: "RentedVolume") -> None:
    print_line(made.msg)


@speaks(below_volumes, "clone")
def clone(
    session: Session,
    volume: Volume,
    offer: Offer,
    *,
    size: Annotated[float | None, Option("--size", help="Gigabytes; as the first.")] = None,
) -> None:
    """Rent a volume that begins with the contents of another on its machine.

    Example: mercato volumes clone 12 700
    """
    from mercato.sdk import trade_calls

    session.give(trade_calls.clone_volume(volume, offer, size=size), _print)


@speaks(below_volumes, "rm")
def remove(session: Session, volume: Volume, *, yes: Yes = False) -> None:
    """Delete a volume that no instance mounts; its data is lost.

    Example: mercato volumes rm 12 --yes
    """
    from mercato.sdk import trade_calls

    session.confirm(f"Delete volume {volume} and all data in it?", yes=yes)

    session.do(trade_calls.delete_volume(volume), f"Volume {volume} is deleted.")


@speaks(below_volumes, "sell")
def sell(
    session: Session,
    machine: Annotated[int, Argument(help="A machine of yours.")],
    *,
    size: Annotated[float, Option("--size", help="Gigabytes of its disk, for all volumes.")],
    price: Annotated[float, Option("--price", help="Dollars per GB and month.")] = 0.10,
) -> None:
    """Put a part of a machine's disk on sale as volumes, for as long as the machine is.

    Example: mercato volumes sell 3 --size 500 --price 0.08
    """
    from mercato.sdk import trade_calls

    session.do(
        trade_calls.sell_volumes(machine, size, price),
        f"{size:g} GB of machine {machine} are on sale at {money(price)} per GB and month.",
    )


@speaks(below_volumes, "withdraw")
def withdraw(session: Session, offer: Offer) -> None:
    """Take volumes off sale; those that are let stay.

    Example: mercato volumes withdraw 700
    """
    from mercato.sdk import trade_calls

    session.do(trade_calls.withdraw_volumes(offer), f"Volume offer {offer} is off sale.")
