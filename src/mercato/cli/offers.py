"""`mercato offers`: search for machines to rent."""

from typing import Annotated

from mercato.cli.command import Argument, Option, group
from mercato.cli.session import Session, print_table
from mercato.cli.text import money, number, span
from mercato.cli.tree import speaks

app = group("mercato")


@speaks(app, "offers")
def offers(
    session: Session,
    query: Annotated[
        tuple[str, ...], Argument(help="Comparisons: gpu_name=RTX_4090 'num_gpus>=2'")
    ] = (),
    *,
    order: Annotated[
        str, Option("--order", "-o", help="Fields to sort by; - after one is descending.")
    ] = "score-",
    limit: Annotated[int, Option("--limit", "-n", help="At most this many.")] = 20,
    kind: Annotated[str, Option("--type", "-t", help="on-demand, reserved or bid.")] = "on-demand",
    storage: Annotated[
        float, Option("--storage", help="Gigabytes of disk that prices include.")
    ] = 5.0,
    everything: Annotated[
        bool, Option("--all", help="Also what is unverified, external or taken.")
    ] = False,
) -> None:
    """Search for machines to rent.

    For example:

        mercato offers gpu_name=RTX_4090 'num_gpus>=2' 'gpu_ram>=24' --order dph

        mercato offers 'geolocation in [SE,NO]' 'reliability>0.98' --raw
    """
    from mercato.sdk import calls
    from mercato.sdk.shapes import Offer

    def show(found: list[Offer]) -> None:
        print_table(
            (
                "ID>",
                "GPUS",
                "VRAM>",
                "CPUS>",
                "RAM>",
                "DISK>",
                "$/H>",
                "DLPERF>",
                "REL>",
                "FOR>",
                "WHERE",
                "MACHINE>",
            ),
            [
                (
                    each.id,
                    f"{each.num_gpus}x {each.gpu_name}",
                    f"{each.gpu_ram / 1000:.0f}G",
                    number(each.cpu_cores_effective, 1),
                    f"{each.cpu_ram / 1000:.0f}G",
                    f"{each.disk_space:.0f}G",
                    money(each.dph_total),
                    number(each.dlperf, 1),
                    "-" if each.reliability is None else f"{each.reliability:.1%}",
                    span(each.duration),
                    each.geolocation,
                    each.machine_id,
                )
                for each in found
            ],
            "Nothing matches. --all also shows what is unverified or taken.",
        )

    session.give(
        calls.search(
            " ".join(query),
            order=order,
            limit=limit,
            kind=kind,
            storage_gb=storage,
            defaults=not everything,
        ),
        show,
    )
