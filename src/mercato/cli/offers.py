"""`mercato offers`: search for machines to rent."""

from typing import Annotated

import typer

from mercato.cli.session import Session, print_table
from mercato.cli.text import money, number, span
from mercato.cli.tree import speaks

app = typer.Typer()


@app.callback()
def _many() -> None:
    """Keep `offers` a named command."""


@speaks(app, "offers")
def offers(
    session: Session,
    query: Annotated[
        list[str] | None, typer.Argument(help="Comparisons: gpu_name=RTX_4090 'num_gpus>=2'")
    ] = None,
    *,
    order: Annotated[
        str, typer.Option("--order", "-o", help="Fields to sort by; - after one is descending.")
    ] = "score-",
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most this many.")] = 20,
    kind: Annotated[
        str, typer.Option("--type", "-t", help="on-demand, reserved or bid.")
    ] = "on-demand",
    storage: Annotated[
        float, typer.Option("--storage", help="Gigabytes of disk that prices include.")
    ] = 5.0,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is unverified, external or taken.")
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
            " ".join(query or ()),
            order=order,
            limit=limit,
            kind=kind,
            storage_gb=storage,
            defaults=not everything,
        ),
        show,
    )
