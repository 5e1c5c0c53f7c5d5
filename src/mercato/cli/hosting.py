"""`mercato machines, list, unlist, job`: what a host does."""

import shlex
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, Yes, deepened, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import money
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.shapes import Machine as MachineRow

app = group("mercato")


class Pricing(StrEnum):
    """What bids that win pay."""

    BID = "bid"
    UNIFORM = "uniform"


Machine = Annotated[int, Argument(metavar="MACHINE", help="The machine's id.")]


@speaks(app, "machines")
def machines(session: Session) -> None:
    """The machines that you host.

    Example: mercato machines --raw
    """
    from mercato.sdk import calls

    empty = "You host no machines. Join one: mercato join-token"
    session.give(calls.machines(), lambda rows: print_machines(rows, empty))


def print_machines(rows: Iterable["MachineRow"], empty: str) -> None:
    """Print machines as a table."""
    print_table(
        (
            *("ID>", "OWNER>", "NAME", "GPUS", "DISK>", "STATE", "VERIFIED", "REL>"),
            *("$/GPU/H>", "HELD", "TROUBLE"),
        ),
        [
            (
                each.id,
                each.host_id,
                each.hostname,
                f"{each.num_gpus}x {each.gpu_name}",
                f"{each.disk_space or 0:.0f}G",
                "online" if each.online else "offline",
                each.verification,
                "-" if each.reliability2 is None else f"{each.reliability2:.1%}",
                money(each.listed_gpu_cost) if each.listed is not False else "not listed",
                each.gpu_occupancy,
                each.error_description,
            )
            for each in rows
        ],
        empty,
    )


below_machines = deepened(app, "machines")


@speaks(below_machines, "min-bid")
def min_bid(
    session: Session,
    machine: Machine,
    price: Annotated[float, Argument(help="Dollars per GPU and hour.")],
) -> None:
    """Set the least that a bid may offer; bids that hold GPUs keep theirs.

    Example: mercato machines min-bid 3 0.12
    """
    from mercato.sdk import lasting_calls

    session.give(lasting_calls.set_min_bid(machine, price), print_line)


@speaks(below_machines, "cleanup")
def clean_up(session: Session, machine: Machine) -> None:
    """Have a machine's agent remove what belongs to no contract.

    Example: mercato machines cleanup 3
    """
    from mercato.sdk import lasting_calls

    session.give(lasting_calls.clean_up(machine), print_line)


@speaks(below_machines, "rm")
def remove(session: Session, machine: Machine, *, yes: Yes = False) -> None:
    """Forget a machine that nobody rents; to come back it joins anew.

    Example: mercato machines rm 3 --yes
    """
    from mercato.sdk import calls

    session.confirm(f"Forget machine {machine}? To come back it must join anew.", yes=yes)

    session.do(calls.delete_machine(machine), f"Machine {machine} is forgotten.")


@speaks(app, "join-token")
def join_token(session: Session) -> None:
    """Make a token with which one machine can join as yours, once, within a day.

    Example: mercato join-token
    """
    from mercato.sdk import calls

    session.give(
        calls.join_token(),
        lambda token: print_line(f"On the machine: mercato agent join {session.url} {token}"),
    )


@speaks(app, "list")
def list_machine(  # noqa: PLR0913 - a listing has these terms, each an option
    session: Session,
    machine: Machine,
    *,
    gpu: Annotated[float, Option("--gpu", help="Dollars per GPU and hour.")],
    disk: Annotated[
        float | None, Option("--disk", help="Dollars per GB and month, 0.10 at first.")
    ] = None,
    up: Annotated[float | None, Option("--up", help="Dollars per GB sent, 0 at first.")] = None,
    down: Annotated[
        float | None, Option("--down", help="Dollars per GB received, 0 at first.")
    ] = None,
    min_bid: Annotated[
        float | None, Option("--min-bid", help="The least bid per GPU and hour.")
    ] = None,
    notice: Annotated[
        float | None, Option("--notice", help="Seconds that bids are warned, from 10.")
    ] = None,
    min_run: Annotated[
        float | None, Option("--min-run", help="Seconds for which a bid is safe from others.")
    ] = None,
    pricing: Annotated[
        Pricing | None, Option("--pricing", help="What bids that win pay: that, or what lost.")
    ] = None,
    min_chunk: Annotated[
        int | None, Option("--min-chunk", help="The fewest GPUs let together, 1 at first.")
    ] = None,
    duration: Annotated[
        str | None, Option("--for", help="How long contracts may run: '3 months'.")
    ] = None,
    volumes: Annotated[
        float | None,
        Option("--volumes", help="GB of its disk let as volumes, half of what is free at first."),
    ] = None,
) -> None:
    """Put a machine on sale, or change its prices; signed contracts keep theirs.

    What is not said stays as it is.

    Example: mercato list 3 --gpu 0.35 --disk 0.10 --min-bid 0.15 --min-chunk 2
    """
    from mercato.sdk import calls

    session.do(
        calls.list_machine(
            machine,
            gpu=gpu,
            disk=disk,
            up=up,
            down=down,
            min_bid=min_bid,
            notice_s=notice,
            min_run_s=min_run,
            pricing=None if pricing is None else pricing.value,
            min_chunk=min_chunk,
            duration=duration,
            volumes=volumes,
        ),
        f"Machine {machine} is on sale at {money(gpu)} per GPU and hour.",
    )


@speaks(app, "unlist")
def unlist(session: Session, machine: Machine) -> None:
    """Take a machine off sale; contracts that were signed go on.

    Example: mercato unlist 3
    """
    from mercato.sdk import calls

    session.do(calls.unlist_machine(machine), f"Machine {machine} is off sale.")


@speaks(app, "job", passes_on=True)
def job(
    session: Session,
    machine: Machine,
    image: Annotated[str | None, Argument(help="What to run.")] = None,
    arguments: Annotated[tuple[str, ...], Argument(help="For the image's entrypoint.")] = (),
    *,
    price: Annotated[
        float | None, Option("--price", help="What a GPU and hour is worth: bids begin there.")
    ] = None,
    disk: Annotated[float, Option("--disk", help="GB for each slice.")] = 10.0,
    remove: Annotated[bool, Option("--remove", help="End the job instead.")] = False,
) -> None:
    """Run an image on all GPUs of a machine that nobody rents; any renter displaces it.

    For example:

        mercato job --price 0.05 3 miner:2 --threads 4

        mercato job --remove 3
    """
    from mercato.sdk import calls

    if remove:
        session.do(calls.remove_job(machine), f"The job of machine {machine} ends.")
    elif image is None:
        raise Trouble("say which image to run, or --remove")
    elif image.startswith("-"):
        # What follows MACHINE is the image's: its own options may have the names of ours.
        raise Trouble(f"{image} stands before MACHINE; see: mercato job --help", exit_code=2)
    else:
        session.do(
            calls.set_job(machine, image, arguments, price=price, disk_gb=disk),
            f"Machine {machine} runs `{shlex.join((image, *arguments))}` wherever nobody rents"
            f"{'' if price is None else f', bids from {money(price)} a GPU'}: mercato ps",
        )
