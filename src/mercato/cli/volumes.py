"""`mercato volume`: disks that outlive the instances that mount them."""

from typing import Annotated

from mercato.cli.command import Argument, Option, group
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import money, span
from mercato.cli.tree import speaks

app = group("mercato")
volume = group("volume", "Disks of their own: list, search, create, clone, rm.", below=app)


@speaks(volume, "list")
def list_volumes(session: Session) -> None:
    """Your volumes.

    Example: mercato volume list
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.volumes(),
        lambda found: print_table(
            ("ID>", "NAME", "STATUS", "SIZE>", "$/H>", "MACHINE>", "MOUNTED BY"),
            [
                (
                    each.id,
                    each.label or "-",
                    each.status,
                    f"{each.disk_space:g}G",
                    money(each.storage_total_cost),
                    each.machine_id,
                    ", ".join(map(str, each.instances)) or "-",
                )
                for each in found
            ],
            "You have no volumes. Find one with: mercato volume search",
        ),
    )


@speaks(volume, "search")
def search(
    session: Session,
    query: Annotated[tuple[str, ...], Argument(help="Comparisons: gpu_name=RTX_4090")] = (),
    *,
    size: Annotated[float, Option("--size", help="At least this many gigabytes.")] = 15.0,
    everything: Annotated[bool, Option("--all", help="Also what is unverified.")] = False,
) -> None:
    """Where volumes can be had, the cheapest first.

    Example: mercato volume search gpu_name=RTX_4090 --size 100
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.search_volumes(" ".join(query), size_gb=size, defaults=not everything),
        lambda found: print_table(
            ("OFFER>", "MACHINE>", "UP TO>", "$/GB/MONTH>", "GPUS", "REL>", "FOR>", "WHERE"),
            [
                (
                    each.id,
                    each.machine_id,
                    f"{each.disk_space:g}G",
                    money(each.storage_cost),
                    each.gpu_name,
                    "-" if each.reliability is None else f"{each.reliability:.1%}",
                    span(each.duration),
                    each.geolocation,
                )
                for each in found
            ],
            "No machine lets so much disk as volumes.",
        ),
    )


@speaks(volume, "create")
def create(
    session: Session,
    offer: Annotated[int, Argument(help="A volume offer's id, from mercato volume search.")],
    *,
    size: Annotated[float, Option("--size", help="Gigabytes.")] = 15.0,
    name: Annotated[str | None, Option("--name", help="Letters, digits, underscores.")] = None,
) -> None:
    """Rent a volume; instances on its machine mount it with --env '-v V.ID:/path'.

    Example: mercato volume create 4 --size 100 --name models
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.create_volume(offer, size_gb=size, name=name),
        lambda made: print_line(f"{made} is yours; mount it with: --env '-v {made}:/data'"),
    )


@speaks(volume, "clone")
def clone(
    session: Session,
    volume_id: Annotated[int, Argument(metavar="VOLUME", help="The volume to copy.")],
    offer: Annotated[int, Argument(help="A volume offer of the same machine.")],
    *,
    size: Annotated[float | None, Option("--size", help="Gigabytes. Default: as large.")] = None,
) -> None:
    """Rent a volume that begins with the contents of another.

    Example: mercato volume clone 7 4
    """
    from mercato.sdk import trade_calls

    session.give(
        trade_calls.clone_volume(volume_id, offer, size_gb=size),
        lambda made: print_line(f"{made} is yours; it is ready when it has been copied."),
    )


@speaks(volume, "rm")
def remove(
    session: Session, volume_id: Annotated[int, Argument(metavar="VOLUME", help="Its id.")]
) -> None:
    """Delete a volume that no instance mounts; its data is lost.

    Example: mercato volume rm 7
    """
    from mercato.sdk import trade_calls

    session.do(trade_calls.delete_volume(volume_id), f"Volume {volume_id} is deleted.")
